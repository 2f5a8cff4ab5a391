// The universe page, beside what rows.js does: moving rows, notes in a dialog, taking a removal back.
// All of it is also there without this file, by forms.
"use strict";

function say(text) {
  const place = document.getElementById("said");
  if (place) place.textContent = text;
}

// --- The field for symbols to add: what is known of the one that is being written ---

let asking = 0;

function lastSymbol(field) {
  return field.value.split(/[\s,;]+/).filter(Boolean).at(-1) ?? "";
}

document.addEventListener("input", (event) => {
  if (event.target.id !== "add_symbols") return;
  clearTimeout(asking);
  const field = event.target;
  asking = setTimeout(() => {
    const place = document.getElementById("verdict");
    const symbol = lastSymbol(field);
    const address = document.querySelector("[data-validating]")?.dataset.validating;
    if (!place || !address) return;
    if (symbol.length < 2 || field.value.length > 2000) place.replaceChildren();
    else htmx.ajax("GET", `${address}?symbol=${encodeURIComponent(symbol)}`, { target: "#verdict", swap: "outerHTML" });
  }, 500);
});
document.addEventListener("click", (event) => {
  const near = event.target.closest?.(".add [data-suggestion]");
  if (!near || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const field = document.getElementById("add_symbols");
  field.value = field.value.replace(/[^\s,;]+[\s,;]*$/, near.dataset.suggestion);
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
});

// --- Moving a row: by its grip, with a pointer or with the keyboard ---

let focusAfter = "";
let grabbed = null; // { row, grip, next, pointer }

function place(row) {
  return rows().indexOf(row) + 1;
}

function grab(grip, pointer = null) {
  const row = grip.closest("tr");
  grabbed = { row, grip, next: row.nextElementSibling, pointer };
  row.classList.add("grabbed");
}

function release(keep) {
  const { row, grip, next, pointer } = grabbed;
  grabbed = null;
  row.classList.remove("grabbed");
  if (!keep) {
    row.parentElement.insertBefore(row, next);
    say(`${row.dataset.symbol} is back at place ${place(row)}.`);
    if (pointer === null) grip.focus();
    return;
  }
  if (row.nextElementSibling === next) return;
  const table = row.closest("table");
  const before = row.nextElementSibling?.dataset.symbol ?? table.dataset.following;
  say(`${row.dataset.symbol} is put at place ${place(row)} of ${rows().length}.`);
  send(table.dataset.move, { symbol: row.dataset.symbol, before }, `${rowOf(row.dataset.symbol)} .grip`).then(() => {
    if (!row.isConnected) return;
    focusAfter = "";
    row.parentElement.insertBefore(row, next?.isConnected ? next : null);
    say(`${row.dataset.symbol} could not be moved and is back at place ${place(row)}.`);
  });
}

const rowOf = (symbol) => `tr[data-symbol="${CSS.escape(symbol)}"]`;

// HTMX keeps only the last of several requests that wait, so they are sent one after the other: none is lost.
let sending = Promise.resolve();

function send(address, values, focus = "") {
  sending = sending
    .then(() => htmx.ajax("POST", address, { source: "#said", target: "#members", swap: "outerHTML", values }))
    .then(() => { focusAfter = focus; })
    .catch(() => {}); // what went wrong is said by every page
  return sending;
}

document.addEventListener("pointerdown", (event) => {
  if (grabbed?.pointer === null && !event.target.closest?.(".grabbed")) release(false);
  const grip = event.target.closest?.(".grip");
  if (!grip || event.button !== 0 || grabbed) return;
  grip.setPointerCapture(event.pointerId);
  grab(grip, event.pointerId);
});
document.addEventListener("pointermove", (event) => {
  if (!grabbed || grabbed.pointer !== event.pointerId) return;
  const { row } = grabbed;
  const others = rows().filter((other) => other !== row);
  const next = others.find((other) => {
    const box = other.getBoundingClientRect();
    return event.clientY < box.top + box.height / 2;
  });
  if ((next ?? null) !== row.nextElementSibling) row.parentElement.insertBefore(row, next ?? null);
  const frame = row.closest(".scroll");
  const box = frame.getBoundingClientRect();
  const [top, bottom] = [Math.max(box.top, 0) + 60, Math.min(box.bottom, innerHeight) - 40];
  const by = event.clientY < top ? -14 : event.clientY > bottom ? 14 : 0;
  frame.scrollTop += by;
  if (by) scrollBy(0, by);
});
document.addEventListener("pointerup", (event) => {
  if (grabbed && grabbed.pointer === event.pointerId) release(true);
});
document.addEventListener("pointercancel", (event) => {
  if (grabbed && grabbed.pointer === event.pointerId) release(false);
});

document.addEventListener("keydown", (event) => {
  if (grabbed && event.key === "Escape") {
    event.preventDefault();
    release(false);
    return;
  }
  const grip = event.target.closest?.(".grip");
  if (!grip) return;
  if (event.key === " " || (event.key === "Enter" && grabbed)) {
    event.preventDefault();
    if (grabbed) release(true);
    else {
      grab(grip);
      say(`${grabbed.row.dataset.symbol} is picked up at place ${place(grabbed.row)} of ${rows().length}. Arrows move it, Enter puts it down, Escape puts it back.`);
    }
  } else if (grabbed && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    const { row } = grabbed;
    const other = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
    if (!other) return;
    if (event.key === "ArrowDown") other.after(row);
    else other.before(row);
    grip.focus();
    row.scrollIntoView({ block: "nearest" });
    say(`Place ${place(row)} of ${rows().length}.`);
  }
});
document.addEventListener("focusout", (event) => {
  // Moving a row takes the focus from its grip for a moment; leaving it for something else puts the row back.
  if (grabbed?.pointer === null && event.target === grabbed.grip && event.relatedTarget) release(false);
});

// --- What HTMX brings: the same place as before, the editor in its dialog, a removal that can be taken back ---

let scrolled = null;
let kept = null; // what is chosen, being written and focused in a table that comes back by itself, or with a refusal

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target?.contains(grabbed?.row)) release(false);
  const { target: swapped, xhr, requestConfig } = event.detail;
  const table = document.getElementById("rows");
  if (table && swapped?.contains(table) && (requestConfig.elt === table || xhr.status === 422)) {
    const at = document.activeElement.closest?.("#rows tbody tr");
    kept = {
      symbols: new Set(boxes().filter((box) => box.checked).map((box) => box.value)),
      tag: document.getElementById("tag-chosen")?.value,
      focus: at ? `${rowOf(at.dataset.symbol)} ${["input", ".grip", ".edit"].find((each) => document.activeElement.matches(each)) ?? ".sym a"}` : "",
    };
  }
  const noted = requestConfig.elt.closest?.("#note-body form");
  if (noted && swapped?.id === "members") {
    unsaved.delete(noted.action);
    focusAfter = `${rowOf(noted.dataset.symbol)} .edit`;
  }
  const frame = document.querySelector("#rows .scroll");
  const target = event.detail.target;
  scrolled = frame && target?.contains(frame) && event.detail.requestConfig.verb !== "get" ? [frame.scrollLeft, frame.scrollTop] : null;
});
document.addEventListener("htmx:afterSettle", (event) => {
  const frame = document.querySelector("#rows .scroll");
  if (scrolled && frame) [frame.scrollLeft, frame.scrollTop] = scrolled;
  scrolled = null;
  if (kept) {
    for (const box of boxes()) box.checked = kept.symbols.has(box.value);
    const tag = document.getElementById("tag-chosen");
    if (tag && kept.tag) tag.value = kept.tag;
    focusAfter ||= kept.focus;
    kept = null;
  }
  showChosen();
  if (focusAfter) document.querySelector(focusAfter)?.focus({ preventScroll: true });
  focusAfter = "";
  if (event.detail.target?.id === "note-body") {
    const dialog = document.getElementById("note-dialog");
    const form = dialog.querySelector("form");
    if (event.detail.requestConfig.verb === "get") takeUp(form);
    else unsaved.set(form.action, written(form));
    if (!dialog.matches(":popover-open")) dialog.showPopover();
    (dialog.querySelector("[aria-invalid='true']") ?? dialog.querySelector("textarea"))?.focus();
  }
  const undo = document.querySelector("#members [data-removed]");
  if (undo && !undo.dataset.offered) offer(undo);
  const comparison = document.querySelector(".comparing");
  if (comparison && event.detail.requestConfig?.elt.id === "compare-chosen") {
    comparison.open = true;
    comparison.scrollIntoView({ block: "nearest" });
  }
});

