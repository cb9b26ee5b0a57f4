// Downloads.
const save = (name, type, text) => {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
// RFC 4180: CRLF between records; quotes around fields that hold a comma, quote or line break.
// A text that a spreadsheet would take for a formula is given an apostrophe.
const field = (value) => {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? "'" + value : value;
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
};
const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isTable = (value) => Array.isArray(value) && value.some(isRecord);
// A record as one line: what is inside another record gets a dotted name.
const flat = (record, prefix = "") => {
  const line = {};
  for (const [key, value] of Object.entries(record))
    if (isRecord(value)) Object.assign(line, flat(value, prefix + key + "."));
    else if (Array.isArray(value))
      line[prefix + key] = isTable(value) ? JSON.stringify(value) : value.join(" ");
    else line[prefix + key] = value;
  return line;
};
// A record with one list of records makes a line for each of these.
const unfold = (record) => {
  const inside = Object.keys(record).filter((key) => isTable(record[key]));
  if (inside.length !== 1) return [flat(record)];
  const { [inside[0]]: inner, ...outer } = record;
  return inner.map((child) => ({ ...flat(outer), ...flat(child, inside[0] + ".") }));
};
const tableCsv = (records) => {
  const lines = records.flatMap(unfold);
  const names = [...new Set(lines.flatMap(Object.keys))];
  const rows = lines.map((line) => names.map((name) => field(line[name])).join(","));
  return [names.map(field).join(","), ...rows, ""].join("\r\n");
};
const csv = () => {
  const names = ["id", "source", "group", "region", "label", "weak_label", "weak_correct"]
    .concat(["confidence", "alignment", "trust"])
    .filter((name) => points[name]);
  const cell = (name, i) => (points[name].codes ? coded(name, i) : points[name][i]);
  const lines = points.id.map((_, i) => names.map((name) => field(cell(name, i))).join(","));
  return [names.join(","), ...lines, ""].join("\r\n");
};
document.getElementById("download-scores")?.addEventListener("click", () => {
  save("scores.csv", "text/csv", csv());
});
document.getElementById("download-summary").addEventListener("click", async () => {
  const summary = JSON.stringify(await read("data-summary"), null, 2);
  save("summary.json", "application/json", summary + "\n");
});
for (const button of document.querySelectorAll("[data-table]"))
  button.addEventListener("click", async () => {
    const path = button.dataset.table;
    const records = path.split(".").reduce((value, key) => value[key], await read("data-summary"));
    save(path.replaceAll(".", "-") + ".csv", "text/csv", tableCsv(records));
  });
