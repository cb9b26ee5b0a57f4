// The map: regions that can be hidden, and a card for the point under the pointer.
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
