"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const points = read("data-points");
  const figures = read("data-figures");
  const light = read("data-light");
  const media = window.matchMedia("(prefers-color-scheme: dark)");

  // --- what a point says -------------------------------------------------------------------
  const coded = (column, i) => {
    const c = points[column];
    return c && c.codes[i] >= 0 ? c.levels[c.codes[i]] : null;
  };
  const describe = (i) => ({
    id: points.id[i],
    text: points.text ? points.text[i] : null,
    image: points.image ? points.image[i] : null,
    region: coded("region", i),
    wrong: points.weak_correct ? points.weak_correct[i] === 0 : false,
    facts: [
      ["label", coded("label", i)],
      ["weak label", coded("weak_label", i)],
      ["source", coded("source", i)],
      ["group", coded("group", i)],
      ["confidence", points.confidence[i] === null ? null : points.confidence[i].toFixed(3)],
      ["alignment", points.alignment[i] === null ? null : points.alignment[i].toFixed(3)],
    ].filter(([, value]) => value !== null),
  });
  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  // Everything from the data enters the page as text, never as markup.
  const card = (i) => {
    const point = describe(i);
    const made = document.getElementById("card-template").content.firstElementChild.cloneNode(true);
    const image = made.querySelector("img");
    if (point.image) {
      image.src = point.image;
      image.alt = "Item " + point.id;
      image.hidden = false;
    } else image.remove();
    const quote = made.querySelector(".quote");
    if (point.text || !point.image) quote.textContent = point.text || point.id;
    else quote.remove();
    const tags = made.querySelector(".tags");
    const region = element("span", "region");
    region.append(element("i", "swatch " + point.region), point.region);
    tags.append(region);
    for (const [name, value] of point.facts) {
      const wrong = name === "weak label" && point.wrong;
      const tag = element("span", wrong ? "wrong" : "");
      tag.append(name + " ", element("b", "", value), wrong ? " (wrong)" : "");
      tags.append(tag, " ");
    }
    return made;
  };

  // --- figures -----------------------------------------------------------------------------
  const CONFIG = { displayModeBar: false, displaylogo: false, responsive: true, showLink: false };
  const areas = [...document.querySelectorAll("[data-figure]")];
  const hidden = new Set();
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
    const spec = themed(figures[area.dataset.figure], meaning);
    for (const trace of spec.data) trace.visible = !hidden.has(trace.name);
    if (width) spec.layout.width = width;
    area.dataset.drawn = "yes";
    Plotly.react(area, spec.data, spec.layout, CONFIG);
    if (area.dataset.figure === "map" && !area.dataset.hover) {
      area.dataset.hover = "yes";
      area.on("plotly_hover", (event) => showCard(event.points[0].customdata, event.event));
      area.on("plotly_unhover", hideCard);
    }
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
  areas.forEach((area) => near.observe(area));

  // Paper is narrower than the screen.
  const PAPER_WIDTH = { pair: 320, full: 660 };
  window.addEventListener("beforeprint", () =>
    areas.forEach((a) => draw(a, a.closest(".pair") ? PAPER_WIDTH.pair : PAPER_WIDTH.full)),
  );
  window.addEventListener("afterprint", redraw);

  for (const chip of document.querySelectorAll(".chip"))
    chip.addEventListener("click", () => {
      const shown = chip.getAttribute("aria-pressed") === "true";
      chip.setAttribute("aria-pressed", String(!shown));
      hidden[shown ? "add" : "delete"](chip.dataset.region);
      areas.filter((a) => a.dataset.figure === "map").forEach((a) => draw(a));
    });

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

  // --- tables ------------------------------------------------------------------------------
  const collator = new Intl.Collator(undefined, { numeric: true });
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) =>
      head.firstElementChild.addEventListener("click", () => {
        const words = head.classList.contains("text");
        const now = head.getAttribute("aria-sort");
        const up = now ? now === "descending" : words;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const value = (row) => row.cells[column].dataset.value;
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [x, y] = [value(a), value(b)];
          if (x === "" || y === "") return (x === "") - (y === "");
          return (words ? collator.compare(x, y) : x - y) * (up ? 1 : -1);
        });
        table.tBodies[0].append(...rows);
      }),
    );
  }

  // --- search ------------------------------------------------------------------------------
  const SHOWN = 24;
  const search = document.getElementById("search");
  const results = document.getElementById("results");
  const telling = document.getElementById("telling");
  const status = document.getElementById("search-status");
  let haystack = null;
  const find = () => {
    const query = search.value.trim().toLowerCase();
    results.hidden = !query;
    telling.hidden = Boolean(query);
    status.textContent = "";
    if (!query) return results.replaceChildren();
    haystack ??= points.id.map((id, i) =>
      [id, points.text ? points.text[i] : "", coded("region", i), coded("label", i)]
        .concat([coded("weak_label", i), coded("source", i), coded("group", i)])
        .join("\u0000")
        .toLowerCase(),
    );
    const words = query.split(/\s+/);
    const found = [];
    haystack.forEach((hay, i) => words.every((word) => hay.includes(word)) && found.push(i));
    results.replaceChildren(...found.slice(0, SHOWN).map(card));
    const n = found.length.toLocaleString("en");
    status.textContent =
      (found.length === 1 ? "1 match" : n + " matches") +
      (found.length > SHOWN ? ", the first " + SHOWN + " shown" : "");
  };
  search.addEventListener("input", find);
  search.form.addEventListener("submit", (event) => event.preventDefault());

  // --- downloads ---------------------------------------------------------------------------
  const save = (name, type, text) => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  // RFC 4180: CRLF between records; quotes around fields that hold a comma, quote or line break.
  const field = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  const csv = () => {
    const names = ["id", "source", "group", "region", "label", "weak_label", "weak_correct"]
      .concat(["confidence", "alignment"])
      .filter((name) => points[name]);
    const cell = (name, i) => (points[name].codes ? coded(name, i) : points[name][i]);
    const lines = points.id.map((_, i) => names.map((name) => field(cell(name, i))).join(","));
    return [names.join(","), ...lines, ""].join("\r\n");
  };
  document.getElementById("download-scores").addEventListener("click", () => {
    save("scores.csv", "text/csv", csv());
  });
  document.getElementById("download-summary").addEventListener("click", () => {
    const summary = JSON.stringify(read("data-summary"), null, 2);
    save("summary.json", "application/json", summary + "\n");
  });
})();
