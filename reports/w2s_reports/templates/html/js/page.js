const read = (id) => JSON.parse(document.getElementById(id).textContent);
const points = read("data-points");
const figures = read("data-figures");
const light = read("data-light");
const media = window.matchMedia("(prefers-color-scheme: dark)");
