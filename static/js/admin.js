// The theme chosen on the site holds here too; it is set before anything is drawn. Without JavaScript the system decides.
const chosen = document.cookie.match(/(?:^|; )theme=(light|dark)(?:;|$)/);
if (chosen) document.documentElement.dataset.theme = chosen[1];

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
