// A suggestion for a mistyped symbol goes into the field that was checked, as if it had been typed.
"use strict";

document.addEventListener("click", (event) => {
  const chosen = event.target.closest?.("[data-suggestion]");
  const field = chosen?.closest("form")?.querySelector("input[name='symbol']");
  if (!field || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  field.value = chosen.dataset.suggestion;
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
});
