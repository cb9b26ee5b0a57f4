// Search.
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
