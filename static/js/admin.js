// The theme chosen on the site holds here too; it is set before anything is drawn. Without JavaScript the system decides.
const chosen = document.cookie.match(/(?:^|; )theme=(light|dark)(?:;|$)/);
if (chosen) document.documentElement.dataset.theme = chosen[1];
