// A service worker that keeps what was seen below its address (pages, and the style and scripts they need) for when there is no
// network. It is registered by pages that say so, and signing out takes it and all that it kept away (site.js).

const CACHE = `hors-ligne ${self.registration.scope}`;
const PATIENCE = 5000; // milliseconds: a bad network is worse than none

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = new URL(request.url);
  if (request.method !== "GET" || address.origin !== location.origin) return;
  const ours = request.url.startsWith(self.registration.scope) && request.mode === "navigate";
  if (ours || address.pathname.startsWith("/static/")) event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = () => cache.match(request, { ignoreVary: true });
  try {
    const fresh = await Promise.race([fetch(request), later(PATIENCE, kept)]);
    // A redirect leads to the log-in: what was kept is better than a copy of that.
    if (fresh.ok && !fresh.redirected && fresh.type === "basic") await cache.put(request, fresh.clone());
    return fresh;
  } catch {
    return (await kept()) ?? Response.error();
  }
}

// What is kept, after a while; for ever nothing when nothing is kept, so that the network goes on being waited for.
async function later(time, kept) {
  await new Promise((resolve) => { setTimeout(resolve, time); });
  return (await kept()) ?? new Promise(() => {});
}
