// Figures.
const CONFIG = { displayModeBar: false, displaylogo: false, responsive: true, showLink: false };
const areas = [...document.querySelectorAll("[data-figure]")];
// A colour or font written as "--name" means the CSS variable of that name, now.
const themed = (value, meaning) => {
  if (typeof value === "string" && value.startsWith("--")) return meaning(value);
  if (Array.isArray(value))
    return typeof value[0] === "object" ? value.map((v) => themed(v, meaning)) : value;
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, meaning)]));
  return value;
};
// `width` is given for paper, which is white whatever the reader's theme.
const draw = (area, width) => {
  const style = getComputedStyle(document.documentElement);
  const meaning = (name) =>
    (width && light[name.slice(2)]) || style.getPropertyValue(name).trim();
  const isMap = area.dataset.figure === "map";
  const spec = themed(isMap ? mapSpec(meaning) : figures[area.dataset.figure], meaning);
  if (width) spec.layout.width = width;
  Plotly.react(area, spec.data, spec.layout, CONFIG);
  if (isMap && !area.dataset.drawn) area.on("plotly_afterplot", paintMap);
  if (isMap) paintMap();
  area.dataset.drawn = "yes";
};
const redraw = () => areas.filter((a) => a.dataset.drawn).forEach((a) => draw(a));
media.addEventListener("change", redraw);

// A figure is drawn when it comes near the screen, so that the text is there at once.
const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries)
      if (entry.isIntersecting) {
        near.unobserve(entry.target);
        draw(entry.target);
      }
  },
  { rootMargin: "400px" },
);

// The page's security policy knows the text of plotly.js that comes out.
const loadPlotly = async () => {
  const script = document.createElement("script");
  script.textContent = await unpacked("data-plotly");
  document.head.append(script);
};
const ready = document.getElementById("data-plotly") ? loadPlotly() : Promise.resolve();
ready.then(() => areas.forEach((area) => near.observe(area)));

// Paper is narrower than the screen, and nothing on it can be opened: it shows what is folded, but
// for what is of no use there.
const PAPER_WIDTH = { pair: 320, full: 660 };
let unfolded = [];
window.addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open], .screen)")];
  for (const part of unfolded) part.open = true;
  if (!window.Plotly) return;
  areas.forEach((a) => draw(a, a.closest(".pair") ? PAPER_WIDTH.pair : PAPER_WIDTH.full));
});
window.addEventListener("afterprint", () => {
  for (const part of unfolded) part.open = false;
  redraw();
});
