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

// data-cents: « 790 » (one price), « 12:790 15:1190 » (one per slot), « 7/12:790 » (of situation 7), « 12#2:690 » (of who
// comes second), « 12@2027-01-04:810 » (from that date on), « 12:790~1580 » (in time, and late). A price left empty: not
// sold. Each person has their own.
const PRICE = /^(?:(?:(\d+)\/)?(\d+)(?:#([\d.]+))?(?:@([\d-]+))?:)?(\d*)(?:~(\d*))?$/;
const grids = new Map();
function grid(person) {
  const text = person.dataset.cents ?? "";
  if (!grids.has(text)) grids.set(text, text.split(" ").map((word) => PRICE.exec(word)).filter(Boolean));
  return grids.get(text);
}
// What a place costs: on a date, late or in time; without one, the first price that there is.
function cents(person, slot, rank, date, late = false) {
  const profile = form.querySelector("[data-profiles] :checked")?.value;
  let found;
  for (const [, itsProfile, itsSlot, itsRank, since, inTime, afterwards] of grid(person)) {
    if ((itsProfile && itsProfile !== profile) || (itsSlot && itsSlot !== slot) || (itsRank && itsRank !== rank)) continue;
    if (date ? !since || since <= date : !found) found = late ? afterwards ?? inTime : inTime;
  }
  return found ? Number(found) : null;
}
const keyOf = (person) => person.dataset.line ?? person.value;
const isLate = (box) => "late" in box.dataset;
const words = (text) => (text ?? "").split(" ").filter(Boolean);
const schoolYear = (date) => String(Number(date.slice(0, 4)) - (date.slice(5, 7) < "09"));

// data-skip: whom a day is not counted for, booked already: « 12 », or « 12/3 » in slot 3.
function counts(box, person, slot) {
  const skip = words(box.dataset.skip);
  return !skip.includes(person) && !skip.includes(`${person}/${slot}`);
}

// Who comes when, as it is ticked: what siblings and late bookings do to each other's price is read from it, by the same
// rules as bookings/pricing.py. data-ranks says how siblings are counted, data-place who is the elder, data-here who is
// there that day already, data-enrolled in which school years somebody is; data-free how many late bookings of a month or
// school year cost nothing more, data-lates how many somebody had.
class Family {
  constructor(people, chosen, slot) {
    this.slot = slot;
    this.bases = words(form.dataset.ranks);
    this.places = new Map(people.map((person) => [keyOf(person), Number(person.dataset.place)]));
    this.boxes = new Map();
    this.present = new Map();
    this.enrolled = new Map();
    for (const person of people) {
      const key = keyOf(person);
      const comes = inGrid() || person.checked;
      const own = comes ? chosen.filter((box) => (!personOf(box) || personOf(box) === key) && counts(box, key, slot)) : [];
      this.boxes.set(key, own);
      for (const year of words(person.dataset.enrolled)) add(this.enrolled, year, key);
      for (const box of own) {
        add(this.present, dateOf(box), key);
        add(this.enrolled, schoolYear(dateOf(box)), key);
      }
    }
  }
  // Whoever was booked before keeps the rank that was paid for; those chosen now come after, the eldest first.
  rank(key, box) {
    const date = dateOf(box);
    const here = words(box.dataset.here).filter((other) => other !== key);
    const elders = (others) => [...(others ?? [])].filter((other) => other !== key && this.places.get(other) < this.places.get(key));
    return this.bases.map((basis) => (basis === "present"
      ? 1 + here.length + elders(this.present.get(date)).filter((other) => !here.includes(other)).length
      : 1 + elders(this.enrolled.get(schoolYear(date))).length)).join(".");
  }
  price(person, box) {
    const late = isLate(box) && !this.isFree(person, dateOf(box));
    return cents(person, this.slot, this.rank(keyOf(person), box), dateOf(box), late);
  }
  isFree(person, date) {
    const [free, each] = words(form.dataset.free);
    const period = (day) => (each === "year" ? `${schoolYear(day)}-09` : day.slice(0, 7));
    const had = words(person.dataset.lates).map((word) => word.split(":")).find(([start]) => start === period(date));
    const dates = this.boxes.get(keyOf(person)).filter(isLate).map(dateOf);
    const earlier = dates.filter((day) => day < date && period(day) === period(date)).length;
    return free !== undefined && Number(had?.[1] ?? 0) + earlier < Number(free);
  }
}
function add(map, key, value) {
  if (!map.has(key)) map.set(key, new Set());
  map.get(key).add(value);
}

function update() {
  const slot = form.querySelector("[data-slots] :checked")?.value;
  const people = [...form.querySelectorAll("[data-cents]")];
  const all = boxes();
  const chosen = [...hidden(), ...all.filter((box) => box.checked)];
  const family = new Family(people, chosen, slot);
  for (const person of people) writePerson(person, slot);
  for (const input of form.querySelectorAll("[data-slots] input")) {
    const place = input.closest("label").querySelector("[data-slot-price]");
    if (!place || !people.length) continue;
    const price = cents(people[0], input.value, people[0].dataset.alone);
    write(place, price === null ? "" : money(price));
    input.disabled = price === null; // not sold to this situation
  }
  if (people.length) for (const box of all) showPrice(box, people, family);
  let quantity = 0;
  let sum = 0;
  let known = true;
  for (const person of people) {
    const key = keyOf(person);
    const count = family.boxes.get(key).length;
    let amount = 0;
    for (const box of family.boxes.get(key)) {
      const price = family.price(person, box);
      known &&= price !== null;
      amount += price ?? 0;
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
  form.querySelector("[data-total]")?.removeAttribute("hidden");
  show("people", people.filter((person) => person.checked).length);
  show("days", new Set(chosen.map(dateOf)).size);
  show("quantity", quantity);
  show("total", known ? euros.format(sum / 100) : "–");
  const nobody = form.querySelector("[data-nobody]");
  if (nobody) nobody.hidden = inGrid() || !chosen.length || people.some((person) => person.checked);
}

// Beside a name: what this person pays alone, and with those who are older.
function writePerson(person, slot) {
  const label = person.closest("label");
  const alone = cents(person, slot, person.dataset.alone);
  write(label?.querySelector("[data-price]"), money(alone));
  const note = label?.querySelector("[data-beside-words]");
  if (!note) return;
  const beside = cents(person, slot, person.dataset.beside);
  note.hidden = beside === alone;
  write(note.querySelector("[data-beside-price]"), money(beside));
}
// What a day costs stands in its square when that is not what is written beside the name, and always when it is late. A
// square of the calendar, which is nobody's, speaks for the first of those chosen who may have it.
function showPrice(box, people, family) {
  const whose = personOf(box);
  const able = people.filter((each) => (whose ? keyOf(each) === whose : !each.disabled));
  const chosen = able.some((each) => each.checked) ? able.filter((each) => each.checked) : able;
  const person = chosen.find((each) => counts(box, keyOf(each), family.slot)) ?? chosen[0] ?? people[0];
  const usual = cents(person, family.slot, person.dataset.alone);
  const price = family.price(person, box);
  let said = price === usual && !isLate(box) ? "" : money(price);
  if (price === null) said = usual === null ? "" : form.dataset.unsold;
  let place = box.parentElement.querySelector("em");
  if (!said && !place) return;
  if (!place) {
    place = document.createElement("em");
    box.parentElement.append(place);
  }
  if (place.textContent === said) return;
  box.setAttribute("aria-label", box.ariaLabel.replace(place.textContent && `, ${place.textContent}`, "") + (said && `, ${said}`));
  place.textContent = said;
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
