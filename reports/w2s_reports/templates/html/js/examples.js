// Examples: tabs, and lists that show a page at a time.
const exampleTabs = [...document.querySelectorAll("#examples [role=tab]")];
const examplePanel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
const chosenTab = () => exampleTabs.find((tab) => tab.getAttribute("aria-selected") === "true");
const chooseTab = (tab) => {
  for (const other of exampleTabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    examplePanel(other).hidden = other !== tab;
  }
};
// Left and right, Home and End: the keys that a list of tabs is moved through with.
const TAB_STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
exampleTabs.forEach((tab, i) =>
  tab.addEventListener("keydown", (event) => {
    if (!(event.key in TAB_STEPS)) return;
    event.preventDefault();
    const wanted = i + TAB_STEPS[event.key];
    const next = Number.isFinite(wanted) ? (wanted + exampleTabs.length) % exampleTabs.length : null;
    exampleTabs[next ?? (wanted < 0 ? 0 : exampleTabs.length - 1)].click();
    chosenTab().focus();
  }),
);
// Of each list of a panel, the first entries that `fits` accepts; gives how many there are.
const showPages = (panel, pages, fits) => {
  let [found, folded, all] = [0, 0, 0];
  for (const list of panel.querySelectorAll("[data-page]")) {
    let shown = 0;
    for (const entry of list.children) {
      const fit = fits(entry);
      entry.hidden = !fit || shown >= pages * list.dataset.page;
      all += 1;
      found += fit;
      shown += !entry.hidden;
      folded += fit && entry.hidden;
    }
    const kind = list.closest(".kind");
    if (kind) kind.hidden = !shown;
  }
  panel.querySelector(".more").hidden = !folded;
  return { found, all };
};
