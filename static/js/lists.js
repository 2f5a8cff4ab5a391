// A list is dropped or chosen: one that is too large is refused before it is sent.
"use strict";

{
  const form = document.querySelector(".bring");
  const file = form?.querySelector('input[type="file"]');
  const error = document.getElementById("import-error");

  const tooLarge = () => {
    const chosen = file.files[0];
    const large = Boolean(chosen) && chosen.size > Number(form.dataset.biggest);
    if (large) {
      error.textContent = `${chosen.name} has ${Math.ceil(chosen.size / 1048576)} MB; a list has at most ${form.dataset.biggest / 1048576} MB. Keep only the columns with symbols and dates, or cut it into several files.`;
      file.value = "";
    } else if (chosen) {
      error.textContent = "";
    }
    error.hidden = error.textContent === "";
    return large;
  };

  if (form) {
    file.addEventListener("change", tooLarge);
    form.addEventListener("submit", (event) => { if (tooLarge()) event.preventDefault(); });
    for (const name of ["dragenter", "dragover"]) {
      form.addEventListener(name, (event) => {
        if (!event.dataTransfer.types.includes("Files")) return;
        event.preventDefault();
        form.classList.add("over");
      });
    }
    form.addEventListener("dragleave", (event) => { if (!form.contains(event.relatedTarget)) form.classList.remove("over"); });
    form.addEventListener("drop", (event) => {
      form.classList.remove("over");
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      file.files = event.dataTransfer.files;
      if (!tooLarge() && !form.elements.text.value.trim()) form.requestSubmit();
    });
  }

  // While providers answer, the list comes anew: what is being written in it stays, and so does what is looked for.
  let written = [];

  document.addEventListener("htmx:configRequest", ({ detail }) => {
    if (detail.elt.id === "list" && detail.verb === "get") detail.path = location.pathname + location.search;
  });
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.target?.id !== "list") return;
    const fields = [...detail.target.querySelectorAll("li input[name='symbol']")];
    written = fields.filter((field) => field.value !== field.defaultValue).map((field) => [field.id, field.value]);
  });
  document.addEventListener("htmx:afterSettle", () => {
    for (const [id, value] of written) {
      const field = document.getElementById(id);
      if (field) field.value = value;
    }
    written = [];
  });
}
