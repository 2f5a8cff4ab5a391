// What every page must be, found out in the page itself; answers with the faults as sentences.
// Links within a sentence may be as low as their line (WCAG 2.2, target size); so may what Plotly draws.
([targets, ours]) => {
  const faults = [];
  const root = document.documentElement;
  const told = (element) => element.outerHTML.slice(0, 90).replaceAll("\n", " ");
  const shown = (element) => element.checkVisibility({ checkVisibilityCSS: true }) && element.getClientRects().length > 0;
  const passedOver = (element) =>
    !shown(element) ||
    element.closest(".js-plotly-plot, .visually-hidden, .select2-container") ||
    element.matches(".visually-hidden, .skip, .skip-to-content-link, .select2-hidden-accessible");

  if (root.scrollWidth > root.clientWidth) {
    const wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1);
    faults.push(`scrolls sideways: ${wide.slice(0, 3).map((e) => `${e.tagName}.${e.className}`).join(", ")}`);
  }
  const heads = document.querySelectorAll("h1").length;
  if (heads !== 1) faults.push(`${heads} h1`);
  if (!document.title.includes("Chronos")) faults.push(`title: ${document.title}`);
  if (!root.lang) faults.push("no language");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const twice = ids.filter((id, place) => ids.indexOf(id) !== place);
  if (twice.length) faults.push(`ids used twice: ${twice}`);

  for (const element of document.querySelectorAll(targets)) {
    if (passedOver(element)) continue;
    const box = (element.closest("label") ?? element).getBoundingClientRect();
    const inText = element.matches("p a, dd a, li.error a") && getComputedStyle(element).display === "inline";
    if (!inText && (box.width < 23.9 || box.height < 23.9)) {
      faults.push(`small: ${told(element)} ${Math.round(box.width)}x${Math.round(box.height)}`);
    }
    const labels = [...(element.labels ?? [])].map((label) => label.textContent).join("");
    const name = element.getAttribute("aria-label") || element.getAttribute("title") || element.textContent || labels;
    if (ours && !(name || element.value).trim()) faults.push(`nameless: ${told(element)}`);
    const field = element.matches("input:not([type=submit]), select, textarea");
    if (ours && field && !labels && !element.getAttribute("aria-label")) faults.push(`unlabelled: ${told(element)}`);
  }
  return faults;
}
