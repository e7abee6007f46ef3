// What the choice comes to, as it is made: situation, formula, beneficiaries, how many. The cart's total is the one that counts
// (rank among brothers and sisters, another first day's fares): it is shown before anything binds.

const form = document.querySelector("[data-tickets]");
const says = form?.querySelector("[data-total]");
const euros = new Intl.NumberFormat("fr-FR", { style: "currency", currency: "EUR" });

function add() {
  const profile = form.querySelector("[name=profile]:checked")?.value ?? form.dataset.tickets;
  // data-prices: of each situation, of each beneficiary; data-of: what is said of one situation.
  const pricesOf = (input) => JSON.parse(input?.dataset.prices ?? "{}")[profile] ?? {};
  for (const input of form.querySelectorAll("[name=slot]")) input.disabled = !Object.keys(pricesOf(input)).length;
  for (const part of form.querySelectorAll("[data-of]")) part.hidden = part.dataset.of !== profile;
  const prices = pricesOf(form.querySelector("[name=slot]:checked"));
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
