// « Garder sur cet appareil » : the tickets' pages stay readable without network (offline.js), until signing out (site.js).

const button = document.querySelector("[data-keep]");
const says = document.querySelector("[data-keep-says]");

async function keep() {
  const scope = new URL("./", new URL(button.dataset.keep, location.href)).href;
  const registration = await navigator.serviceWorker.register(button.dataset.keep);
  await navigator.serviceWorker.ready;
  const files = [...document.querySelectorAll("link[rel=stylesheet], link[rel=icon], script[src], svg use")].map(
    (each) => (each.src || each.href?.baseVal || each.href || each.getAttribute("href")).split("#")[0],
  );
  const list = new DOMParser().parseFromString(await (await fetch(scope)).text(), "text/html");
  const pages = [...list.querySelectorAll("main a")].map((link) => new URL(link.getAttribute("href"), scope).href);
  const tickets = pages.filter((address) => address.startsWith(scope) && /\/\d+\/$/.test(address));
  const cache = await caches.open(`hors-ligne ${registration.scope}`);
  await cache.addAll([...new Set([...files, scope, location.href, ...tickets])]);
  says.textContent = "Vos e-billets s’ouvrent maintenant sans réseau sur cet appareil. Se déconnecter les efface.";
}

if (button && "serviceWorker" in navigator && "caches" in window) {
  button.hidden = false;
  button.addEventListener("click", () => {
    keep().catch(() => { says.textContent = "Cet appareil n’a pas pu les garder\u00a0: téléchargez le PDF."; });
  });
}
