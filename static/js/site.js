// What every page gains with JavaScript; without it, every page works. Rules live on the server, not here.

const minute = 60_000;

// Browsers leave autofocus aside where the address has a fragment, and « Aller au contenu » leaves one: who came by it
// would not be told of the errors of the form they sent. Done last: going to the fragment takes the focus, too.
if (location.hash) addEventListener("load", () => document.querySelector("[autofocus]")?.focus());

// A form is sent once. The button is not disabled: its name and value must leave with the form. After ten seconds (or
// when the page comes back from the browser's cache) it may be sent again; the server recognises a repeat by itself.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.target) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
  event.submitter?.setAttribute("aria-disabled", "true");
  setTimeout(() => release(form), 10_000);
});
function release(form) {
  delete form.dataset.sent;
  form.querySelectorAll("[aria-disabled]").forEach((button) => button.removeAttribute("aria-disabled"));
}
addEventListener("pageshow", (event) => {
  if (event.persisted) document.querySelectorAll("form[data-sent]").forEach(release);
});

// Printing: the button exists only where it can work.
document.querySelectorAll("[data-print]").forEach((button) => { button.hidden = false; });
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) print();
});

// A closed list of dates is worth nothing on paper: it prints open.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("main details:not([open])")];
  unfolded.forEach((part) => { part.open = true; });
});
addEventListener("afterprint", () => { unfolded.forEach((part) => { part.open = false; }); });

// An order that waits for the bank: the page comes back by itself once the server tells another state. Asked every five
// seconds for ten minutes; the sentence on the page stays true when it is not, and its button does the same.
const waiting = document.querySelector("[data-await]");
if (waiting) {
  waiting.querySelector("[data-await-says]")?.removeAttribute("hidden");
  let left = 120;
  const ask = async () => {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.ok && page.querySelector("[data-await]")?.dataset.await !== waiting.dataset.await) return location.reload();
    } catch { /* no network for a moment */ }
    left -= 1;
    if (left) setTimeout(ask, 5000);
    return undefined;
  };
  setTimeout(ask, 5000);
}

// The fee of a custom amount, added up while it is typed.
for (const part of document.querySelectorAll("[data-fee]")) {
  const input = part.querySelector("input");
  const words = part.querySelector("[data-with-fee]");
  const euros = new Intl.NumberFormat("fr-FR", { style: "currency", currency: "EUR" });
  const add = () => {
    const text = input.value.replace(/\s/g, "").replace(",", ".");
    const cents = /^\d+(\.\d{1,2})?$/.test(text) ? Math.round(Number(text) * 100) : 0;
    const fee = Math.round(Number(part.dataset.fee) * 100);
    words.textContent = cents ? `${euros.format(cents / 100)} + ${euros.format(fee / 100)} de frais = ${euros.format((cents + fee) / 100)} à payer par carte` : "";
  };
  input.addEventListener("input", add);
  add();
}

// « encore 12 min » behind the hour until which places are kept; a screen reader hears it at 10, 5, 2 and 1 minutes.
for (const time of document.querySelectorAll("time[data-countdown]")) {
  const end = Date.parse(time.dateTime);
  const shown = document.createElement("span");
  const spoken = document.createElement("span");
  shown.ariaHidden = "true";
  spoken.className = "vh";
  spoken.setAttribute("role", "status");
  time.after(" ", shown, spoken);
  let said = null;
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - Date.now()) / minute));
    const words = left ? `(encore ${left}\u00a0min)` : "(délai écoulé\u00a0: terminez vite, une autre famille peut les prendre)";
    if (shown.textContent !== words) shown.textContent = words;
    if (said !== null && left !== said && [10, 5, 2, 1, 0].includes(left)) {
      spoken.textContent = left ? `Encore ${left} minute${left > 1 ? "s" : ""} pour terminer votre commande.` : "Le délai est écoulé.";
    }
    said = left;
    if (left) setTimeout(tick, Math.min(end - Date.now() - (left - 1) * minute + 50, minute));
  };
  tick();
}

