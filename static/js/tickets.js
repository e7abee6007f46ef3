// What the choice comes to, as it is made: formula, beneficiaries, how many. The cart's total is the one that counts (rank among
// brothers and sisters, another first day's fares): it is shown before anything binds.

const form = document.querySelector("[data-tickets]");
const says = form?.querySelector("[data-total]");
const euros = new Intl.NumberFormat("fr-FR", { style: "currency", currency: "EUR" });

function add() {
  const prices = JSON.parse(form.querySelector("[name=slot]:checked")?.dataset.prices ?? "{}");
  const people = [...form.querySelectorAll("[name=people]:checked")].map(({ value }) => prices[value]);
  const each = Number(form.querySelector("[name=quantity]")?.value ?? 1);
  const known = people.length > 0 && people.every((price) => price !== undefined);
  const count = people.length * each;
  const cents = people.reduce((sum, price) => sum + Math.round(Number(price) * 100), 0) * each;
  says.hidden = !known;
  says.querySelector("[data-count]").textContent = `${count} billet${count > 1 ? "s" : ""}`;
  says.querySelector("[data-sum]").textContent = euros.format(cents / 100);
}

if (says) {
  form.addEventListener("change", add);
  addEventListener("pageshow", add); // also when the browser brings back what was chosen
  add();
}
