// At the door: the camera, and going on without network. With the network the server decides each passage. Without it this
// phone decides from the list that it took along, keeps what it let through, and sends it when the network is back; the server
// keeps all of it and flags what the rules refuse. Rules with the network live on the server, not here.

const root = document.querySelector("[data-scan]");
const part = (name) => root.querySelector(`[data-${name}]`);
const activity = root.dataset.scan;
const VERDICTS = { accepted: "Accepté", flagged: "À vérifier", refused: "Refusé", unknown: "Inconnu" };
const ALPHABET = /^[A-HJ-NP-Z2-9]{12}$/;
const SIGNED = /^(V1\.([A-HJ-NP-Z2-9]{12})\.(\d+)\.(\d*)\.(\d{8})\.(\d{8}))\.([A-Z2-7]+)$/;
const PATIENCE = 4000; // milliseconds for the server; whoever stands at the door waits no longer
const RELIST = 5 * 60_000;
const REPEATED = Number(root.dataset.repeated) * 60_000; // a pass seen again so soon is said
const AGAIN = 4000; // the same code held in front of the camera is one passage

// --- What the phone keeps (IndexedDB) --------------------------------------------------------------------------------

const database = new Promise((resolve, reject) => {
  const opening = indexedDB.open("controle", 1);
  opening.onupgradeneeded = () => {
    opening.result.createObjectStore("lists");
    opening.result.createObjectStore("queue", { keyPath: "id" });
  };
  opening.onsuccess = () => resolve(opening.result);
  opening.onerror = () => reject(opening.error);
});
async function store(name, mode, act) {
  const transaction = (await database).transaction(name, mode);
  const request = act(transaction.objectStore(name));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}
const list = () => store("lists", "readonly", (rows) => rows.get(activity));
const keepList = (value) => store("lists", "readwrite", (rows) => rows.put(value, activity));
const waiting = async () => (await store("queue", "readonly", (rows) => rows.getAll())).sort((a, b) => a.at.localeCompare(b.at));
const device = (() => {
  try {
    localStorage.controle ||= crypto.randomUUID().slice(0, 4).toUpperCase();
    return localStorage.controle;
  } catch { return ""; }
})();

// --- Deciding ----------------------------------------------------------------------------------------------------------

const codeOf = (text) => SIGNED.exec(text.trim())?.[2] ?? text.replace(/[\s.\-–—]/g, "").toUpperCase();
const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const hashOf = async (code) => hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(code)));
const iso = (day) => `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}`;

// Days and moments in Paris, in the server's words (portal.common.formats), whatever the phone is set to.
const PARIS = { timeZone: "Europe/Paris" };
const dayHere = (moment = new Date()) => new Date(moment).toLocaleDateString("sv-SE", PARIS);
const noon = (day) => new Date(`${day}T12:00Z`);
const after = (day) => new Date(noon(day).getTime() + 24 * 3_600_000).toISOString().slice(0, 10);
const partsOf = (options, moment) => Object.fromEntries(new Intl.DateTimeFormat("fr-FR", { ...PARIS, ...options }).formatToParts(moment).map(({ type, value }) => [type, value]));
function spoken(day) { // « samedi 7 novembre », with its year when that is not this one
  const { weekday, day: number, month, year } = partsOf({ weekday: "long", day: "numeric", month: "long", year: "numeric" }, noon(day));
  const words = `${weekday} ${number === "1" ? "1er" : number} ${month}`;
  return year === dayHere().slice(0, 4) ? words : `${words} ${year}`;
}
function hourHere(moment) { // « 22 h 42 », « 12 h »
  const { hour, minute } = partsOf({ hour: "numeric", minute: "2-digit" }, new Date(moment));
  return `${Number(hour)}\u00a0h${Number(minute) ? `\u00a0${minute}` : ""}`;
}
const momentHere = (moment) => `${spoken(dayHere(moment))} à ${hourHere(moment)}`;

