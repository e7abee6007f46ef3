// The booking form in place: quick choices tick what they stand for, prices and the total follow. The same buttons work
// without this file (the server answers with the days ticked), and only the server's price counts.

const form = document.querySelector("form.book");
const euros = new Intl.NumberFormat("fr-FR", { style: "currency", currency: "EUR" });

// A day is a box of the calendar (value « 2026-12-07 », for whoever is chosen) or of the grid (« 12:2026-12-07 », for 12).
// Those chosen in the school year that is not on screen travel as hidden fields: they always count.
const boxes = () => [...form.querySelectorAll(".months input")];
const hidden = () => [...form.querySelectorAll("input[type=hidden][name=dates], input[type=hidden][name=days]")];
const dateOf = (box) => box.value.slice(-10);
const personOf = (box) => (box.value.includes(":") ? box.value.split(":")[0] : "");
const inGrid = () => form.elements.vue?.value === "grille";

// data-cents: « 790 » (one price), « 12:790 15:1190 » (one per slot), « 7/12:790 » (of situation 7),
// « 12@2027-01-04:810 » (from that date on). A price left empty: not sold. Each person has their own.
const PRICE = /^(?:(?:(\d+)\/)?(\d+)(?:@([\d-]+))?:)?(\d*)$/;
const grids = new Map();
function grid(person) {
  const text = person.dataset.cents ?? "";
  if (!grids.has(text)) grids.set(text, text.split(" ").map((word) => PRICE.exec(word)).filter(Boolean));
  return grids.get(text);
}
function cents(person, slot, date) {
  const profile = form.querySelector("[data-profiles] :checked")?.value;
  let found;
  for (const [, itsProfile, itsSlot, since, amount] of grid(person)) {
    if ((itsProfile && itsProfile !== profile) || (itsSlot && itsSlot !== slot)) continue;
    if (date ? !since || since <= date : found === undefined || found === "") found = amount;
  }
  return found ? Number(found) : null;
}

// data-skip: whom a day is not counted for, booked already: « 12 », or « 12/3 » in slot 3.
function counts(box, person, slot) {
  const skip = (box.dataset.skip ?? "").split(" ");
  return !skip.includes(person) && !skip.includes(`${person}/${slot}`);
}

function update() {
  const slot = form.querySelector("[data-slots] :checked")?.value;
  const people = [...form.querySelectorAll("[data-cents]")];
  const all = boxes();
  const chosen = [...hidden(), ...all.filter((box) => box.checked)];
  for (const person of people) write(person.closest("label")?.querySelector("[data-price]"), money(cents(person, slot)));
  for (const input of form.querySelectorAll("[data-slots] input")) {
    const place = input.closest("label").querySelector("[data-slot-price]");
    if (!place || !people.length) continue;
    const price = cents(people[0], input.value);
    write(place, price === null ? "" : money(price));
    input.disabled = price === null; // not sold to this situation
  }
  if (people.length) for (const box of all) showPrice(box, people, slot);
  let quantity = 0;
  let sum = 0;
  let known = true;
  for (const person of people) {
    const key = person.dataset.line ?? person.value;
    let count = 0;
    let amount = 0;
    if (inGrid() || person.checked) {
      for (const box of chosen) {
        if ((personOf(box) && personOf(box) !== key) || !counts(box, key, slot)) continue;
        const price = cents(person, slot, dateOf(box));
        count += 1;
        known &&= price !== null;
        amount += price ?? 0;
      }
    }
    const line = form.querySelector(`[data-line="${key}"]`);
    if (line) {
      line.hidden = !count;
      write(line.querySelector("[data-count]"), count);
      write(line.querySelector("[data-amount]"), euros.format(amount / 100));
    }
    quantity += count;
    sum += amount;
  }
  show("people", people.filter((person) => person.checked).length);
  show("days", new Set(chosen.map(dateOf)).size);
  show("quantity", quantity);
  show("total", known ? euros.format(sum / 100) : "–");
  if ("asks" in form.dataset) ask();
}

