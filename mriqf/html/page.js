const calibrated = data.volumes.some((v) => v.inside[1] > 0);

// As on a terminal: per cent, with a decimal below 5 %.
function interval(nrmse) {
  if (!nrmse || nrmse[0] === null) return "–";
  const [value, low, high] = nrmse.map((x) => (100 * x).toFixed(nrmse[0] >= 0.05 ? 0 : 1));
  return `${value} % [${low}–${high}]`;
}

// A slice is a list: number, score, share of foreground, NRMSE and its interval, kind, time.
const worst = (v) => v.slices[v.worst];
const called = (s) => (s[7] === undefined ? `${s[0]}` : `${s[0]}, time ${s[7]}`);
const why = (s) => (s[6] && s[6] !== "ok" ? s[6] : "no foreground");

data.volumes.forEach((v, rank) => { v.rank = rank; });

// Ratings and comments by name of the volume, kept where the browser lets a page keep anything.
function recall(what) {
  try {
    return JSON.parse(localStorage.getItem(`mriqf ${what} ${data.id}`)) ?? {};
  } catch {
    return {}; // for as long as the page is open
  }
}

function keep(what, found) {
  try {
    localStorage.setItem(`mriqf ${what} ${data.id}`, JSON.stringify(found));
  } catch { /* as above */ }
}

const ratings = recall("ratings");
const comments = recall("comments");
const judged = (v) => v.name in ratings || v.name in comments;

const columns = [
  { title: "Volume", value: (v) => v.name },
  { title: "Remarks", value: (v) => v.rank, flags: true, initial: true },
  { title: "NRMSE to expect", value: (v) => v.nrmse && v.nrmse[0], text: (v) => interval(v.nrmse), only: calibrated },
  { title: "Score", value: (v) => v.score, text: (v) => fixed(v.score) },
  { title: "Rating", value: (v) => ratings[v.name] ?? null, text: (v) => ratings[v.name] ?? "–" },
  { title: "Deviation", value: (v) => v.away, text: (v) => fixed(v.away) },
  { title: "Slices", value: (v) => v.slices.length, text: (v) => (v.inside[0] < v.inside[1] ? `${v.inside[0]} of ${v.inside[1]}` : `${v.slices.length}`) },
  { title: "Worst slice", value: (v) => worst(v)[1], text: (v) => (worst(v)[1] === null ? "–" : `${fixed(worst(v)[1])} (${called(worst(v))})`) },
].filter((column) => column.only !== false);

const rows = new Map();
let current = null;
let order = { column: columns.find((column) => column.initial), sign: 1 };

// ---- table

function buildTable() {
  for (const column of columns) {
    const button = element("button", { type: "button", textContent: column.title });
    column.head = element("th", { scope: "col", className: column.flags || column === columns[0] ? "words" : "" }, button);
    button.addEventListener("click", () => {
      order = { column, sign: order.column === column ? -order.sign : 1 };
      arrange();
    });
    $("head").append(column.head);
  }
  for (const v of data.volumes) {
    const button = element("button", { type: "button", textContent: v.name });
    const row = element("tr", {}, element("th", { scope: "row" }, button));
    const cells = columns.slice(1).map((column) => (column.flags ? flags(v) : element("td", { textContent: column.text ? column.text(v) : column.value(v) })));
    row.append(...cells);
    row.addEventListener("click", () => show(v));
    rows.set(v, { row, button, rating: cells[columns.findIndex((column) => column.title === "Rating") - 1] });
  }
}

function flags(v) {
  return element("td", { className: "words" }, ...v.flags.map((flag) => element("span", { className: flag.includes("below the cut-off") ? "flag below" : "flag", textContent: flag, title: flag === "note" ? v.note : "" })));
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === null) return 1; // what is not known comes last, whichever the direction
  if (b === null) return -1;
  return order.sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
}

function passes(v) {
  const limit = $("most").value === "" ? Infinity : Number($("most").value);
  const text = $("text").value.trim().toLowerCase();
  return v.name.toLowerCase().includes(text) && (limit === Infinity || (v.score !== null && v.score <= limit)) && (!$("flagged").checked || v.flags.length > 0);
}

