// The page of a result: what is pressed in a chart leads to its trade; arrows step through rows and trades.
"use strict";

// --- One address for all parts: what a part asks for leaves the choices of the others as they are, and is short ---

const CHOICES = { equity: ["unit", "scale"], price: ["range", "trade"], trades: ["sort", "direction", "reason", "ended", "ambiguous", "since", "until", "page"] };

document.addEventListener("htmx:configRequest", (event) => {
  const { detail } = event;
  const own = CHOICES[detail.target?.id];
  if (!own || detail.verb !== "get") return;
  const [path, query = ""] = detail.path.split("?");
  const asked = new URLSearchParams(query);
  for (const [name, value] of detail.formData) asked.set(name, value);
  for (const name of [...detail.formData.keys()]) detail.formData.delete(name);
  const here = new URLSearchParams(location.search);
  for (const name of Object.values(CHOICES).flat()) {
    if (own.includes(name)) continue;
    if (here.has(name)) asked.set(name, here.get(name));
    else asked.delete(name);
  }
  for (const [name, value] of [...asked]) if (!value) asked.delete(name);
  detail.path = (path || location.pathname) + (asked.size ? `?${asked}` : "");
});

// --- From a mark to its trade: it is looked at on the price, and its row is marked ---

function lookAt(number) {
  const address = new URL(location.href);
  address.hash = "";
  address.searchParams.set("trade", number);
  address.searchParams.delete("range");
  history.pushState({ htmx: true }, "", address);
  htmx.ajax("GET", address.pathname + address.search, { target: "#price", swap: "outerHTML" });
}

document.addEventListener("chronos:pressed", (event) => {
  const { customdata } = event.detail;
  if (customdata === undefined || !event.target.closest("#price, #excursions")) return;
  lookAt(customdata);
  document.getElementById("price").scrollIntoView({ block: "start" });
});

// The row of the trade that is looked at, if it is on the page of the table that is shown.
document.addEventListener("htmx:afterSettle", () => {
  const wanted = new URLSearchParams(location.search).get("trade");
  for (const row of document.querySelectorAll(".trade-rows tbody tr")) {
    const here = row.id === `trade-${wanted}`;
    row.classList.toggle("chosen", here);
    if (here) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
});

// --- Keys: j and k, or arrows within the table, move through the rows; [ and ] step through the trades on the price ---

function isWriting(element) {
  return element.matches?.("input, textarea, select, [contenteditable]") ?? false;
}

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || isWriting(event.target)) return;
  const stepped = { "[": "trade-before", "]": "trade-after" }[event.key];
  if (stepped) {
    document.getElementById(stepped)?.click();
    return;
  }
  const within = event.target.closest?.(".trade-rows tbody tr");
  const step = { j: 1, k: -1, ArrowDown: within && 1, ArrowUp: within && -1 }[event.key];
  if (!step) return;
  const rows = [...document.querySelectorAll(".trade-rows tbody tr")];
  const next = rows[within ? rows.indexOf(within) + step : step > 0 ? 0 : rows.length - 1];
  next?.querySelector(".sym a").focus();
  if (next) event.preventDefault();
});