// Where one child's price depends on who else comes that day, or on how often somebody was late, only the server can add
// up: it is asked once the hand rests. Until it answers the total counts each place alone; the cart's is the one that counts.
let resting = 0;
let asked = 0;
function ask() {
  clearTimeout(resting);
  resting = setTimeout(async () => {
    const number = (asked += 1);
    const data = new FormData(form);
    data.set("pick", "show");
    try {
      const answer = await fetch(form.action, { method: "POST", body: data, headers: { Accept: "text/html" } });
      const sums = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".sum");
      if (!answer.ok || !sums || number !== asked) return;
      for (const place of form.querySelectorAll("[data-sum], [data-line] [data-amount]")) {
        const line = place.closest("[data-line]")?.dataset.line;
        write(place, sums.querySelector(line ? `[data-line="${line}"] [data-amount]` : `[data-sum="${place.dataset.sum}"]`)?.textContent ?? "");
      }
    } catch { /* no network for a moment: the estimate stays */ }
  }, 300);
}
// What a day costs stands in its square when that is not what is written beside the slot.
function showPrice(box, people, slot) {
  const person = people.find((each) => (each.dataset.line ?? each.value) === personOf(box)) ?? people[0];
  const price = cents(person, slot, dateOf(box));
  const words = price === null || price === cents(person, slot) ? "" : money(price);
  let place = box.parentElement.querySelector("em");
  if (!words && !place) return;
  if (!place) {
    place = document.createElement("em");
    box.parentElement.append(place);
  }
  if (place.textContent === words) return;
  box.setAttribute("aria-label", box.ariaLabel.replace(`, ${place.textContent}`, "") + (words && `, ${words}`));
  place.textContent = words;
}
const money = (amount) => (amount === null ? "–" : euros.format(amount / 100));
function write(place, text) {
  if (place && place.textContent !== String(text)) place.textContent = text;
}
function show(name, value) {
  write(form.querySelector(`[data-sum="${name}"]`), value);
}

// A quick choice: « 3 » every Wednesday, « 2026-12:3 » those of December, « 2026-12-07:1234567 » the week of the 7th,
// « 2026-12:1234567/15 » December for person 15. Days at the late price are ticked one by one, by hand.
const PICK = /^(?:(\d{4}-\d\d)(-\d\d)?:)?([1-7]+)(?:\/(\d+))?$/;
const weekday = (date) => String(new Date(`${date}T12:00:00Z`).getUTCDay() || 7);
function plus(date, days) {
  const moved = new Date(`${date}T12:00:00Z`);
  moved.setUTCDate(moved.getUTCDate() + days);
  return moved.toISOString().slice(0, 10);
}
function picked(pick) {
  const [, month, day, weekdays, person] = pick;
  const slot = form.querySelector("[data-slots] :checked")?.value;
  const all = [...form.querySelectorAll("[data-people] input")];
  const people = all.some((each) => each.checked) ? all.filter((each) => each.checked) : all;
  return boxes().filter((box) => {
    const date = dateOf(box);
    const within = day ? date >= month + day && date < plus(month + day, 7) : !month || date.startsWith(month);
    const whose = personOf(box);
    return within && weekdays.includes(weekday(date)) && !("late" in box.dataset)
      && (!person || whose === person)
      && (whose ? counts(box, whose, slot) : people.some((each) => counts(box, each.value, slot)));
  });
}
function toggle(inputs) {
  const all = inputs.every((input) => input.checked);
  inputs.forEach((input) => { input.checked = !all; });
  update();
}

if (form) {
  form.addEventListener("change", (event) => {
    // « puis 8,10 € à partir du … » was written for the situation that the page came with.
    if (event.target.name === "profile") form.querySelectorAll("[data-later]").forEach((place) => place.remove());
    update();
  });
  addEventListener("pageshow", update); // the browser may have put ticks back
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button[name=pick]");
    if (!button) return;
    if (button.value === "none") {
      event.preventDefault();
      hidden().forEach((box) => box.remove());
      boxes().forEach((box) => { box.checked = false; });
      update();
      return;
    }
    // The others (another school year, the grid, last week) need the server's answer.
    const pick = PICK.exec(button.value);
    if (!pick) return;
    event.preventDefault();
    toggle(picked(pick));
  });
}
