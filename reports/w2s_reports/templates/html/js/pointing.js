// A card for the map's point under the pointer, the finger or the arrow keys.
const hovercard = document.getElementById("hovercard");
const ring = element("i", "ring");
const hideCard = () => {
  hovercard.hidden = true;
  ring.remove();
};
// `at` is a point as it was painted.
const showCard = (at) => {
  ring.style.left = at.x + "px";
  ring.style.top = at.y + "px";
  map.area.append(ring);
  hovercard.replaceChildren(card(at.i));
  hovercard.hidden = false;
  const { width, height } = hovercard.getBoundingClientRect();
  const { left, top } = map.area.getBoundingClientRect();
  const [x, y, gap, edge] = [left + at.x, top + at.y, 16, 8];
  const room = document.documentElement.clientWidth - width - edge;
  const beside = x + gap > room ? x - gap - width : x + gap;
  const below = y + gap + height > window.innerHeight - edge;
  hovercard.style.left = Math.max(edge, Math.min(room, beside)) + "px";
  hovercard.style.top = Math.max(edge, y + (below ? -gap - height : gap)) + "px";
};
window.addEventListener("scroll", hideCard, { passive: true });
window.addEventListener("keydown", (event) => event.key === "Escape" && hideCard());

const least = (candidates, cost, limit = Infinity) => {
  let best = null;
  for (const candidate of candidates) {
    const price = cost(candidate);
    if (price < limit) [best, limit] = [candidate, price];
  }
  return best;
};
const [MOUSE, FINGER] = [12, 28]; // pixels within which a point is meant
const pointAt = (event, reach) => {
  const { left, top } = map.area.getBoundingClientRect();
  const [x, y] = [event.clientX - left, event.clientY - top];
  return least(map.shown, (at) => Math.hypot(at.x - x, at.y - y), reach);
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
// The nearest point in a direction on the screen; sideways costs double.
const nextPoint = (from, [dx, dy]) =>
  least(map.shown, (at) => {
    const [x, y] = [at.x - from.x, at.y - from.y];
    const [ahead, aside] = [x * dx + y * dy, Math.abs(x * dy) + Math.abs(y * dx)];
    return ahead > 1 && aside <= ahead ? ahead + 2 * aside : Infinity;
  });
const pointOut = (at) => (at ? showCard(at) : hideCard());
if (map) {
  const { area } = map;
  let current = null;
  area.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") pointOut(pointAt(event, MOUSE));
  });
  area.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hideCard());
  area.addEventListener("click", (event) =>
    pointOut(pointAt(event, event.pointerType === "touch" ? FINGER : MOUSE)),
  );
  area.addEventListener("blur", hideCard);
  area.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const middle = { x: area.clientWidth / 2, y: area.clientHeight / 2 };
    current = nextPoint(map.shown.find((at) => at.i === current?.i) ?? middle, arrow) ?? current;
    if (current) showCard(current);
  });
}
