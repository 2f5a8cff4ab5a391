// Passkeys, which no form can do by itself; copying; and forms that are sent once.
"use strict";

// --- Passkeys: a form marked data-passkey="create" or "get" is filled by the browser's answer, then sent ---

function bytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

function text(buffer) {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function question(kind, { publicKey: asked }) {
  const named = (list) => (list ?? []).map((key) => ({ ...key, id: bytes(key.id) }));
  const options = { ...asked, challenge: bytes(asked.challenge) };
  if (kind === "create") {
    return { ...options, user: { ...asked.user, id: bytes(asked.user.id) }, excludeCredentials: named(asked.excludeCredentials) };
  }
  return { ...options, allowCredentials: named(asked.allowCredentials) };
}

function answer(key) {
  const { response } = key;
  const said = { clientDataJSON: text(response.clientDataJSON) };
  if (response.attestationObject) {
    said.attestationObject = text(response.attestationObject);
    said.transports = response.getTransports?.() ?? [];
  } else {
    said.authenticatorData = text(response.authenticatorData);
    said.signature = text(response.signature);
    said.userHandle = response.userHandle && text(response.userHandle);
  }
  return {
    id: key.id,
    rawId: text(key.rawId),
    type: key.type,
    authenticatorAttachment: key.authenticatorAttachment,
    clientExtensionResults: key.getClientExtensionResults(),
    response: said,
  };
}

const REASONS = {
  NotAllowedError: "Nothing was chosen, or it took too long. Try again.",
  InvalidStateError: "This device has a passkey for you already.",
  SecurityError: "The browser does not allow passkeys at this address.",
  NotSupportedError: "This device can't make such a passkey.",
};

async function ask(form) {
  if (!navigator.credentials || !window.PublicKeyCredential) throw new Error("This browser has no passkeys.");
  let asked = form.dataset.question;
  if (!asked) {
    const came = await fetch(form.dataset.ask, { headers: { Accept: "application/json" } }).catch(() => null);
    const told = came?.ok && came.headers.get("Content-Type") === "application/json"; // who is signed in by now was sent home
    if (!told) throw new Error("Chronos did not answer. Load the page again.");
    asked = await came.text();
  }
  const kind = form.dataset.passkey;
  const key = await navigator.credentials[kind]({ publicKey: question(kind, JSON.parse(asked)) });
  form.elements.passkey.value = JSON.stringify(answer(key));
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-passkey]") || form.elements.passkey.value) return;
  event.preventDefault();
  if ("waiting" in form.dataset) return;
  const said = form.querySelector(".error[role='alert']");
  said.hidden = true;
  form.dataset.waiting = "";
  try {
    await ask(form);
    form.submit();
  } catch (error) {
    said.textContent = REASONS[error.name] ?? error.message;
    said.hidden = false;
  } finally {
    delete form.dataset.waiting;
  }
});

// --- The rest ---

document.querySelector(".wrong input, .door input[autocomplete='one-time-code']")?.focus();
document.querySelector(".sections [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });

document.addEventListener("click", async (event) => {
  const pressed = event.target.closest?.("[data-copy], [data-print]");
  if (!pressed) return;
  if (pressed.matches("[data-print]")) {
    print();
    return;
  }
  const place = document.getElementById(pressed.dataset.copy);
  const lines = [...place.querySelectorAll("li")].map((line) => line.textContent.trim());
  try {
    await navigator.clipboard.writeText(lines.length ? lines.join("\n") : place.textContent.trim());
    const before = pressed.textContent;
    pressed.textContent = "Copied";
    setTimeout(() => { pressed.textContent = before; }, 2000);
  } catch {
    getSelection().selectAllChildren(place);
    window.chronosToast("The browser does not let a page copy here. It is selected: copy it by hand.");
  }
});

// Pressed twice, a form would be sent twice: the second answer would hide what the first has shown.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-once]")) return;
  if ("sent" in form.dataset) event.preventDefault();
  form.dataset.sent = "";
});
addEventListener("pageshow", () => document.querySelectorAll("form[data-passkey]").forEach((form) => { form.elements.passkey.value = ""; })); // an answer is good once
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));
