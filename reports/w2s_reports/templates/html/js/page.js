// Everything large is packed, the drawing library above all: it would be nine tenths of the page.
const unpacked = (id) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
};
const read = async (id) => JSON.parse(await unpacked(id));
const [points, figures] = await Promise.all([read("data-points"), read("data-figures")]);
const light = JSON.parse(document.getElementById("data-light").textContent);
const media = window.matchMedia("(prefers-color-scheme: dark)");