// A click beside the dialog closes it: what was being written there is taken up when it is opened again. Close gives it up.

const unsaved = new Map(); // address of the form → what stood in its fields
const written = (form) => ["note", "tags", "version"].map((name) => [name, form.elements[name].value]);

function takeUp(form) {
  if (!unsaved.has(form.action)) return;
  for (const [name, value] of unsaved.get(form.action)) form.elements[name].value = value;
  const told = document.createElement("p");
  told.className = "soft small";
  told.setAttribute("role", "status");
  told.textContent = "This is what you were writing. It is not kept yet.";
  form.querySelector(".field").before(told);
}

document.addEventListener("input", (event) => {
  const form = event.target.closest?.("#note-body form");
  if (form) unsaved.set(form.action, written(form));
});
document.addEventListener("click", (event) => {
  const closing = event.target.closest?.("#note-body [popovertargetaction='hide']");
  if (closing) unsaved.delete(closing.form.action);
});

const UNDO_FOR = 10_000;

function offer(undo) {
  undo.dataset.offered = "yes";
  const toast = document.getElementById("toast");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  button.textContent = "Undo";
  const text = document.createElement("span");
  text.textContent = undo.dataset.removed;
  clearTimeout(toastTimer); // of words that stood there before
  toast.replaceChildren(text, button);
  toast.hidden = false;
  const hide = () => { if (button.isConnected) toast.hidden = true; };
  let timer = setTimeout(hide, UNDO_FOR);
  for (const kind of ["pointerenter", "focusin"]) button.addEventListener(kind, () => clearTimeout(timer));
  for (const kind of ["pointerleave", "focusout"]) button.addEventListener(kind, () => { timer = setTimeout(hide, UNDO_FOR); });
  const { action, elements } = undo.form;
  button.addEventListener("click", () => {
    toast.hidden = true;
    send(action, { symbols: elements.symbols.value }); // the table may have come anew since
  });
}

