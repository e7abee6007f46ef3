// The booking form in place: a weekday's button ticks its whole column, prices and the total follow. The same buttons
// work without this file (the server answers with the days ticked), and only the server's price counts.

const form = document.querySelector("form.book");
const euros = new Intl.NumberFormat("fr-FR", { style: "currency", currency: "EUR" });

// Dates chosen in the school year that is not on screen travel as hidden fields: they always count.
const days = () => [...form.querySelectorAll(".cal input, input[type=hidden][name=dates]")];
const chosen = (day) => day.type === "hidden" || day.checked;

// data-cents: « 790 » (one price), « 12:790 15:1190 » (one per slot), « 7/12:790 » (of situation 7),
// « 12@2027-01-04:810 » (from that date on). A price left empty: not sold.
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

function update() {
  const slot = form.querySelector("[data-slots] :checked")?.value;
  const people = [...form.querySelectorAll("[data-people] input")];
  const dates = days().filter(chosen);
  for (const person of people) write(person.closest("label").querySelector("[data-price]"), money(cents(person, slot)));
  for (const input of form.querySelectorAll("[data-slots] input")) {
    const place = input.closest("label").querySelector("[data-slot-price]");
    if (!place || !people.length) continue;
    const price = cents(people[0], input.value);
    write(place, price === null ? "" : money(price));
    input.disabled = price === null; // not sold to this situation
  }
  let quantity = 0;
  let sum = 0;
  let known = true;
  const selected = people.filter((person) => person.checked);
  for (const person of selected) {
    for (const day of dates) {
      if ((day.dataset.skip ?? "").split(" ").includes(person.value)) continue; // booked already
      const price = cents(person, slot, day.value);
      quantity += 1;
      known &&= price !== null;
      sum += price ?? 0;
    }
  }
  show("people", selected.length);
  show("days", dates.length);
  show("quantity", quantity);
  show("total", known ? euros.format(sum / 100) : "–");
}
const money = (amount) => (amount === null ? "–" : euros.format(amount / 100));
function write(place, text) {
  if (place && place.textContent !== String(text)) place.textContent = text;
}
function show(name, value) {
  write(form.querySelector(`[data-sum="${name}"]`), value);
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
    if (!button || button.value === "show") return; // another school year: the server's answer is needed
    event.preventDefault();
    const header = button.closest("th");
    if (header) {
      const column = header.cellIndex;
      toggle([...header.closest("table").tBodies[0].rows].flatMap((row) => [...row.cells[column].querySelectorAll("input")]));
    } else if (button.value === "none") {
      days().forEach((day) => { if (day.type === "hidden") day.remove(); else day.checked = false; });
      update();
    } else {
      // "1" to "7": that weekday in the whole year
      toggle([...form.querySelectorAll(`.cal tbody td:nth-child(${Number(button.value)}) input`)]);
    }
  });
}
