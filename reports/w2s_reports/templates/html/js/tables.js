// Tables.
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
// A table that is wider than its place becomes cards, a row each, in which cells name their columns.
const wideTables = [...document.querySelectorAll("main table:not(.heatmap)")];
for (const table of wideTables) {
  const titles = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
  for (const row of table.tBodies[0].rows)
    [...row.cells].forEach((cell, column) => (cell.dataset.title = titles[column]));
}
const fitTables = () => {
  for (const table of wideTables) {
    const place = table.parentElement;
    table.classList.remove("stacked");
    table.classList.toggle("stacked", place.scrollWidth > place.clientWidth + 1);
  }
};
new ResizeObserver(fitTables).observe(document.querySelector("main"));
document.addEventListener("toggle", fitTables, true);
