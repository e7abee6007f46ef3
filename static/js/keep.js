// Keeps pages, with all that they need, for when there is no network (offline.js answers with them then, signing out empties
// them: site.js). `data-keep` is the worker's address, below which the pages are. A button is pressed to keep a family's
// tickets (`data-keep-linked`: those that the list leads to); the door's page keeps itself as soon as it is open.

const place = document.querySelector("[data-keep]");
const says = document.querySelector("[data-keep-says]");

async function keep() {
  const scope = new URL("./", new URL(place.dataset.keep, location.href)).href;
  const registration = await navigator.serviceWorker.register(place.dataset.keep);
  await navigator.serviceWorker.ready;
  const files = [...document.querySelectorAll("link[rel=stylesheet], link[rel=icon], script[src], svg use")].map(
    (each) => (each.src || each.href?.baseVal || each.href || each.getAttribute("href")).split("#")[0],
  );
  if (place.dataset.keepAlso) files.push(place.dataset.keepAlso);
  const pages = [scope, location.origin + location.pathname];
  if ("keepLinked" in place.dataset) {
    const list = new DOMParser().parseFromString(await (await fetch(scope)).text(), "text/html");
    const links = [...list.querySelectorAll("main a")].map((link) => new URL(link.getAttribute("href"), scope).href);
    pages.push(...links.filter((address) => address.startsWith(scope) && /\/\d+\/$/.test(address)));
  }
  const cache = await caches.open(`hors-ligne ${registration.scope}`);
  // A page that has become the log-in is not kept: a browser opens no page that came by a redirect.
  await cache.addAll([...new Set([...files, ...pages])].map((address) => new Request(address, { redirect: "error" })));
}

async function keepAndSay() {
  try {
    await keep();
    says.textContent = place.dataset.kept;
  } catch {
    says.textContent = place.dataset.notKept;
  }
}

if (place && "serviceWorker" in navigator && "caches" in window) {
  if (place instanceof HTMLButtonElement) {
    place.hidden = false;
    place.addEventListener("click", keepAndSay);
  } else {
    keepAndSay();
  }
}
