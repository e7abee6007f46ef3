// A deadline's page: the boxes of the chosen rule alone, and what parents will read while it is being written. Without this
// script every box is there, each part says which rule it is for, and a button shows the same preview.
const form = document.querySelector("#deadline_form");
const basis = form?.elements.basis;
const answer = document.querySelector("#preview-answer");

function showParts() {
  for (const part of form.querySelectorAll("fieldset[class*='for-']")) {
    part.hidden = !part.classList.contains(`for-${basis.value}`);
  }
}

let waiting;
let asked;
async function showPreview() {
  asked?.abort();
  asked = new AbortController();
  const data = new FormData(form);
  data.set("_preview", "1");
  try {
    const page = await fetch(location.href, { method: "POST", body: data, signal: asked.signal });
    if (!page.ok) return;
    const fresh = new DOMParser().parseFromString(await page.text(), "text/html").querySelector("#preview-answer");
    if (fresh) answer.replaceChildren(...fresh.children);
  } catch (error) {
    if (error.name !== "AbortError") return; // without network the button is still there
  }
}

if (basis && answer) {
  showParts();
  basis.addEventListener("change", showParts);
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(showPreview, 400);
  });
}