function arrange() {
  const key = order.column.value;
  const shown = data.volumes.filter(passes).sort((a, b) => compare(key(a), key(b)) || a.rank - b.rank);
  $("rows").replaceChildren(...shown.map((v) => rows.get(v).row));
  for (const column of columns) {
    if (column === order.column) column.head.setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
    else column.head.removeAttribute("aria-sort");
  }
  $("shown").textContent = `${shown.length} of ${data.volumes.length} volumes`;
}

// ---- one volume

function show(v) {
  if (current) {
    rows.get(current).row.classList.remove("current");
    rows.get(current).button.removeAttribute("aria-current");
  }
  current = v;
  rows.get(v).row.classList.add("current");
  rows.get(v).button.setAttribute("aria-current", "true");
  $("name").textContent = v.name;
  const facts = [];
  const [inside, all] = v.inside;
  if (v.nrmse) facts.push(`NRMSE to expect ${interval(v.nrmse)}${inside < all ? ` over the ${inside} of a known kind` : ""}`);
  const count = `${v.slices.length} slice${v.slices.length === 1 ? "" : "s"}`;
  facts.push(v.score === null ? count : `score ${fixed(v.score, 2)} over ${count}`);
  if (v.flags.length) facts.push(v.flags.filter((flag) => flag !== "note").join(", "));
  if (v.resolved) facts.push(`resolved ${v.resolved}`);
  if (v.note) facts.push(v.note);
  $("facts").textContent = facts.filter(Boolean).join("; ");
  const links = [["file", v.href], ["quality map", v.map]].filter((link) => link[1] !== null);
  $("links").replaceChildren(...links.flatMap(([text, href], k) => [k ? " · " : "", element("a", { href, textContent: text })]));
  $("amiss").textContent = v.amiss;
  $("figure").hidden = v.pictures.length === 0;
  $("mosaic-button").hidden = $("slice").parentElement.hidden = v.pictures.length < 2;
  if (v.pictures.length < 2) showMosaic(false);
  $("slice").max = Math.max(v.pictures.length - 1, 0);
  $("slice").value = Math.max(v.pictures.findIndex((p) => p.slice === v.worst), 0);
  $("mosaic").replaceChildren(...v.pictures.map(tile));
  $("mosaic-button").textContent = `Mosaic of ${v.pictures.length}`;
  $("comment").value = comments[v.name] ?? "";
  showRating();
  showSlice();
  drawHistogram();
  drawTrend();
}

function said(v, picture) {
  const slice = v.slices[picture.slice];
  const [index, score, , nrmse, low, high, kind] = slice;
  const all = v.slices.map((s) => s[0]);
  const range = v.slices.length > 1 ? ` (of ${Math.min(...all)} to ${Math.max(...all)})` : "";
  const found = [`Slice ${called(slice)}${range}${picture.position && `, ${picture.position}`}`];
  if (nrmse !== null && nrmse !== undefined) found.push(`NRMSE ${interval([nrmse, low, high])}`);
  found.push(score === null ? why(slice) : `score ${fixed(score, 2)}`);
  if (kind && kind !== "ok" && score !== null) found.push(kind);
  if (data.cutOff !== null && score !== null && score < data.cutOff) found.push("below the cut-off");
  if (picture.slice === v.worst && v.slices.length > 1 && score !== null) found.push("the worst");
  return found.join("; ");
}

function showSlice() {
  const picture = current.pictures[Number($("slice").value)];
  if (picture) {
    $("caption").textContent = said(current, picture);
    $("slice").setAttribute("aria-valuetext", `slice ${called(current.slices[picture.slice])}`);
    $("image").src = picture.image;
    $("image").alt = `Slice ${called(current.slices[picture.slice])} of ${current.name}`;
    $("map").hidden = $("veil").hidden = $("legend").hidden = picture.map === null;
    if (picture.map === null) $("map").removeAttribute("src");
    else $("map").src = picture.map;
  }
  drawCurve(picture ? picture.slice : null);
}

