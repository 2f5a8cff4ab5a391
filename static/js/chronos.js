// What every page does: theme, rail, search key, menus, live jobs, and saying so when the server does not answer.
"use strict";

const root = document.documentElement;
root.classList.add("js");

function remember(name, value) {
  document.cookie = `chronos_${name}=${value}; path=/; max-age=31536000; samesite=lax`;
}

// --- Theme and rail: kept in cookies, which the server reads, so that no page flashes ---

function setTheme(theme) {
  root.dataset.theme = theme;
  remember("theme", theme);
  document.dispatchEvent(new Event("chronos:theme"));
}

function isDark() {
  return root.dataset.theme === "dark" || (root.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("chronos:theme")));

document.addEventListener("click", (event) => {
  const pressed = event.target.closest?.("[data-theme-toggle], [data-rail-toggle]");
  if (!pressed) return;
  if (pressed.matches("[data-theme-toggle]")) {
    setTheme(isDark() ? "light" : "dark");
  } else {
    root.dataset.rail = root.dataset.rail === "narrow" ? "wide" : "narrow";
    pressed.setAttribute("aria-pressed", String(root.dataset.rail === "narrow"));
    remember("rail", root.dataset.rail);
    dispatchEvent(new Event("resize")); // charts take the room
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-theme-form] input")) setTheme(event.target.value);
});

document.addEventListener("keydown", (event) => {
  // Enter adds, as in a one-line field; Shift+Enter makes a line.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.matches?.(".add textarea")) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
});

// What can be undone says so for ten seconds, and as long as somebody is about to press it; the server knows the time.
function endOffers() {
  for (const offer of document.querySelectorAll("[data-undo]:not([data-ending])")) {
    offer.dataset.ending = "";
    const end = () => (offer.matches(":hover, :focus-within") ? setTimeout(end, 1000) : offer.remove());
    setTimeout(end, 10_000);
  }
}
endOffers();

// Pressed twice, a form would be sent twice, and what it makes be there twice. On the window, where all others have decided.
let sent = new WeakMap();
addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (event.timeStamp - (sent.get(form) ?? -Infinity) < 10_000) event.preventDefault();
  else sent.set(form, event.timeStamp);
});
addEventListener("pageshow", () => { sent = new WeakMap(); });

// With a key held, a link leads where it says in a tab of its own, also where a plain click swaps a part in.
document.addEventListener("click", (event) => {
  if ((event.ctrlKey || event.metaKey || event.shiftKey) && event.target.closest?.("a[href][hx-get]")) event.stopImmediatePropagation();
}, true);

// --- Live jobs ---
// One stream says which job has changed; whatever shows that job asks for it again by HTMX. A browser opens only six
// connections to a server, so only a page that is seen and has something to wait for holds one. Should an announcement be
// lost, or the stream be away, the unfinished jobs on the page are asked for from time to time.

let stream = null;
let streaming = false;

function tell(name) {
  htmx.trigger(document.body, name);
}

function waiting() {
  return document.querySelector("[data-live], [data-unfinished]") !== null;
}

function heard(event) {
  const { job } = JSON.parse(event.data);
  tell(document.querySelector(`[data-job="${job}"]`) ? `job-${job}` : "job-unknown");
  tell("job-any");
}

function listen() {
  const address = document.body.dataset.stream;
  const wanted = Boolean(address) && document.visibilityState === "visible" && waiting();
  if (wanted && !stream) {
    stream = new EventSource(address);
    stream.addEventListener("open", (event) => {
      streaming = true;
      showLive();
      if (event.data) askAgain(); // the server listens now: what has changed since the page was made was told to nobody
    });
    stream.addEventListener("job", heard);
    stream.addEventListener("away", () => { streaming = false; showLive(); });
    stream.addEventListener("error", () => {
      streaming = false;
      if (stream?.readyState === EventSource.CLOSED) { stream = null; }
      showLive();
    });
  } else if (!wanted && stream) {
    stream.close();
    stream = null;
    streaming = false;
    showLive();
  }
}

function showLive() {
  const place = document.getElementById("live");
  if (place) place.textContent = streaming ? "Live." : "";
}

function askAgain() {
  for (const inside of document.querySelectorAll("[data-unfinished]")) {
    const holder = inside.closest("[data-job]");
    if (holder) tell(`job-${holder.dataset.job}`);
  }
}

let beats = 0;
setInterval(() => {
  listen();
  beats += 1;
  if (document.visibilityState === "visible" && !(streaming && beats % 5)) askAgain();
}, 2000);
document.addEventListener("visibilitychange", listen);
addEventListener("pagehide", () => { stream?.close(); stream = null; });
addEventListener("pageshow", listen);

// --- What HTMX brings ---

let unfocused = false; // whether what is swapped holds the focus

document.addEventListener("htmx:beforeSwap", (event) => {
  unfocused ||= event.detail.target?.contains(document.activeElement) && document.activeElement !== document.body;
});
document.addEventListener("htmx:afterSettle", (event) => {
  listen();
  endOffers();
  const { target, elt } = event.detail;
  const there = target?.isConnected ? target : (document.getElementById(target?.id) ?? elt);
  there.querySelector?.(".wrong input:not([type='hidden']), .wrong textarea, [aria-invalid='true']")?.focus();
  if (unfocused && document.activeElement === document.body) {
    if (there.tabIndex < 0) there.tabIndex = -1;
    there.focus({ preventScroll: true });
  }
  unfocused = false;
});

// What a dialog asked for has begun, and is shown beside what it is about.
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful && event.detail.elt.matches?.("form")) event.detail.elt.closest("dialog[popover]")?.hidePopover();
});

let toastTimer = 0;
function toast(text) {
  const place = document.getElementById("toast");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { place.hidden = true; }, 8000);
}
window.chronosToast = toast;

document.addEventListener("htmx:sendError", () => toast("Chronos did not answer. Is it still running? What you see is from before."));
document.addEventListener("htmx:timeout", () => toast("Chronos took too long to answer. What you see is from before."));
document.addEventListener("htmx:responseError", (event) => {
  const status = event.detail.xhr.status;
  if (status === 403) toast("That was not allowed, or the page was open for too long: load it again.");
  else if (status === 404) toast("It is not there any more. Load the page again.");
  else toast(`Something broke (${status}); nothing has changed.`);
});

// A sign-in page must fill the window, not a part of it.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (new URL(event.detail.xhr.responseURL || location.href).pathname === "/sign-in/") {
    event.preventDefault();
    location.reload();
  }
});

listen();

// --- Menus: a click elsewhere or Escape closes them ---

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