// A password may be shown while it is typed.
for (const input of document.querySelectorAll(".field input[type=password]")) {
  const wrap = document.createElement("div");
  const button = document.createElement("button");
  wrap.className = "peek";
  button.type = "button";
  button.className = "btn second";
  const label = () => {
    const hidden = input.type === "password";
    button.innerHTML = `${hidden ? "Afficher" : "Masquer"}<span class="vh"> le mot de passe</span>`;
  };
  button.addEventListener("click", () => {
    input.type = input.type === "password" ? "text" : "password";
    label();
  });
  // Sent as a password again, so that no browser remembers it as ordinary text.
  input.form?.addEventListener("submit", () => { input.type = "password"; });
  label();
  input.replaceWith(wrap);
  wrap.append(input, button);
}

// « Tout cocher »: only where it can work; the boxes of the same form.
for (const label of document.querySelectorAll("[data-tick-all]")) {
  const all = label.querySelector("input");
  const boxes = [...all.form.querySelectorAll("input[type=checkbox][name]")];
  label.hidden = false;
  all.addEventListener("change", () => boxes.forEach((box) => { box.checked = all.checked; }));
  all.form.addEventListener("change", () => { all.checked = boxes.every((box) => box.checked); });
}

// Rows shown as cards (phone) lose their table meaning in some browsers: say it again.
for (const table of document.querySelectorAll(".table.cards")) {
  table.setAttribute("role", "table");
  table.querySelectorAll("thead, tbody, tfoot").forEach((part) => part.setAttribute("role", "rowgroup"));
  table.querySelectorAll("tr").forEach((row) => row.setAttribute("role", "row"));
  table.querySelectorAll("td").forEach((cell) => cell.setAttribute("role", "cell"));
  table.querySelectorAll("tbody th, tfoot th").forEach((cell) => cell.setAttribute("role", "rowheader"));
  table.querySelectorAll("thead th").forEach((cell) => cell.setAttribute("role", "columnheader"));
}

// Light, dark or as the system says. Kept in a cookie so that the server sends the page in its colours at once.
for (const place of document.querySelectorAll("[data-theme-switch]")) {
  const kept = document.documentElement.dataset.theme ?? "";
  const options = { "": "automatique", light: "clair", dark: "sombre" };
  place.innerHTML = '<label class="switch">Affichage <select></select></label>';
  const select = place.querySelector("select");
  for (const [value, words] of Object.entries(options)) select.add(new Option(words, value, false, value === kept));
  select.addEventListener("change", () => {
    const age = select.value ? 31536000 : 0;
    document.cookie = `theme=${select.value}; path=/; max-age=${age}; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
    if (select.value) document.documentElement.dataset.theme = select.value;
    else delete document.documentElement.dataset.theme;
  });
  place.hidden = false;
}

// Signing out leaves nothing readable on a shared device: neither the pages kept for when there is no network nor the lists of
// tickets. (Passages that an agent's phone has not sent yet stay until they are.)
if ("serviceWorker" in navigator) {
  const known = navigator.serviceWorker.getRegistrations();
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (event.defaultPrevented || !form.action?.endsWith("/deconnexion/")) return;
    event.preventDefault();
    try {
      await Promise.all((await known).map((registration) => registration.unregister()));
      for (const name of await caches.keys()) if (name.startsWith("hors-ligne ")) await caches.delete(name);
      await forgetLists();
    } finally {
      form.submit();
    }
  }, { capture: true });
}
async function forgetLists() {
  if (!(await indexedDB.databases?.())?.some(({ name }) => name === "controle")) return;
  await new Promise((resolve) => {
    const opening = indexedDB.open("controle");
    opening.onerror = resolve;
    opening.onsuccess = () => {
      const clearing = opening.result.transaction("lists", "readwrite");
      clearing.objectStore("lists").clear();
      clearing.oncomplete = clearing.onerror = resolve;
    };
  });
}

// The way to a bank that wants a form: sent once by itself, so that who comes back from the bank is not sent there again.
const departure = document.querySelector("[data-leave]");
if (departure) {
  const key = `left-${departure.dataset.leave}`;
  try {
    if (!sessionStorage.getItem(key)) {
      sessionStorage.setItem(key, "1");
      departure.requestSubmit();
    }
  } catch { /* no storage: the button does it */ }
}