// --- The comparison: whether it is folded, and what the pointer is over ---

document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("[data-fold]")) remember(event.target.dataset.fold, event.target.open ? "open" : "folded");
}, true);

let reading = null; // { holder, told }: what was last read for the drawing that is there

async function readLines(holder) {
  if (reading?.holder === holder) return reading.told;
  const told = fetch(holder.dataset.lines).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
  reading = { holder, told };
  return told;
}

function readOut(holder, told, share) {
  let near = 0;
  for (let place = 1; place < told.at.length; place += 1) {
    if (Math.abs(told.at[place] - share) < Math.abs(told.at[near] - share)) near = place;
  }
  const pointer = holder.querySelector(".pointer");
  for (const end of ["x1", "x2"]) pointer.setAttribute(end, `${100 * told.at[near]}%`);
  pointer.removeAttribute("hidden");
  holder.querySelector("[data-day]").textContent = `Until ${told.days[near]}, %`;
  for (const row of holder.querySelectorAll(".legend [data-line]")) {
    const cell = row.querySelector("[data-value]");
    const text = told.lines[row.dataset.line]?.[near] ?? "–";
    cell.textContent = text;
    cell.className = `num ${text.startsWith("+") ? "gain" : text.startsWith("−") ? "loss" : "flat"}`;
  }
}

function readEnd(holder) {
  holder.querySelector(".pointer").setAttribute("hidden", "");
  const day = holder.querySelector("[data-day]");
  day.textContent = day.dataset.usual;
  for (const cell of holder.querySelectorAll(".legend [data-value]")) {
    const text = cell.dataset.value;
    cell.textContent = text;
    cell.className = `num ${text.startsWith("+") ? "gain" : text.startsWith("−") ? "loss" : "flat"}`;
  }
}

let over = 0; // counts the moves, so that an answer that comes late is not read out

document.addEventListener("pointermove", async (event) => {
  over += 1;
  const now = over;
  const drawing = event.target.closest?.(".plot .lines");
  const holder = (drawing ?? document.querySelector(".plot .pointer:not([hidden])"))?.closest("#performance");
  if (!holder) return;
  if (!drawing) { readEnd(holder); return; }
  const box = drawing.getBoundingClientRect();
  const told = await readLines(holder);
  if (told && now === over && holder.isConnected) readOut(holder, told, (event.clientX - box.left) / box.width);
});

showChosen();