// ---- all pictures of a volume at once

function tile(picture, k) {
  const slice = current.slices[picture.slice];
  const layers = [element("img", { src: picture.image, alt: "" })];
  if (picture.map !== null) layers.push(element("img", { src: picture.map, alt: "", className: "map" }));
  const button = element("button", { type: "button", className: "stack", ariaLabel: said(current, picture) }, ...layers);
  button.addEventListener("click", () => {
    $("slice").value = k;
    showMosaic(false);
    showSlice();
    $("slice").focus();
  });
  const below = data.cutOff !== null && slice[1] !== null && slice[1] < data.cutOff;
  const told = [called(slice), ...(picture.position ? [picture.position] : []), slice[1] === null ? "–" : fixed(slice[1])];
  return element("figure", {}, button, element("figcaption", { textContent: told.join(" · "), className: below ? "below" : "" }));
}

function showMosaic(on) {
  $("main").classList.toggle("wide", on);
  $("mosaic-button").setAttribute("aria-pressed", on);
}

const inMosaic = () => $("main").classList.contains("wide");

// ---- rating

function rate(value) {
  if (value) ratings[current.name] = value;
  else delete ratings[current.name];
  keep("ratings", ratings);
  rows.get(current).rating.textContent = ratings[current.name] ?? "–";
  showRating();
}

function comment(text) {
  if (text.trim()) comments[current.name] = text.trim();
  else delete comments[current.name];
  keep("comments", comments);
  showRating();
}

function showRating() {
  for (const button of $("rating").querySelectorAll("button")) button.setAttribute("aria-pressed", String(ratings[current.name] ?? 0) === button.value);
  const count = data.volumes.filter((v) => v.name in ratings).length;
  $("rated").textContent = `${count} of ${data.volumes.length} volumes rated`;
  $("export").disabled = !data.volumes.some(judged);
}

function exportRatings() {
  const clean = (text) => String(text ?? "").replace(/[\t\r\n]/g, " ").replace(/^[=+\-@]/, "./$&");
  const head = ["input", "rating", "nrmse", "nrmse_low", "nrmse_high", "score", "unit", "weights", "pool", "comment"];
  const lines = data.volumes.filter(judged).map((v) => [v.name, ratings[v.name], ...(v.nrmse ?? ["", "", ""]), v.score, data.unit, data.weights, data.pool, comments[v.name]].map(clean));
  const text = [head, ...lines].map((line) => line.join("\t") + "\n").join("");
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" })), download: "ratings.tsv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function step(by) {
  $("slice").value = Number($("slice").value) + by;
  showSlice();
}

// ---- drawings

function drawHistogram() {
  if (!data.counts.length) return $("histogram").replaceChildren(element("p", { textContent: "No volume has a score." }));
  const [width, height, left, foot] = [640, 170, 30, 40];
  const first = data.edges[0];
  const last = data.edges[data.edges.length - 1];
  const most = Math.max(...data.counts);
  const x = (score) => left + ((width - left - 10) * (score - first)) / (last - first);
  const y = (count) => height - foot - ((height - foot - 15) * count) / most;
  const parts = data.counts.map((count, k) =>
    shape("rect", { class: "mark", x: x(data.edges[k]) + 0.5, y: y(count), width: x(data.edges[k + 1]) - x(data.edges[k]) - 1, height: y(0) - y(count) },
      shape("title", {}, `${count} from ${data.edges[k]} to ${data.edges[k + 1]}`)));
  const line = (kind, score, top, bottom) => shape("line", { class: kind, x1: x(score), x2: x(score), y1: top, y2: bottom });
  parts.push(shape("line", { class: "axis", x1: left, x2: width - 10, y1: y(0), y2: y(0) }), line("middle", data.median, 8, y(0)));
  for (const v of data.volumes) if (v.score !== null) parts.push(line(v.flags.includes("outlier") || v.flags.includes("below the cut-off") ? "rug far" : "rug", v.score, y(0) + 3, y(0) + 10));
  if (current && current.score !== null) parts.push(line("current", current.score, y(0) + 1, y(0) + 13));
  const every = Math.ceil(data.edges.length / 10);
  data.edges.forEach((edge, k) => {
    if (k % every === 0) parts.push(shape("text", { x: x(edge), y: height - 15, "text-anchor": "middle" }, String(edge)));
  });
  parts.push(shape("text", { x: left - 5, y: y(most) + 4, "text-anchor": "end" }, String(most)), shape("text", { x: left - 5, y: y(0), "text-anchor": "end" }, "0"));
  parts.push(shape("text", { x: (left + width) / 2, y: height - 1, "text-anchor": "middle" }, "score of a volume; dashed: median; ticks: volumes, red: outliers or below the cut-off"));
  const told = `Scores of ${data.volumes.filter((v) => v.score !== null).length} volumes, from ${first} to ${last}, median ${fixed(data.median)}`;
  $("histogram").replaceChildren(shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told }, ...parts));
}

