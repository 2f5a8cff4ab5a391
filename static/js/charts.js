// Charts are islands: each `.chart[data-figure]` asks for a Plotly figure at its own width and is drawn in the colours of
// the page's theme. Plotly itself is loaded when the first of them is there.
//
// Plotly and the Content-Security-Policy (style-src 'self', script-src 'self'), as found in Chromium with plotly.js 4.1:
// - On loading it writes a <style id="plotly.js-style-global"> by script, which the policy refuses. If it finds an element
//   of that id with the class "no-inline-styles" it leaves styles alone: the page's <link> to charts.css is that element.
// - The mode bar would write a second sheet per chart; it is off, the page has its own buttons.
// - Some SVG text gets a style *attribute* by setAttribute, which the policy refuses as well (the CSSOM is allowed). See
//   `allowStyles`.
// - The bundle's one `new Function` belongs to WebGL traces, which are not used.
"use strict";

const PLOTLY = document.currentScript.dataset.plotly;
const QUIET = { displayModeBar: false, displaylogo: false, responsive: true, scrollZoom: false, doubleClick: "reset" };
let loading = null;

function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = PLOTLY;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("Plotly could not be loaded."));
    document.head.append(script);
  });
  return loading;
}

// Plotly's d3 sets whole style attributes: `setAttribute("style", …)` is inline style to the policy, the same
// declarations through the CSSOM are not.
function allowStyles() {
  const plain = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function setAttribute(name, value) {
    if (name === "style" && this.style) this.style.cssText = value;
    else plain.call(this, name, value);
  };
}
allowStyles();

// The map library inside the bundle writes its style sheet too, unless an element of this id is there already. Maps are
// not drawn here. (The id is a hash of that sheet: should an update change it, the browser tests name the violation.)
const noMaps = document.createElement("meta");
noMaps.id = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";
document.head.append(noMaps);

// --- Colours: "--gain" in a figure is a token of the style sheet; Plotly reads no oklch(), so a pixel is painted and read ---

const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const probe = document.createElement("i");

function colour(token) {
  if (!probe.isConnected) { probe.hidden = true; document.body.append(probe); }
  probe.style.color = `var(${token})`;
  brush.clearRect(0, 0, 1, 1);
  brush.fillStyle = getComputedStyle(probe).color;
  brush.fillRect(0, 0, 1, 1);
  const [red, green, blue] = brush.getImageData(0, 0, 1, 1).data;
  return `rgb(${red},${green},${blue})`;
}

function themed(value, known = new Map()) {
  if (typeof value === "string" && value.startsWith("--")) {
    if (!known.has(value)) known.set(value, colour(value));
    return known.get(value);
  }
  if (Array.isArray(value)) return value.map((one) => themed(one, known));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, themed(one, known)]));
  }
  return value;
}

// --- The time axis: bars stand side by side, closed markets take no room, so its labels are chosen here ---

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function part(time, unit) {
  const date = new Date(time * 1000);
  if (unit === "year") return date.getUTCFullYear();
  if (unit === "quarter") return date.getUTCFullYear() * 4 + Math.floor(date.getUTCMonth() / 3);
  if (unit === "month") return date.getUTCFullYear() * 12 + date.getUTCMonth();
  if (unit === "week") return Math.floor((time / 86400 + 3) / 7);
  if (unit === "day") return Math.floor(time / 86400);
  return Math.floor(time / unit);
}

function named(time, unit, before) {
  const date = new Date(time * 1000);
  const year = date.getUTCFullYear();
  const month = MONTHS[date.getUTCMonth()];
  const newYear = before === null || new Date(before * 1000).getUTCFullYear() !== year;
  if (unit === "year") return String(year);
  if (unit === "quarter" || unit === "month") return newYear ? `${month}<br>${year}` : month;
  if (unit === "week" || unit === "day") return newYear ? `${date.getUTCDate()} ${month}<br>${year}` : `${date.getUTCDate()} ${month}`;
  const newDay = before === null || part(before, "day") !== part(time, "day");
  const clock = date.toISOString().slice(11, 16);
  return newDay ? `${clock}<br>${date.getUTCDate()} ${month}` : clock;
}

