// Downloads.
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
