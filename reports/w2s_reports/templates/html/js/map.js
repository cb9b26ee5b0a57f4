// The map: where points lie and what their colour says are the reader's choice; the page holds each
// position and each category once. Plotly draws the frame; ten thousand points, which would take it
// seconds, are painted on a canvas over it.
const map = figures.map && {
  ...figures.map,
  area: areas.find((a) => a.dataset.figure === "map"),
  view: figures.map.views[0],
  colour: figures.map.colours[0],
  off: new Map(figures.map.colours.map((colour) => [colour.key, new Set()])),
  meaning: null, // of colour names, as the figure was last drawn
  shown: [], // painted points in pixels of the area: { x, y, i }
};
const GOLDEN = 0.6180339887498949;
const LEAST_HEIGHT = 340;
const HARD = points.region.levels.indexOf("hard-only");
// Shuffled without chance, so that no category covers another.
const paintOrder = points.id
  .map((_, i) => i)
  .sort((a, b) => ((a * GOLDEN) % 1) - ((b * GOLDEN) % 1));
// Index of the level that a point's colour stands for.
const slotOf = (colour, i) => {
  const column = points[colour.key];
  const code = column.codes ? column.codes[i] : (column[i] ?? -1);
  return code < 0 ? colour.missing : colour.slots[code];
};
// Where a point lies, and whether in the strip; null where the view has no place for it.
const positionOf = (view, i) => {
  if (view.key !== "plane") {
    const [x, y] = points[view.key];
    return x[i] === null ? null : [x[i], y[i], false];
  }
  const strip = points.region.codes[i] === HARD;
  return [points.confidence[i], strip ? (i * GOLDEN) % 1 : points.alignment[i], strip];
};
// The frame: axes want a trace each, and get an empty one.
const mapSpec = (meaning) => {
  map.meaning = meaning;
  // On a narrow screen a square wastes least.
  const height = Math.min(map.view.layout.height, Math.max(LEAST_HEIGHT, map.area.clientWidth));
  map.area.style.minHeight = height + "px";
  const axes = map.view.layout.yaxis2 ? ["y", "y2"] : ["y"];
  const data = axes.map((yaxis) => ({ type: "scatter", x: [null], y: [null], yaxis }));
  return { data, layout: { ...map.view.layout, height } };
};
const SHAPES = {
  circle: (c, x, y, r) => c.arc(x, y, r, 0, 2 * Math.PI),
  square: (c, x, y, r) => c.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r),
  diamond: (c, x, y, r) => polygon(c, x, y, 1.25 * r, [0, -1, 1, 0, 0, 1, -1, 0]),
  "triangle-up": (c, x, y, r) => polygon(c, x, y, 1.2 * r, [0, -1, 0.95, 0.7, -0.95, 0.7]),
  x: (c, x, y, r) => polygon(c, x, y, 1.15 * r, CROSS),
};
const CROSS = [-0.56, -1, 0, -0.44, 0.56, -1, 1, -0.56, 0.44, 0, 1, 0.56, 0.56, 1, 0, 0.44]
  .concat([-0.56, 1, -1, 0.56, -0.44, 0, -1, -0.56]);
const polygon = (c, x, y, r, corners) => {
  for (let k = 0; k < corners.length; k += 2)
    c[k ? "lineTo" : "moveTo"](x + r * corners[k], y + r * corners[k + 1]);
  c.closePath();
};
// A canvas of the area's size on top of the frame, cleared.
const freshCanvas = (area) => {
  const canvas = area.querySelector("canvas") ?? area.appendChild(element("canvas"));
  const scale = 2 * Math.ceil(window.devicePixelRatio / 2); // sharp in print, too
  const { width, height } = area._fullLayout;
  [canvas.width, canvas.height] = [scale * width, scale * height];
  [canvas.style.width, canvas.style.height] = [width + "px", height + "px"];
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return context;
};
const paintMap = () => {
  const { area, view, colour, marker, meaning } = map;
  const context = freshCanvas(area);
  const { xaxis, yaxis, yaxis2 } = area._fullLayout;
  const off = map.off.get(colour.key);
  const paints = colour.levels.map((level) => meaning("--" + level.token));
  map.shown = [];
  context.globalAlpha = marker.opacity;
  context.lineWidth = 1.25;
  for (const i of paintOrder) {
    const [at, slot] = [positionOf(view, i), slotOf(colour, i)];
    if (!at || off.has(slot)) continue;
    const vertical = at[2] ? yaxis2 : yaxis;
    const x = xaxis._offset + xaxis.d2p(at[0]);
    const y = vertical._offset + vertical.d2p(at[1]);
    map.shown.push({ x, y, i });
    const { symbol } = colour.levels[slot];
    context.beginPath();
    context.fillStyle = context.strokeStyle = paints[slot];
    SHAPES[symbol.replace("-open", "")](context, x, y, marker.size / 2);
    context[symbol.endsWith("-open") ? "stroke" : "fill"]();
  }
  area.dataset.shown = map.shown.length;
};
const redrawMap = () => {
  hideCard();
  const { view, colour, area } = map;
  area.setAttribute("aria-label", view.alt + " " + colour.alt);
  area.parentElement.querySelector("figcaption").textContent = view.caption;
  for (const legend of document.querySelectorAll("div.legend"))
    legend.hidden = legend.dataset.colour !== colour.key;
  draw(area);
};
for (const kind of ["view", "colour"])
  for (const radio of document.querySelectorAll(`input[name=map-${kind}]`))
    radio.addEventListener("change", () => {
      map[kind] = map[kind + "s"].find((option) => option.key === radio.value);
      redrawMap();
    });
for (const chip of document.querySelectorAll(".chip"))
  chip.addEventListener("click", () => {
    const shown = chip.getAttribute("aria-pressed") === "true";
    chip.setAttribute("aria-pressed", String(!shown));
    map.off.get(map.colour.key)[shown ? "add" : "delete"](Number(chip.dataset.slot));
    redrawMap();
  });
