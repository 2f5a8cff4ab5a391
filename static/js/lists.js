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
  }}
