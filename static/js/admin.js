// The theme chosen on the site holds here too; it is set before anything is drawn. Without JavaScript the system decides.
const chosen = document.cookie.match(/(?:^|; )theme=(light|dark)(?:;|$)/);
if (chosen) document.documentElement.dataset.theme = chosen[1];

// On a phone each row of a list is a card: its cells then need the name of their column (admin.css shows it).
addEventListener("DOMContentLoaded", () => {
  const list = document.querySelector("#result_list");
  if (!list) return;
  const names = [...list.querySelectorAll("thead th")].map((head) => head.querySelector(".text")?.innerText.trim() ?? "");
  for (const row of list.querySelectorAll("tbody tr")) {
    [...row.cells].forEach((cell, index) => { if (names[index] && cell.tagName === "TD") cell.dataset.label = names[index]; });
  }
});

// Django's choice by search (select2) is a box without its label's name; it gets the label and what is chosen. It is
// drawn by jQuery some time after the page, hence the observer.
function nameBoxes() {
  for (const chosen of document.querySelectorAll(".select2-selection__rendered[role=textbox]")) {
    const select = chosen.id.match(/^select2-(.+)-container$/)?.[1];
    const label = select && document.querySelector(`label[for="${select}"]`);
    if (!label) continue;
    label.id ||= `label-${select}`;
    chosen.removeAttribute("role");
    chosen.removeAttribute("aria-readonly");
    chosen.closest("[role=combobox]").setAttribute("aria-labelledby", `${label.id} ${chosen.id}`);
  }
}
addEventListener("DOMContentLoaded", () => {
  if (!document.querySelector("select.admin-autocomplete")) return;
  new MutationObserver(nameBoxes).observe(document.body, { childList: true, subtree: true });
  nameBoxes();
});
