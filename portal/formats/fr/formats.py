"""French, with the hour as everywhere else on this site: `22 novembre 2026, 9 h 59`."""

DATETIME_FORMAT = "j F Y, G\u00a0\\h\u00a0i"