// `places`: where on the axis each time stands, if that is not its own number.
function ticks(times, from, to, room, places = null) {
  let first = Math.max(0, Math.ceil(from));
  let last = Math.min(times.length - 1, Math.floor(to));
  if (places) {
    first = Math.max(0, places.findIndex((place) => place >= from));
    last = places.findLastIndex((place) => place <= to);
  }
  for (const unit of [300, 900, 1800, 3600, 7200, 14400, "day", "week", "month", "quarter", "year"]) {
    const found = [];
    for (let n = first; n <= last; n += 1) {
      if (n > 0 && part(times[n], unit) !== part(times[n - 1], unit)) found.push(n);
    }
    if (found.length > Math.max(2, room) && unit !== "year") continue;
    const step = Math.ceil(found.length / Math.max(2, room));
    const kept = found.filter((_, place) => place % step === 0);
    return { tickvals: places ? kept.map((n) => places[n]) : kept, ticktext: kept.map((n, place) => named(times[n], unit, place ? times[kept[place - 1]] : null)) };
  }
  return { tickvals: [], ticktext: [] };
}

function labelTicks(holder) {
  const { meta } = holder.figure;
  if (!meta.times) return;
  const range = holder._fullLayout.xaxis.range;
  const room = Math.floor(holder.clientWidth / 58);
  const wanted = ticks(meta.times, range[0], range[1], room, meta.x);
  const text = wanted.tickvals.join();
  if (text === holder.dataset.ticks) return;
  holder.dataset.ticks = text;
  window.Plotly.relayout(holder, { "xaxis.tickmode": "array", "xaxis.tickvals": wanted.tickvals, "xaxis.ticktext": wanted.ticktext });
}

// --- Reading a bar ---

const NAMES = ["O", "H", "L", "C", "", "Vol"];
const KINDS = { f8: Float64Array, f4: Float32Array, u4: Uint32Array };

// Numbers as they come in a figure, base64 or a list.
function unpacked(values) {
  if (!values?.bdata) return values;
  return new KINDS[values.dtype](Uint8Array.from(atob(values.bdata), (letter) => letter.charCodeAt(0)).buffer);
}

function written(value, percent) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const places = percent || size < 10_000 ? 2 : 0;
  const text = size.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places }).replaceAll(",", "\u202f");
  const sign = value < 0 ? "\u2212" : percent && Number(size.toFixed(2)) ? "+" : "";
  return percent ? `${sign}${text} %` : sign + text;
}