function unbase32(text) {
  const bits = [...text].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  return Uint8Array.from({ length: Math.floor(bits.length / 8) }, (_, index) => parseInt(bits.slice(index * 8, index * 8 + 8), 2));
}

// A ticket that was sold after the list was made: its own facts, when the platform has signed them.
async function signedTicket(text, key) {
  const found = SIGNED.exec(text.trim());
  if (!found || found[3] !== activity) return null;
  try {
    const raw = Uint8Array.from(atob(key), (letter) => letter.charCodeAt(0));
    const verifier = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
    const ours = await crypto.subtle.verify("Ed25519", verifier, unbase32(found[7]), new TextEncoder().encode(found[1]));
    if (!ours) return null;
  } catch { return null; } // a browser without Ed25519 knows its list alone
  return { entries: found[4] ? Number(found[4]) : null, used: 0, from: iso(found[5]), to: iso(found[6]), cancelled: false, who: "", what: "Vendu depuis la liste" };
}

// One after another, in all the tabs of this phone: a code typed twice in a hurry is looked up twice, never at once.
const alone = (act) => navigator.locks.request("controle", act);

const decideHere = (text, id) => alone(async () => {
  const known = await list();
  if (!known) return { answer: "refused", sentence: "Sans réseau, et sans liste sur cet appareil\u00a0: ouvrez cette page une fois avec le réseau." };
  const hash = await hashOf(codeOf(text));
  const ticket = known.tickets[hash] ?? await signedTicket(text, known.key);
  if (!ticket) return { answer: "unknown", sentence: `Inconnu de la liste du ${momentHere(known.at)}\u00a0: impossible de vérifier sans réseau.` };
  const told = { who: ticket.who, what: ticket.what };
  const refused = refusalOf(ticket);
  if (refused) return { ...told, answer: "refused", sentence: refused };
  const now = new Date();
  const caution = ticket.entries === null && ticket.last && now - new Date(ticket.last) < REPEATED ? `Déjà passé à ${hourHere(ticket.last)}.` : "";
  ticket.used += 1;
  ticket.last = now.toISOString();
  known.tickets[hash] = ticket;
  await store("queue", "readwrite", (rows) => rows.put({ id, activity, url: root.dataset.passages, text: codeOf(text), device, at: ticket.last }));
  await keepList(known);
  return { ...told, answer: "accepted", sentence: acceptedHere(ticket), caution };
});

// The server's sentences (bookings/tickets/control.py), as far as a phone can know.
function refusalOf({ entries, used, last, cancelled, from, to }) {
  const day = dayHere();
  if (cancelled) return `Ce billet a été annulé le ${momentHere(cancelled)}.`;
  if (day < from) return `Ce billet n’est valable qu’à partir du ${spoken(from)}.`;
  if (day > to) return `Ce billet n’est plus valable depuis le ${spoken(after(to))}.`;
  if (entries === null || used < entries) return "";
  if (!last) return "Déjà utilisé.";
  if (entries === 1) return `Déjà utilisé le ${momentHere(last)}.`;
  return `Déjà utilisé\u00a0: les ${entries} entrées sont prises, la dernière le ${momentHere(last)}.`;
}
function acceptedHere({ entries, used }) {
  const how = signedOut ? "Accepté d’après la liste de cet appareil" : "Accepté sans réseau";
  const left = entries - used;
  if (entries === null || entries === 1) return `${how}.`;
  if (!left) return `${how}\u00a0: c’était la dernière entrée.`;
  return `${how}\u00a0: il reste ${left} entrée${left > 1 ? "s" : ""}.`;
}

// What this phone let through and has not sent yet is not in the server's count.
async function addUnsent(tickets) {
  for (const row of await waiting()) {
    const ticket = row.activity === activity && tickets[await hashOf(row.text)];
    if (ticket) Object.assign(ticket, { used: ticket.used + 1, last: row.at });
  }
}

