// Tables whose rows are chosen and moved through: all of it is also there without this file, by forms.
"use strict";

const rows = () => [...document.querySelectorAll("#rows tbody tr:has(.choose)")];
const boxes = () => [...document.querySelectorAll("#rows tbody .choose input")];
const isWriting = (element) => element.closest?.("input:not([type='checkbox']), textarea, select, [contenteditable], dialog") !== null;

// --- Choosing: one, with Shift all up to it, or all; how many are chosen, and whether so many can be compared ---

let lastBox = null;

function showChosen() {
  const found = boxes();
  const count = found.filter((box) => box.checked).length;
  const told = document.querySelector("[data-chosen]");
  if (told) told.textContent = `${count} chosen`;
  const compare = document.querySelector("[data-compare]");
  if (compare) compare.disabled = count < 2 || count > Number(compare.dataset.compare);
  const every = document.querySelector("[data-every]");
  if (every) {
    every.checked = count > 0 && count === found.length;
    every.indeterminate = count > 0 && count < found.length;
  }
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-every]")) for (const box of boxes()) box.checked = event.target.checked;
  if (event.target.closest("#rows")) showChosen();
});
document.addEventListener("click", (event) => {
  const box = event.target.closest?.("#rows tbody .choose input");
  if (box) {
    const found = boxes();
    if (event.shiftKey && lastBox?.isConnected) {
      const [from, to] = [found.indexOf(lastBox), found.indexOf(box)].sort((a, b) => a - b);
      for (const between of found.slice(from, to + 1)) between.checked = box.checked;
      showChosen();
    }
    lastBox = box;
  }
  if (event.target.closest?.("[data-none]")) {
    for (const chosen of boxes()) chosen.checked = false;
    showChosen();
  }
});

// --- Moving through the rows: j and k from anywhere, arrows within the table; x chooses, Enter opens ---

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || isWriting(event.target) || document.querySelector("#rows .grabbed")) return;
  const within = event.target.closest?.("#rows tbody tr");
  const step = { j: 1, k: -1, ArrowDown: within && 1, ArrowUp: within && -1 }[event.key];
  if (step && !event.target.matches(".grip")) {
    const found = rows();
    const next = found[within ? found.indexOf(within) + step : step > 0 ? 0 : found.length - 1];
    next?.querySelector(".sym a").focus();
    if (next) event.preventDefault();
  } else if (event.key === "x" && within) {
    within.querySelector(".choose input")?.click();
    event.preventDefault();
  }
});
