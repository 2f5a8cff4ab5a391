// The admin's page has no place for the theme that the server knows, so it is read from the same cookie before painting.
"use strict";

const chosen = /(?:^|; )chronos_theme=(light|dark)/.exec(document.cookie);
if (chosen) document.documentElement.dataset.theme = chosen[1];
