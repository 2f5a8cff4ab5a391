// The palette: ⌘K or Ctrl+K opens it, letters ask for lines, arrows choose, Enter goes there, Escape closes.
"use strict";

(() => {
  const dialog = document.getElementById("palette");
  if (!dialog) return;
  const field = document.getElementById("palette-q");
  const lines = document.getElementById("palette-lines");
  const status = dialog.querySelector("[data-palette-status]");
  const first = lines.innerHTML; // what stands there before anything is asked, so that it opens at once
  const RECENT = `chronos-recent-${dialog.dataset.person}`;
  const options = () => [...lines.querySelectorAll("[role='option']")];
  let active = null;
  let shown = ""; // the text that the lines answer
  let hasty = null; // Enter, pressed before the lines of what is typed have come

  function choose(option) {
    active?.setAttribute("aria-selected", "false");
    active = option ?? null;
    if (active) {
      active.setAttribute("aria-selected", "true");
      active.scrollIntoView({ block: "nearest" });
      field.setAttribute("aria-activedescendant", active.id);
    } else {
      field.removeAttribute("aria-activedescendant");
    }
  }

  // --- Where one was, in this tab: forgotten with it, or when somebody else signs in there ---

  function recent() {
    try {
      return JSON.parse(sessionStorage.getItem(RECENT)) ?? [];
    } catch {
      return [];
    }
  }

  function forgetOthers() {
    try {
      Object.keys(sessionStorage).filter((key) => key.startsWith("chronos-recent") && key !== RECENT).forEach((key) => sessionStorage.removeItem(key));
    } catch { /* without storage there is nothing to forget */ }
  }

  function note() {
    const here = location.pathname;
    const name = document.querySelector(".crumbs [aria-current]")?.textContent.trim();
    if (!name || !/^\/(assets|universes)\/(?!new\/|validate\/)[^/]+\/$/.test(here)) return;
    const others = recent().filter((place) => place.url !== here);
    try {
      sessionStorage.setItem(RECENT, JSON.stringify([{ name, url: here }, ...others].slice(0, 6)));
    } catch { /* without storage there is nothing recent */ }
  }

  function showRecent() {
    const places = recent().filter((place) => place.url !== location.pathname).slice(0, 5);
    if (field.value.trim() || !places.length || lines.querySelector("[data-recent]")) return;
    const group = document.createElement("div");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Recent");
    group.dataset.recent = "";
    const label = document.createElement("p");
    label.className = "label";
    label.textContent = "Recent";
    label.setAttribute("aria-hidden", "true");
    group.append(label);
    places.forEach((place, number) => {
      const option = document.createElement("a");
      option.id = `palette-recent-${number}`;
      option.href = place.url;
      option.tabIndex = -1;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      const icon = document.querySelector(`.rail a[href="/${place.url.split("/")[1]}/"] .icon`)?.cloneNode(true);
      const name = document.createElement("b");
      name.textContent = place.name;
      option.append(...(icon ? [icon] : []), name);
      group.append(option);
    });
    lines.prepend(group);
  }

  function settle() {
    showRecent();
    choose(options()[0]);
    lines.scrollTop = 0;
    const many = options().length;
    status.textContent = many === 1 ? "1 line" : `${many} lines`;
  }

  // --- Opening and closing ---

  function open(text = "") {
    if (dialog.open) return;
    field.value = text;
    lines.innerHTML = first;
    shown = "";
    hasty = null;
    dialog.showModal();
    field.focus();
    settle();
    htmx.trigger(field, "palette-opened");
  }

  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input, textarea, select, [contenteditable]");
    const called = (event.key === "k" || event.key === "K") && (event.metaKey || event.ctrlKey) && !event.altKey && !event.shiftKey;
    if (called && dialog.open) {
      event.preventDefault();
      dialog.close();
    } else if (called || (event.key === "/" && !writing && !dialog.open && !event.metaKey && !event.ctrlKey && !event.altKey)) {
      event.preventDefault();
      open();
    }
  });

  const search = document.getElementById("global-search");
  if (search) search.placeholder = "Find anything";
  search?.addEventListener("click", () => open(search.value));
  search?.addEventListener("input", () => {
    open(search.value);
    search.value = "";
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-palette-close]")) dialog.close();
  });
  addEventListener("pageshow", (event) => { if (event.persisted) dialog.close(); });

  // --- Choosing ---

  function go({ metaKey, ctrlKey }) {
    if (active && (metaKey || ctrlKey)) window.open(active.href, "_blank", "noopener");
    else active?.click();
  }

  field.addEventListener("input", () => { hasty = null; });
  field.addEventListener("keydown", (event) => {
    const all = options();
    const place = all.indexOf(active);
    const to = {
      ArrowDown: () => all[(place + 1) % all.length],
      ArrowUp: () => all[(place - 1 + all.length) % all.length],
      Home: () => all[0],
      End: () => all[all.length - 1],
      PageDown: () => all[Math.min(place + 6, all.length - 1)],
      PageUp: () => all[Math.max(place - 6, 0)],
    }[event.key];
    if (to && all.length && !event.shiftKey) {
      event.preventDefault();
      choose(to());
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      if (field.value.trim() === shown) go(event);
      else hasty = event;
    } else if (event.key === "Tab") {
      event.preventDefault(); // there is nowhere else to go in here; Escape leaves
    }
  });

  lines.addEventListener("pointermove", (event) => {
    const option = event.target.closest("[role='option']");
    if (option && option !== active) choose(option);
  });
  lines.addEventListener("htmx:afterSwap", ({ detail }) => {
    shown = (detail.requestConfig.parameters.q ?? "").trim();
    settle();
    if (!hasty || !dialog.open || field.value.trim() !== shown) return;
    go(hasty);
    hasty = null;
  });

  // The page's own words about it would stand behind the dialog.
  for (const kind of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
    field.addEventListener(kind, (event) => {
      event.stopPropagation();
      const said = document.createElement("p");
      said.className = "nothing";
      said.textContent = "Chronos did not answer. Write on, or press Escape and load the page again.";
      lines.replaceChildren(said);
      hasty = null;
      choose(null);
      status.textContent = said.textContent;
    });
  }

  forgetOthers();
  note();
})();
