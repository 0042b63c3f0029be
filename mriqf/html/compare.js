const signed = (value, digits = 1) => (value > 0 ? "+" : "") + fixed(value, digits);
const percent = (value) => (value === null ? "–" : `${fixed(100 * value)} %`);
const gain = (v) => v.scores[1] - v.scores[0];
const called = ([index, time]) => (time === null ? `${index}` : `${index}, time ${time}`);
const [before, after] = data.labels;

function within([value, low, high], digits, unit) {
  const ends = low === null ? "" : ` [${signed(low, digits)} to ${signed(high, digits)}]`;
  return `${signed(value, digits)}${ends}${unit}`;
}

function table(head, body, titles, lines, choose) {
  $(head).append(...titles.map((text, k) => element("th", { scope: "col", textContent: text, className: k ? "" : "words" })));
  for (const [place, [first, ...rest]] of lines.entries()) {
    const button = element("button", { type: "button", textContent: first });
    const row = element("tr", {}, element("th", { scope: "row" }, button), ...rest.map((text) => element("td", { textContent: text })));
    row.addEventListener("click", () => choose(place, row));
    $(body).append(row);
  }
}

function mark(row) {
  for (const other of document.querySelectorAll("tbody tr")) other.classList.toggle("current", other === row);
}

function showVolume(place, row) {
  const v = data.volumes[place];
  const known = data.changed.map((c, k) => [c, k]).filter(([c]) => c.volume === place);
  const first = known.find(([c]) => c.pictures.length) ?? known[0];
  if (first) showSlice(first[1], row);
  else {
    mark(row);
    tell(v, `${v.slices.length} slices compared`, [], "none of its slices is among those that changed most");
  }
}

function showSlice(place, row) {
  const c = data.changed[place];
  const v = data.volumes[c.volume];
  const [index, time, first, second, ...errors] = v.slices[c.slice];
  mark(row);
  const found = [`slice ${called([index, time])}: score ${fixed(first)} → ${fixed(second)} (${signed(second - first)})`];
  if (errors.every((e) => e !== null)) found.push(`NRMSE to expect ${percent(errors[0])} → ${percent(errors[1])}`);
  tell(v, found.join("; "), c.pictures, c.pictures.length ? "" : "no pictures of this slice");
}

function tell(v, facts, pictures, amiss) {
  $("name").textContent = v.name;
  $("facts").textContent = [facts, v.note].filter(Boolean).join("; ");
  $("amiss").textContent = amiss;
  $("figure").hidden = !pictures.length;
  $("pair").replaceChildren(...pictures.map((picture, k) => {
    const layers = [element("img", { src: picture.image, alt: `${v.name}, ${data.labels[k]}` })];
    if (picture.map !== null) layers.push(element("img", { src: picture.map, alt: "", className: "map" }));
    return element("figure", {}, element("div", { className: "stack" }, ...layers), element("figcaption", { textContent: data.labels[k], title: v.inputs[k] }));
  }));
  $("legend").hidden = $("veil").hidden = !pictures.some((picture) => picture.map !== null);
}

// A line for each volume, from the first score to the second; a bad change is red.
function drawChanges() {
  const known = [...data.volumes].sort((a, b) => gain(a) - gain(b));
  const [width, height, left, foot] = [640, 200, 34, 34];
  const scores = known.flatMap((v) => v.scores);
  const low = Math.floor(Math.min(...scores) / 5) * 5;
  const high = Math.max(Math.ceil(Math.max(...scores) / 5) * 5, low + 5);
  const x = (k) => left + ((width - left - 10) * (k + 0.5)) / known.length;
  const y = (score) => height - foot - ((height - foot - 10) * (score - low)) / (high - low);
  const parts = known.map((v, k) => shape("g", {}, shape("title", {}, `${v.name}: ${fixed(v.scores[0])} → ${fixed(v.scores[1])}`),
    shape("line", { class: gain(v) < 0 ? "rug far" : "rug", x1: x(k), x2: x(k), y1: y(v.scores[0]), y2: y(v.scores[1]) }),
    shape("circle", { class: "mark", cx: x(k), cy: y(v.scores[1]), r: 3 })));
  parts.push(shape("line", { class: "axis", x1: left, x2: width - 10, y1: y(low), y2: y(low) }));
  for (const score of [low, high]) parts.push(shape("text", { x: left - 5, y: y(score) + 4, "text-anchor": "end" }, String(score)));
  parts.push(shape("text", { x: (left + width) / 2, y: height - 10, "text-anchor": "middle" }, `score of each volume, from ${before} to ${after} (dot), by change; red: lower than before`));
  $("histogram").replaceChildren(shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Scores of ${known.length} volumes, ${before} and ${after}` }, ...parts));
}

$("title").textContent = `Image quality: ${before} and ${after}`;
$("about").append(`${data.volumes.length} volume${data.volumes.length === 1 ? "" : "s"} in both, scored by ${data.weights}, ${data.unit && `unit ${data.unit}, `}pool ${data.pool}; mriqf ${data.version}.${data.tables.length ? " Tables: " : ""}`);
data.tables.forEach(({ name, href }, k) => $("about").append(k ? ", " : "", href === null ? name : element("a", { href, textContent: name })));
const [gained, all, slicesGained, slicesAll] = data.better;
$("verdict").textContent = `${after} scores ${within(data.change, 1, " points")} against ${before}, on average over volumes (median ${signed(data.median)}). ${gained} of ${all} volumes and ${slicesGained} of ${slicesAll} slices score higher.`;
if (data.nrmseChange) $("errors").textContent = `NRMSE to expect: ${within(data.nrmseChange.map((v) => (v === null ? null : 100 * v)), 2, " percentage points")}, over ${data.nrmseVolumes} volume${data.nrmseVolumes === 1 ? "" : "s"}.`;
$("rule").textContent = all < data.fewest
  ? `Fewer than ${data.fewest} volumes say nothing of others: the mean has no interval.`
  : `The interval is that of the mean, ${Math.round(100 * data.coverage)} %, when volumes are drawn with replacement: how other volumes of this kind would change on average. It knows nothing of the error of the scores themselves, and is too narrow if volumes of one person are in it twice.`;
$("unscored").hidden = data.apart.length === 0;
$("unscored-title").textContent = `Not compared: ${data.apart.length}`;
$("reasons").replaceChildren(...data.apart.map(({ name, reason }) => element("li", {}, element("strong", { textContent: name }), `: ${reason}`)));
$("bar").style.background = `linear-gradient(to right, ${data.colours.join(", ")})`;
const byChange = data.volumes.map((v, k) => [v, k]).sort(([a], [b]) => gain(a) - gain(b));
table("head", "rows", ["Volume", before, after, "Change", "NRMSE to expect", "Slices", "Remarks"], byChange.map(([v]) => [
  v.name, fixed(v.scores[0]), fixed(v.scores[1]), signed(gain(v)), v.nrmse ? `${percent(v.nrmse[0])} → ${percent(v.nrmse[1])}` : "–", `${v.slices.length}`, v.note,
]), (place, row) => showVolume(byChange[place][1], row));
table("changed-head", "changed", ["Volume", "Slice", before, after, "Change"], data.changed.map((c) => {
  const slice = data.volumes[c.volume].slices[c.slice];
  return [data.volumes[c.volume].name, called(slice), fixed(slice[2]), fixed(slice[3]), signed(slice[3] - slice[2])];
}), showSlice);
drawChanges();
const veil = () => document.documentElement.style.setProperty("--veil", $("opacity").value / 100);
$("opacity").addEventListener("input", veil);
veil();
showSlice(0, $("changed").firstChild);
