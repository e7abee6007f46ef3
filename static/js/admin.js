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
