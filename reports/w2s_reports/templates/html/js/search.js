// Search and filters: over the drawn points, or over what the chosen tab lists.
{
  const PAGE = 24;
  const search = document.getElementById("search");
  const filters = [...document.querySelectorAll("[data-filter]")];
  const status = document.getElementById("search-status");
  const pages = new Map(exampleTabs.map((tab) => [tab, 1]));
  // A search goes over all points, unless the reader chose a list to search in.
  const everything = exampleTabs.find((tab) => examplePanel(tab).id === "panel-telling");
  let chosen = false;
  const choose = (tab) => {
    chosen = true;
    chooseTab(tab);
  };
  const RIGHT = { right: 1, wrong: 0 };
  let haystack = null;
  const words = () => search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = () => filters.filter((filter) => filter.value);
  const holds = (text) => words().every((word) => text.includes(word));
  const many = (n, what) => n.toLocaleString("en") + " " + what;
  const pointFits = (i) =>
    wanted().every(({ value, dataset: { filter } }) =>
      filter === "weak" ? points.weak_correct[i] === RIGHT[value] : coded(filter, i) === value,
    ) && holds(haystack[i]);
  const cardFits = (card) =>
    wanted().every(({ value, dataset: { filter } }) => card.dataset[filter] === value);
  const entryFits = (entry) =>
    (entry.matches(".card") ? [entry] : [...entry.querySelectorAll(".card")]).some(cardFits) &&
    holds(entry.textContent.toLowerCase());
  // Points of a panel: those below its limit of trust, the least trusted first, or all of them.
  const pointsOf = ({ dataset: { below } }) => {
    const all = points.id.map((_, i) => i);
    if (!below) return all;
    const few = all.filter((i) => points.trust[i] !== null && points.trust[i] < below);
    return few.sort((a, b) => points.trust[a] - points.trust[b]);
  };
  const findPoints = (panel, more) => {
    haystack ??= points.id.map((id, i) =>
      [id, points.text?.[i], points.rejected?.[i], coded("region", i), coded("label", i)]
        .concat([coded("weak_label", i), coded("source", i), coded("group", i)])
        .join("\u0000")
        .toLowerCase(),
    );
    const found = pointsOf(panel).filter(pointFits);
    const limit = PAGE * pages.get(chosenTab());
    panel.querySelector(".found").replaceChildren(...found.slice(0, limit).map(card));
    more.hidden = found.length <= limit;
    status.textContent =
      (found.length === 1 ? "1 match" : many(found.length, "matches")) +
      (found.length > limit ? ", the first " + limit + " shown" : "");
  };
  const find = () => {
    const tab = chosenTab();
    const panel = examplePanel(tab);
    const more = panel.querySelector(".more");
    const place = panel.querySelector(".found");
    const asked = words().length + wanted().length > 0;
    status.textContent = "";
    if (place) {
      place.hidden = !asked;
      panel.querySelector(".listed").hidden = asked;
      if (asked) return findPoints(panel, more);
      place.replaceChildren();
    }
    if (!more) return;
    const { found, all } = showPages(panel, pages.get(tab), entryFits);
    if (asked)
      status.textContent = found + " of the " + all + " " + panel.dataset.what + " listed here match";
  };
  const ask = () => {
    if (!chosen) chooseTab(everything);
    for (const tab of exampleTabs) pages.set(tab, 1);
    find();
  };
  search.addEventListener("input", ask);
  filters.forEach((filter) => filter.addEventListener("change", ask));
  search.form.addEventListener("submit", (event) => event.preventDefault());
  for (const tab of exampleTabs) {
    tab.addEventListener("click", () => {
      choose(tab);
      find();
    });
    examplePanel(tab)
      .querySelector(".more")
      ?.addEventListener("click", () => {
        pages.set(tab, pages.get(tab) + 1);
        find();
      });
  }
  // The name of a group leads to its items.
  const byGroup = document.getElementById("filter-group");
  for (const link of document.querySelectorAll("[data-look]"))
    link.addEventListener("click", () => {
      byGroup.value = link.dataset.look;
      choose(document.getElementById("tab-grouped") ?? everything);
      ask();
    });
  exampleTabs[0].parentElement.hidden = false;
  chooseTab(exampleTabs[0]);
  find();
}
