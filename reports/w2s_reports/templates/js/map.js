// The map: where points lie and what their colour says are the reader's choice; the page holds
// each position and each category once.
const map = figures.map && {
  ...figures.map,
  area: areas.find((a) => a.dataset.figure === "map"),
  view: figures.map.views[0],
  colour: figures.map.colours[0],
  off: new Map(figures.map.colours.map((colour) => [colour.key, new Set()])),
};
const GOLDEN = 0.6180339887498949;
const HARD = points.region.levels.indexOf("hard-only");
// Index of the level that a point's colour stands for.
const slotOf = (colour, i) => {
  const column = points[colour.key];
  const code = column.codes ? column.codes[i] : (column[i] ?? -1);
  return code < 0 ? colour.missing : colour.slots[code];
};
// Position of a point: [x, y, whether it lies in the strip]; null where it has none.
const position = (view, i) => {
  if (view.key === "plane") {
    const strip = points.region.codes[i] === HARD;
    const y = strip ? (i * GOLDEN) % 1 : points.alignment[i];
    return [points.confidence[i], y, strip];
  }
  const [x, y] = points[view.key];
  return x[i] === null ? null : [x[i], y[i], false];
};
const mapSpec = () => {
  const { view, colour, marker } = map;
  const traces = colour.levels.flatMap((level, slot) =>
    [false, true].map((strip) => ({
      type: "scatter",
      mode: "markers",
      hoverinfo: "none",
      yaxis: strip ? "y2" : "y",
      visible: !map.off.get(colour.key).has(slot),
      marker: { ...marker, color: "--" + level.token, symbol: level.symbol },
      n: level.n,
      x: [],
      y: [],
      customdata: [],
    })),
  );
  points.id.forEach((_, i) => {
    const at = position(view, i);
    if (!at) return;
    const trace = traces[2 * slotOf(colour, i) + at[2]];
    trace.x.push(at[0]);
    trace.y.push(at[1]);
    trace.customdata.push(i);
  });
  // The largest first, so that the few lie on top.
  const data = traces.filter((trace) => trace.x.length).sort((a, b) => b.n - a.n);
  return { data, layout: structuredClone(view.layout) };
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

// A card for the point under the pointer, the finger or the arrow keys.
const hovercard = document.getElementById("hovercard");
const hideCard = () => (hovercard.hidden = true);
const showCard = (i, at) => {
  hovercard.replaceChildren(card(i));
  hovercard.hidden = false;
  const { width, height } = hovercard.getBoundingClientRect();
  const [gap, edge] = [16, 8];
  const room = document.documentElement.clientWidth - width - edge;
  const beside = at.clientX + gap > room ? at.clientX - gap - width : at.clientX + gap;
  const below = at.clientY + gap + height > window.innerHeight - edge;
  hovercard.style.left = Math.max(edge, Math.min(room, beside)) + "px";
  hovercard.style.top = Math.max(edge, at.clientY + (below ? -gap - height : gap)) + "px";
};
window.addEventListener("scroll", hideCard, { passive: true });
window.addEventListener("keydown", (event) => event.key === "Escape" && hideCard());

// Directions of the arrow keys on the screen.
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
// Shown points in pixels of the area: [x, y, point].
const placed = () =>
  map.area.data.flatMap((trace) => {
    if (!trace.visible) return [];
    const { xaxis, yaxis, yaxis2 } = map.area._fullLayout;
    const [h, v] = [xaxis, trace.yaxis === "y2" ? yaxis2 : yaxis];
    return trace.customdata.map((i, k) => [
      h._offset + h.l2p(trace.x[k]),
      v._offset + v.l2p(trace.y[k]),
      i,
    ]);
  });
// The nearest point in a direction; sideways costs double.
const nextPoint = (from, [dx, dy]) => {
  let [best, least] = [null, Infinity];
  for (const point of placed()) {
    const [x, y] = [point[0] - from[0], point[1] - from[1]];
    const [ahead, aside] = [x * dx + y * dy, Math.abs(x * dy) + Math.abs(y * dx)];
    const cost = ahead + 2 * aside;
    if (ahead > 1 && aside <= ahead && cost < least) [best, least] = [point, cost];
  }
  return best;
};
const listenToMap = (area) => {
  let at = null;
  const show = (event) => showCard(event.points[0].customdata, event.event);
  area.on("plotly_hover", show);
  area.on("plotly_click", show);
  area.on("plotly_unhover", hideCard);
  area.addEventListener("blur", hideCard);
  area.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const from = at ?? [area.clientWidth / 2, area.clientHeight / 2];
    at = nextPoint(from, arrow) ?? at;
    if (!at) return;
    const box = area.getBoundingClientRect();
    showCard(at[2], { clientX: box.left + at[0], clientY: box.top + at[1] });
  });
};
