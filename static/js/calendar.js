// The booking form in place: a weekday's button ticks its whole column, and the total follows. The same buttons work
// without this file (the server answers with the days ticked), and only the server's price counts.

const form = document.querySelector("form.book");
const days = () => [...form.querySelectorAll(".cal input")];
const euros = new Intl.NumberFormat("fr-FR", { style: "currency", currency: "EUR" });

// data-cents holds one price (« 790 ») or one per choice of slot (« 12:790 15:1190 »).
function cents(person) {
  const prices = (person.dataset.cents ?? "").split(" ");
  const slot = form.querySelector("[data-slots] :checked")?.value;
  const found = prices.find((price) => !price.includes(":") || price.startsWith(`${slot}:`));
  return found === undefined ? null : Number(found.split(":").pop());
}

function total() {
  const people = [...form.querySelectorAll("[data-people] :checked")];
  const dates = days().filter((day) => day.checked);
  let quantity = 0;
  let sum = 0;
  let known = true;
  for (const person of people) {
    const price = cents(person);
    const count = dates.filter((day) => !(day.dataset.skip ?? "").split(" ").includes(person.value)).length;
    quantity += count;
    known &&= price !== null;
    sum += count * (price ?? 0);
  }
  show("people", people.length);
  show("days", dates.length);
  show("quantity", quantity);
  show("total", known ? euros.format(sum / 100) : "–");
}
function show(name, value) {
  const place = form.querySelector(`[data-sum="${name}"]`);
  if (place && place.textContent !== String(value)) place.textContent = value;
}

function toggle(inputs) {
  const all = inputs.every((input) => input.checked);
  inputs.forEach((input) => { input.checked = !all; });
  total();
}

if (form) {
  form.addEventListener("change", total);
  addEventListener("pageshow", total); // the browser may have put ticks back
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button[name=pick]");
    if (!button) return;
    event.preventDefault();
    const header = button.closest("th");
    if (header) {
      const column = header.cellIndex;
      toggle([...header.closest("table").tBodies[0].rows].flatMap((row) => [...row.cells[column].querySelectorAll("input")]));
    } else if (button.value === "none") {
      days().forEach((day) => { day.checked = false; });
      total();
    } else {
      // "1" to "7": that weekday in the whole year
      toggle([...form.querySelectorAll(`.cal tbody td:nth-child(${Number(button.value)}) input`)]);
    }
  });
}