// What the server has just said of a ticket is what the phone goes on with, should the network leave the next moment.
let learned = 0;
const learn = (code, facts) => alone(async () => {
  learned += 1;
  const known = await list();
  if (!facts || !known) return;
  const hash = await hashOf(code);
  const fresh = { [hash]: facts };
  await addUnsent(fresh);
  known.tickets[hash] = facts;
  await keepList(known);
});

// --- The server ----------------------------------------------------------------------------------------------------------

const token = () => /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? root.querySelector("[name=csrfmiddlewaretoken]").value;
// The network is there and the server does not take it: the session has ended (the log-in, or a token of another), or this
// door is somebody else's now. The first goes on with the list, and says so; the second ends here.
let signedOut = false;
const GONE = "gone";
async function heard(answer) {
  signedOut = answer.redirected || answer.status === 403;
  if (answer.status === 404) {
    await alone(() => store("lists", "readwrite", (rows) => rows.delete(activity)));
    throw new Error(GONE);
  }
  if (signedOut || !answer.ok) throw new Error(signedOut ? "signed out" : String(answer.status));
}

async function send(url, passages) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": token() },
    body: JSON.stringify({ passages }),
    signal: AbortSignal.timeout(PATIENCE),
  });
  await heard(answer);
  return (await answer.json()).results;
}

async function check(text) {
  if (!ALPHABET.test(codeOf(text))) return show({ answer: "unknown", sentence: "Ce n’est pas le code d’un e-billet\u00a0: douze lettres et chiffres." });
  const id = crypto.randomUUID();
  let result;
  try {
    result = (await send(root.dataset.passages, [{ id, text, device }]))[id];
    await learn(codeOf(text), result.facts);
    flush();
  } catch (error) {
    result = error.message === GONE
      ? { answer: "refused", sentence: "Vous ne contrôlez plus ces billets\u00a0: demandez au service." }
      : await decideHere(text, id); // the same name: should the server have heard it after all, it is one passage
  }
  show(result);
  return tell();
}

let sending = false;
async function flush() {
  if (sending) return;
  sending = true;
  try {
    const queue = await waiting();
    for (const url of new Set(queue.map((row) => row.url))) {
      const rows = queue.filter((row) => row.url === url).slice(0, 100);
      const results = await send(url, rows.map(({ id, text, device: by, at }) => ({ id, text, device: by, at })));
      for (const row of rows.filter(({ id }) => results[id])) {
        await store("queue", "readwrite", (kept) => kept.delete(row.id));
        if (row.activity === activity) await learn(row.text, results[row.id].facts);
        if (["flagged", "unknown"].includes(results[row.id].answer)) flagged(row, results[row.id]);
      }
    }
  } catch { /* still no network: tried again */ }
  sending = false;
  return tell();
}

async function relist() {
  try {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const before = learned;
      const answer = await fetch(root.dataset.list, { signal: AbortSignal.timeout(15_000) });
      await heard(answer);
      const fresh = await answer.json();
      const kept = await alone(async () => {
        if (before !== learned) return false; // somebody passed meanwhile: this list may not know it
        await addUnsent(fresh.tickets);
        await keepList(fresh);
        return true;
      });
      if (kept) break;
    }
  } catch { /* the last list stays */ }
  return tell();
}

// --- What is shown -----------------------------------------------------------------------------------------------------

function show({ answer, sentence, who = "", what = "", stop = "", caution = "" }) {
  const box = part("answer");
  box.hidden = false;
  box.className = `answer ${answer}${caution ? " again" : ""}`;
  part("verdict").textContent = VERDICTS[answer];
  part("sentence").textContent = sentence.replace(/ (?=[:;?!])/g, "\u00a0");
  part("caution").hidden = !caution;
  part("caution").textContent = caution;
  part("who").textContent = [what, who, stop].filter(Boolean).join(", ");
  navigator.vibrate?.(answer === "accepted" && !caution ? 80 : [80, 80, 200]);
}

function flagged(row, result) {
  const line = document.createElement("li");
  line.textContent = `${row.text.match(/.{4}/g).join("-")}, passé le ${momentHere(row.at)}\u00a0: ${result.sentence}`;
  part("flagged").append(line);
}

