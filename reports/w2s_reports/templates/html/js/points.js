// What a point says.
const coded = (column, i) => {
  const c = points[column];
  return c && c.codes[i] >= 0 ? c.levels[c.codes[i]] : null;
};
const preferred = (i) =>
  points.weak_correct && points.weak_correct[i] !== null
    ? points.weak_correct[i]
      ? "chosen"
      : "rejected"
    : null;
const describe = (i) => ({
  id: points.id[i],
  text: points.text ? points.text[i] : null,
  rejected: points.rejected ? points.rejected[i] : null,
  image: points.image ? points.image[i] : null,
  region: coded("region", i),
  wrong: points.weak_correct ? points.weak_correct[i] === 0 : false,
  facts: [
    [points.weak_range ? "gold" : "label", points.rejected ? null : coded("label", i)],
    [points.weak_range ? "weak value" : "weak label", points.rejected ? preferred(i) : coded("weak_label", i)],
    ["should be", coded("should_be", i)],
    ["trust", points.trust && points.trust[i] !== null ? points.trust[i].toFixed(2) : null],
    ["source", coded("source", i)],
    [coded("group", i)?.startsWith("group ") ? "" : "group", coded("group", i)],
    [points.weak_range ? "confidence" : "margin", points.confidence[i] === null ? null : points.confidence[i].toFixed(3)],
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
  if (point.rejected !== null) {
    const other = quote.cloneNode();
    other.textContent = point.rejected;
    quote.before(element("p", "side", "chosen"));
    quote.after(element("p", "side", "rejected"), other);
  }
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
