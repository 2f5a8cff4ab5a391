// Texts with less than 4.5 to 1 against what is painted behind them. Colours are read off a canvas: they are oklch().
() => {
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  };
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  const behind = (element) => {
    for (let place = element; place; place = place.parentElement) {
      const colour = read(getComputedStyle(place).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return read(getComputedStyle(document.documentElement).backgroundColor);
  };
  const apart = "svg, .visually-hidden, noscript, :disabled, option, .skip, [popover]:not(:popover-open)";

  const faults = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim();
    const element = texts.currentNode.parentElement;
    const visible = element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
    if (!text || !visible || element.closest(apart)) continue;
    const [lighter, darker] = [read(getComputedStyle(element).color), behind(element)].map(luminance).sort((a, b) => b - a);
    const ratio = (lighter + 0.05) / (darker + 0.05);
    if (ratio < 4.5) faults.add(`contrast ${ratio.toFixed(2)}: ${element.tagName}.${element.className} "${text.slice(0, 30)}"`);
  }
  return [...faults];
}