// A point for each volume, with a score in it by `x` and `y` of its place and its score.
function points(trend, x, y) {
  const found = data.volumes.flatMap((v, k) => {
    if (v.score === null || trend.places[k] === null) return [];
    const far = v.flags.includes("outlier") || v.flags.includes("below the cut-off");
    const point = shape("circle", { class: `point${far ? " far" : ""}${v === current ? " chosen" : ""}`, cx: x(trend.places[k], v.score, k), cy: y(trend.places[k], v.score, k), r: v === current ? 6 : 3.5 },
      shape("title", {}, `${v.name}: ${fixed(v.score)}`));
    point.addEventListener("click", () => show(v));
    return [point];
  });
  return found.sort((a, b) => a.classList.contains("chosen") - b.classList.contains("chosen")); // the chosen one on top
}

function drawTrend() {
  const trend = data.trends[Number($("column").value)];
  if (!trend || !data.counts.length) return;
  const scores = data.volumes.map((v) => v.score).filter((score) => score !== null);
  const low = Math.floor(Math.min(...scores) / 5) * 5;
  const high = Math.max(Math.ceil(Math.max(...scores) / 5) * 5, low + 5);
  (trend.groups.length ? drawGroups : drawTime)(trend, low, high);
}

function drawGroups(trend, low, high) {
  const [width, left, row, foot] = [640, 190, 28, 36];
  const height = trend.groups.length * row + foot;
  const x = (score) => left + ((width - left - 20) * (score - low)) / (high - low);
  const y = (group) => row * (group + 0.5);
  const parts = [];
  trend.groups.forEach(([name, median, count], k) => {
    const told = `${name.length > 24 ? `${name.slice(0, 23)}…` : name} (${count})`;
    parts.push(shape("text", { x: left - 10, y: y(k) + 4, "text-anchor": "end" }, told, shape("title", {}, name)),
      shape("line", { class: "thread", x1: left, x2: width - 20, y1: y(k), y2: y(k) }));
  });
  parts.push(...points(trend, (_, score) => x(score), (group, _, k) => y(group) + ((k * 0.618) % 1 - 0.5) * row * 0.5));
  trend.groups.forEach(([, median], k) => {
    if (median !== null) parts.push(shape("line", { class: "median", x1: x(median), x2: x(median), y1: y(k) - row * 0.42, y2: y(k) + row * 0.42 }, shape("title", {}, `median ${fixed(median)}`)));
  });
  if (data.cutOff !== null && data.cutOff > low && data.cutOff < high) parts.push(shape("line", { class: "limit", x1: x(data.cutOff), x2: x(data.cutOff), y1: 0, y2: height - foot }));
  for (const score of [low, (low + high) / 2, high]) parts.push(shape("text", { x: x(score), y: height - 20, "text-anchor": "middle" }, String(score)));
  parts.push(shape("text", { x: (left + width - 20) / 2, y: height - 4, "text-anchor": "middle" }, "score of a volume"));
  const told = trend.groups.map(([name, median, count]) => `${name}: median ${fixed(median)} of ${count}`).join("; ");
  $("trend").replaceChildren(shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Scores by ${trend.column}. ${told}` }, ...parts));
  $("trend-rule").textContent = "A point is a volume, and shows it when clicked; bars are medians, numbers in brackets volumes. Red: outliers or below the cut-off.";
}

function drawTime(trend, low, high) {
  const [width, height, left, foot] = [640, 220, 34, 34];
  const last = Math.max(...trend.places.filter((place) => place !== null));
  const x = (day) => left + 6 + ((width - left - 22) * day) / last;
  const y = (score) => 8 + ((height - foot - 8) * (high - score)) / (high - low);
  const parts = [shape("line", { class: "axis", x1: left, x2: width - 10, y1: y(low), y2: y(low) }), ...points(trend, x, (_, score) => y(score))];
  if (trend.running.length) parts.push(shape("polyline", { class: "median", points: trend.running.map(([day, score]) => `${x(day)},${y(score)}`).join(" ") }));
  if (data.cutOff !== null && data.cutOff > low && data.cutOff < high) parts.push(shape("line", { class: "limit", x1: left, x2: width - 10, y1: y(data.cutOff), y2: y(data.cutOff) }));
  for (const score of [low, (low + high) / 2, high]) parts.push(shape("text", { x: left - 5, y: y(score) + 4, "text-anchor": "end" }, String(score)));
  parts.push(shape("text", { x: left, y: height - 18 }, trend.span[0]), shape("text", { x: width - 10, y: height - 18, "text-anchor": "end" }, trend.span[1]));
  parts.push(shape("text", { x: (left + width) / 2, y: height - 3, "text-anchor": "middle" }, "score of a volume"));
  $("trend").replaceChildren(shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Scores by ${trend.column}, from ${trend.span[0]} to ${trend.span[1]}` }, ...parts));
  const line = trend.running.length ? `The line is the median of ${trend.window} volumes that follow each other.` : `Fewer than ${trend.window} volumes with a date and a score have no line.`;
  $("trend-rule").textContent = `A point is a volume, and shows it when clicked. ${line} Red: outliers or below the cut-off.`;
}

