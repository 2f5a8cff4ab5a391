// The list of backtests, beside what rows.js does.
"use strict";

// --- A row that comes back when its job has moved stays chosen; so do all when the table comes in another order ---

let kept = new Set();

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target?.closest?.("#rows")) kept = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
});
document.addEventListener("htmx:afterSettle", () => {
  for (const box of boxes()) if (kept.has(box.value)) box.checked = true;
  kept = new Set();
  showChosen();
});

showChosen();
