// The form of a backtest: assets chosen from a list by keyboard or pointer, and the days that are stored of them.
"use strict";

(() => {
  const form = document.querySelector("form.making");
  if (!form) return;
  const check = () => htmx.trigger(form.querySelector(".stack"), "backtest-changed");

  // --- Fields that take an asset: a listbox below them, filled by the server ---

  for (const holder of form.querySelectorAll("[data-choosing]")) {
    const field = holder.querySelector("input");
    const list = holder.querySelector(".choices");
    let taken = field.value; // what the rest of the page is about
    let asked = 0;
    list.id = `${field.id}_choices`;
    for (const [name, value] of [["role", "combobox"], ["aria-expanded", "false"], ["aria-controls", list.id], ["aria-autocomplete", "list"]]) field.setAttribute(name, value);

    const options = () => [...list.querySelectorAll("[role=option]")];
    const chosen = () => list.querySelector("[aria-selected=true]");
    const isOpen = () => !list.hidden;

    function close() {
      list.hidden = true;
      field.setAttribute("aria-expanded", "false");
      field.removeAttribute("aria-activedescendant");
    }
    function mark(option) {
      chosen()?.setAttribute("aria-selected", "false");
      if (!option) { field.removeAttribute("aria-activedescendant"); return; }
      option.setAttribute("aria-selected", "true");
      option.scrollIntoView({ block: "nearest" });
      field.setAttribute("aria-activedescendant", option.id);
    }
    async function ask() {
      asked += 1;
      const now = asked;
      const text = field.value.trim() === taken ? "" : field.value.trim();
      const answer = await fetch(`${holder.dataset.choosing}?q=${encodeURIComponent(text)}`, { headers: { "HX-Request": "true" } }).catch(() => null);
      if (!answer?.ok || now !== asked || document.activeElement !== field) return;
      list.innerHTML = await answer.text(); // ours, escaped there
      for (const option of options()) option.id = `${list.id}-${option.id}`;
      list.hidden = false;
      field.setAttribute("aria-expanded", "true");
      if (text) mark(options()[0]);
    }
    function settle() {
      if (field.value.trim() === taken) return;
      taken = field.value.trim();
      if (field.id === "id_asset") htmx.trigger("#asset-chosen", "asset-chosen");
      else check();
    }
    function take(option) {
      field.value = option.dataset.symbol;
      asked += 1;
      close();
      settle();
    }

    let timer = 0;
    field.addEventListener("input", (event) => {
      event.stopPropagation(); // half a symbol is not wrong yet
      clearTimeout(timer);
      timer = setTimeout(ask, 120);
    });
    field.addEventListener("click", () => { if (!isOpen()) ask(); });
    field.addEventListener("keydown", (event) => {
      const all = options();
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        if (!isOpen()) { ask(); return; }
        const place = all.indexOf(chosen()) + (event.key === "ArrowDown" ? 1 : -1);
        mark(all[(place + all.length) % all.length]);
      } else if (event.key === "Enter" && isOpen() && chosen()) {
        event.preventDefault();
        take(chosen());
      } else if (event.key === "Escape" && isOpen()) {
        event.preventDefault();
        close();
      }
    });
    field.addEventListener("change", (event) => event.stopPropagation());
    field.addEventListener("blur", () => { asked += 1; clearTimeout(timer); close(); settle(); });
    list.addEventListener("pointerdown", (event) => {
      const option = event.target.closest("[role=option]");
      if (!event.target.closest("a")) event.preventDefault(); // the field keeps the focus
      if (option) take(option);
    });
  }

  // --- Which candles the chosen timeframe has: the days that can be chosen ---

  function showStored() {
    const frame = form.querySelector("[name=timeframe]:checked")?.value;
    for (const one of form.querySelectorAll(".stored li")) {
      one.toggleAttribute("data-current", one.dataset.of === frame);
      if (one.dataset.of !== frame) continue;
      for (const name of ["start", "end"]) {
        const field = form.elements[name];
        field.min = one.dataset.first;
        field.max = one.dataset.last;
      }
    }
  }
  form.addEventListener("change", (event) => {
    if (event.target.name === "timeframe") showStored();
  });
  // Who writes an amount means it.
  form.addEventListener("input", (event) => {
    const radio = event.target.closest(".size")?.querySelector("[type=radio]");
    if (radio && event.target !== radio && event.target.value) radio.checked = true;
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    const id = event.detail.target?.id;
    if (id === "stock" || id === "parameters") { showStored(); check(); }
  });
  showStored();
})();