function drawCurve(chosen) {
  const inTime = current.slices.some((s) => s[7] !== undefined); // then slices of all times follow each other
  const known = current.slices.map((s, k) => [inTime ? k : s[0], s[1], k]).filter((s) => s[1] !== null);
  if (known.length < 2) return $("curve").replaceChildren();
  const [width, height, left, foot] = [400, 110, 34, 28];
  const scores = known.map((s) => s[1]);
  const low = Math.floor(Math.min(...scores));
  const high = Math.max(Math.ceil(Math.max(...scores)), low + 1);
  const [from, to] = [known[0][0], known[known.length - 1][0]];
  const x = (index) => left + ((width - left - 8) * (index - from)) / (to - from);
  const y = (score) => height - foot - ((height - foot - 8) * (score - low)) / (high - low);
  const parts = [
    shape("line", { class: "axis", x1: left, x2: width - 8, y1: height - foot, y2: height - foot }),
    shape("polyline", { class: "run", points: known.map((s) => `${x(s[0])},${y(s[1])}`).join(" ") }),
    ...(known.length > 60 ? [] : known.map((s) => shape("circle", { class: "mark", cx: x(s[0]), cy: y(s[1]), r: 2 }, shape("title", {}, `slice ${called(current.slices[s[2]])}: ${fixed(s[1], 2)}`)))),
    shape("text", { x: left - 4, y: y(high) + 6, "text-anchor": "end" }, String(high)),
    shape("text", { x: left - 4, y: y(low), "text-anchor": "end" }, String(low)),
    shape("text", { x: x(from), y: height - 14 }, called(current.slices[known[0][2]])),
    shape("text", { x: x(to), y: height - 14, "text-anchor": "end" }, called(current.slices[known[known.length - 1][2]])),
    shape("text", { x: (left + width) / 2, y: height - 2, "text-anchor": "middle" }, "score of each slice"),
  ];
  if (data.cutOff !== null && data.cutOff > low && data.cutOff < high) parts.push(shape("line", { class: "limit", x1: left, x2: width - 8, y1: y(data.cutOff), y2: y(data.cutOff) }));
  const at = known.find((s) => s[2] === chosen);
  if (at) parts.push(shape("circle", { class: "mark", cx: x(at[0]), cy: y(at[1]), r: 5 }));
  $("curve").replaceChildren(shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Scores of ${known.length} slices, from ${fixed(Math.min(...scores))} to ${fixed(Math.max(...scores))}` }, ...parts));
}

// ---- start

$("about").append(`${data.volumes.length} volume${data.volumes.length === 1 ? "" : "s"}, scored by ${data.weights}, ${data.unit && `unit ${data.unit}, `}pool ${data.pool}; mriqf ${data.version}.${data.tables.length ? " Table: " : ""}`);
data.tables.forEach(({ name, href }, k) => $("about").append(k ? ", " : "", href === null ? name : element("a", { href, textContent: name })));
$("rule").textContent = `Volumes below the cut-off come first, then outliers: those whose score lies more than ${data.far} robust standard deviations (median absolute deviation × 1.4826) from the median of this page, above or below; then the others, from the worst. Outliers are unlike the rest, not bad for that; where most volumes are bad, a bad one is none. Among fewer than ${data.least} volumes no outlier is told.`;
if (data.cutOff !== null) $("cut-off").textContent = `The cut-off is a score of ${fixed(data.cutOff)}: it comes from the calibration, whatever the other volumes are, and few images with an NRMSE of up to ${Number((100 * data.limit).toPrecision(4))} % score lower.`;
$("unscored").hidden = data.unscored.length === 0;
$("unscored-title").textContent = `Not scored: ${data.unscored.length}`;
$("reasons").replaceChildren(...data.unscored.map(({ name, reason }) => element("li", {}, element("strong", { textContent: name }), `: ${reason.startsWith(`${name}: `) ? reason.slice(name.length + 2) : reason}`)));
$("bar").style.background = `linear-gradient(to right, ${data.colours.join(", ")})`;
$("trends").hidden = data.trends.length === 0 || !data.counts.length;
$("column").append(...data.trends.map((trend, k) => element("option", { value: String(k), textContent: trend.column })));
$("column").addEventListener("input", drawTrend);
buildTable();
arrange();
for (const id of ["text", "most", "flagged"]) $(id).addEventListener("input", arrange);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("slice").addEventListener("input", showSlice);
// Never opaque: a map must not hide what it judges.
const veil = () => document.documentElement.style.setProperty("--veil", $("bare").checked ? 0 : $("opacity").value / 100);
$("opacity").addEventListener("input", veil);
$("bare").addEventListener("input", veil);
veil();
$("comment").addEventListener("input", () => comment($("comment").value));
$("mosaic-button").addEventListener("click", () => showMosaic(!inMosaic()));
for (const value of [1, 2, 3, 4, 5, 0]) {
  const button = element("button", { type: "button", value: String(value), textContent: value || "none", title: value ? `Key ${value}` : "Key 0" });
  button.addEventListener("click", () => rate(value));
  $("rating").append(button);
}
$("export").addEventListener("click", exportRatings);
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=search], input[type=number], input[type=text], select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^[0-5]$/.test(event.key)) rate(Number(event.key));
  else if (event.key === "m") showMosaic(!inMosaic() && current.pictures.length > 1);
  else if (event.key === "o") $("bare").click();
  else return;
  event.preventDefault();
});
$("rows").addEventListener("keydown", (event) => {
  const listed = [...$("rows").querySelectorAll("button")];
  const at = listed.indexOf(event.target);
  const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: listed.length - 1 }[event.key];
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (to === undefined) return;
  else if (listed[to]) {
    listed[to].focus();
    listed[to].click();
  }
  event.preventDefault();
});
show(data.volumes[0]);