// Of lines over one axis: the value of each, beside its colour.
function readLines(holder, line, place) {
  const { meta, lines } = holder.figure;
  const date = new Date(meta.times[place] * 1000);
  const day = `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
  const at = document.createElement("span");
  at.className = "at";
  at.textContent = meta.daily ? day : `${day} ${date.toISOString().slice(11, 16)}`;
  const cells = lines.map(({ name, values, hue, percent, factor }) => {
    const cell = document.createElement("span");
    const label = document.createElement("b");
    label.textContent = name;
    if (hue) label.className = hue;
    cell.append(label, written(factor ? (values[place] - 1) * 100 : values[place], percent));
    return cell;
  });
  line.replaceChildren(at, ...cells);
}

function readOut(holder, place) {
  const line = holder.closest("section")?.querySelector(".readout");
  const { meta } = holder.figure;
  if (!line) return;
  if (holder.figure.lines) readLines(holder, line, place);
  if (!meta.readouts?.[place]) return;
  const cells = meta.readouts[place].map((text, n) => {
    const cell = document.createElement("span");
    if (NAMES[n]) {
      const name = document.createElement("b");
      name.textContent = NAMES[n];
      cell.append(name);
    }
    cell.append(n === 4 ? (text === "–" ? "" : `${text} %`) : text);
    if (n === 4) cell.className = text.startsWith("+") ? "gain" : text.startsWith("−") ? "loss" : "flat";
    return cell;
  });
  const at = document.createElement("span");
  at.className = "at";
  at.textContent = meta.labels[place];
  line.replaceChildren(at, ...cells);
}

// --- Drawing ---

function unpackLines(figure) {
  const { meta } = figure;
  meta.x = Array.from(unpacked(meta.x));
  meta.times = Array.from(unpacked(meta.times));
  figure.lines = figure.data.map(({ name, y, yaxis, line }) => ({
    name, values: unpacked(y), hue: line.color.startsWith("--hue") ? line.color.slice(2) : "loss", percent: yaxis === "y2" || meta.percent,
    factor: yaxis !== "y2" && meta.factor,
  }));
  figure.lines.sort((one, other) => meta.legend.indexOf(one.name) - meta.legend.indexOf(other.name));
}

// Which bar a pointer is over: of candles the bar itself, whatever else is drawn on it.
function pointed(event) {
  const found = event.points.find((point) => point.data.type === "candlestick") ?? event.points[0];
  return found.data.customdata ? -1 : found.pointNumber;
}

async function draw(holder) {
  holder.classList.add("waiting");
  try {
    const width = Math.round(holder.clientWidth);
    const [Plotly, answer] = await Promise.all([plotly(), fetch(`${holder.dataset.figure}&width=${width}`)]);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const figure = await answer.json();
    if (!holder.isConnected) return;
    holder.figure = figure;
    if (figure.meta.x) unpackLines(figure);
    holder.drawnFor = width;
    await paint(holder, Plotly);
    readOut(holder, figure.meta.bars - 1);
    const each = holder.closest("section").querySelector("[data-each]");
    if (each) each.textContent = [figure.meta.joined && `Each bar is ${figure.meta.each}.`, figure.meta.note].filter(Boolean).join(" ");
  } catch (error) {
    const note = document.createElement("p");
    note.className = "empty";
    note.textContent = `The chart could not be drawn (${error.message}). Its data are in the table below; loading the page again may help.`;
    holder.replaceChildren(note);
  } finally {
    holder.classList.remove("waiting");
  }
}

async function paint(holder, Plotly) {
  const { data, layout } = themed({ data: holder.figure.data, layout: holder.figure.layout });
  layout.font.family = getComputedStyle(document.body).fontFamily;
  layout.autosize = true;
  delete holder.dataset.ticks;
  const fresh = !holder._fullLayout;
  await Plotly.react(holder, data, layout, QUIET);
  labelTicks(holder);
  if (!fresh) return;
  holder.on("plotly_hover", (event) => readOut(holder, pointed(event)));
  holder.on("plotly_click", (event) => {
    const detail = event.points.find((point) => point.customdata !== undefined);
    if (detail) holder.dispatchEvent(new CustomEvent("chronos:pressed", { bubbles: true, detail }));
  });
  holder.on("plotly_unhover", () => readOut(holder, holder.figure.meta.bars - 1));
  holder.on("plotly_relayout", (change) => {
    if (Object.keys(change).some((name) => name.startsWith("xaxis.range") || name === "xaxis.autorange")) labelTicks(holder);
  });
}

function drawAll(within = document) {
  for (const holder of within.querySelectorAll(".chart[data-figure]")) if (!holder.figure) draw(holder);
}

document.addEventListener("chronos:theme", () => {
  for (const holder of document.querySelectorAll(".chart[data-figure]")) if (holder.figure) paint(holder, window.Plotly);
});
document.addEventListener("htmx:beforeSwap", () => {
  for (const holder of document.querySelectorAll(".chart.js-plotly-plot")) if (!document.body.contains(holder)) window.Plotly.purge(holder);
});
document.addEventListener("htmx:afterSwap", () => drawAll());

// A chart much wider or narrower than it was drawn for deserves other bars.
let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => {
    for (const holder of document.querySelectorAll(".chart[data-figure]")) {
      if (!holder.figure) continue;
      const ratio = holder.clientWidth / holder.drawnFor;
      if (ratio > 1.4 || ratio < 0.7) draw(holder);
      else labelTicks(holder);
    }
  }, 250);
});

// On paper it is always light, and a chart as wide as the sheet: drawings get a view box, and the style sheet their size.
let shownIn = null;
addEventListener("beforeprint", () => {
  shownIn = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  document.dispatchEvent(new Event("chronos:theme"));
  for (const svg of document.querySelectorAll(".chart .main-svg")) svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
});
addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = shownIn;
  for (const svg of document.querySelectorAll(".chart .main-svg")) svg.removeAttribute("viewBox");
  document.dispatchEvent(new Event("chronos:theme"));
});

document.addEventListener("click", (event) => {
  if (!event.target.closest?.("[data-png]")) return;
  const holder = event.target.closest("section").querySelector(".chart");
  if (!holder?.figure) return;
  const background = colour("--surface");
  const picture = { data: holder.data, layout: { ...holder.layout, paper_bgcolor: background, plot_bgcolor: background }, config: QUIET };
  window.Plotly.downloadImage(picture, {
    format: "png", scale: 2, width: holder.clientWidth, height: holder.clientHeight, filename: holder.dataset.name.replaceAll(" ", "_"),
  }).catch(() => window.chronosToast?.("The picture could not be made."));
});

drawAll();
