// The search for assets by keyboard: / to the field, arrows through what was found, Enter opens, Escape goes back.
"use strict";

(() => {
  const field = document.getElementById("assets-q");
  if (!field) return;
  const form = field.form;
  const hits = () => [...document.querySelectorAll("#assets a[data-hit]")];

  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input:not([type='checkbox']), textarea, select, [contenteditable], dialog");
    if (event.key === "/" && !writing && !event.metaKey && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      event.stopImmediatePropagation();
      field.focus();
      field.select();
      return;
    }
    const all = hits();
    const place = all.indexOf(event.target);
    if (event.key === "ArrowDown" && (event.target === field || place >= 0)) {
      event.preventDefault();
      all[Math.min(place + 1, all.length - 1)]?.focus();
    } else if (event.key === "ArrowUp" && place >= 0) {
      event.preventDefault();
      (place ? all[place - 1] : field).focus();
    } else if (event.key === "Escape" && place >= 0) {
      field.focus();
      field.select();
    }
  }, true);

  // Enter in the field opens the first hit, when it is what the field says and not of a moment ago.
  let shown = field.value;
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target?.id === "assets") shown = field.value;
  });
  form.addEventListener("submit", (event) => {
    const first = hits()[0];
    if (field.value.trim() && field.value === shown && first) {
      event.preventDefault();
      event.stopImmediatePropagation();
      first.click();
    }
  }, true);

  form.addEventListener("change", (event) => {
    if (event.target.matches("select")) event.target.classList.toggle("set", event.target.value !== "");
    const clear = form.querySelector("[data-clear]");
    clear.hidden = ![...form.querySelectorAll(".filter")].some((filter) => (filter.type === "checkbox" ? filter.checked : filter.value));
  });
})();