async function tell() {
  const known = await list();
  const queue = await waiting();
  part("offline").hidden = false;
  part("signed-out").hidden = !signedOut;
  const count = known && Object.keys(known.tickets).length;
  if (known) part("list-says").textContent = `La liste du ${momentHere(known.at)} est sur cet appareil (${count} billet${count > 1 ? "s" : ""})\u00a0: le contrôle continue sans réseau.`;
  const words = queue.length
    ? `${queue.length} passage${queue.length > 1 ? "s" : ""} sans réseau à envoyer\u00a0: gardez cette page, ou revenez-y avec le réseau et en étant connecté.`
    : "Tous les passages sont envoyés.";
  if (part("queue-says").textContent !== words) part("queue-says").textContent = words;
}

// --- The camera --------------------------------------------------------------------------------------------------------

async function detector() {
  if (!("BarcodeDetector" in window) || !(await BarcodeDetector.getSupportedFormats()).includes("qr_code")) return null;
  const ours = new BarcodeDetector({ formats: ["qr_code"] });
  return async (image) => (await ours.detect(image))[0]?.rawValue;
}

async function decoder() {
  await new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src: root.dataset.decoder, onload: resolve, onerror: reject });
    document.head.append(script);
  });
  return async (image) => {
    const { width, height } = image;
    const { data } = image.getContext("2d").getImageData(0, 0, width, height);
    return window.jsQR(data, width, height, { inversionAttempts: "dontInvert" })?.data;
  };
}

function stop(sentence) {
  const video = part("video");
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  video.hidden = true;
  part("start").hidden = false;
  part("camera-says").textContent = sentence;
}

async function watch() {
  const video = part("video");
  const says = part("camera-says");
  part("start").hidden = true;
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch {
    return stop("La caméra n’est pas accessible\u00a0: autorisez-la dans le navigateur, ou tapez le code.");
  }
  const filming = video.srcObject;
  filming.getTracks().forEach((track) => {
    track.onended = () => stop("La caméra s’est arrêtée\u00a0: relancez-la, ou tapez le code.");
  });
  let read;
  try {
    read = await detector() ?? await decoder();
    video.hidden = false;
    await video.play();
  } catch {
    return stop("Sans réseau, cet appareil ne sait pas encore lire les codes QR\u00a0: tapez le code.");
  }
  says.textContent = "Présentez le code devant la caméra.";
  const canvas = document.createElement("canvas");
  let last = "";
  let since = 0;
  const look = async () => {
    if (video.srcObject !== filming) return;
    if (video.videoWidth) {
      const scale = Math.min(1, 640 / video.videoWidth);
      canvas.width = video.videoWidth * scale;
      canvas.height = video.videoHeight * scale;
      canvas.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0, canvas.width, canvas.height);
      let text;
      try {
        text = await read(canvas);
      } catch { // some phones promise a reader of their own and do not have it
        try {
          read = await decoder();
        } catch {
          stop("Cet appareil ne sait pas lire les codes QR\u00a0: tapez le code.");
        }
      }
      if (text && (text !== last || Date.now() - since > AGAIN)) {
        last = text;
        since = Date.now();
        await check(text);
      }
      if (text) since = Date.now(); // counted again only after it has left
    }
    setTimeout(look, 150);
  };
  return look();
}

// --- Start -------------------------------------------------------------------------------------------------------------

part("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = part("form").querySelector("[name=code]");
  const text = input.value;
  input.value = ""; // at once: the answer may come while the next code is being typed
  input.focus();
  await check(text);
});
if (navigator.mediaDevices?.getUserMedia) {
  part("camera").hidden = false;
  part("start").addEventListener("click", watch);
}
addEventListener("online", flush);
setInterval(flush, 10_000); // not every browser says that the network is back; asks nobody when nothing waits
setInterval(relist, RELIST);
await relist();
await flush();
