"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const calibrated = data.volumes.some((v) => v.inside[1] > 0);

// Text only ever becomes text: names of files may hold anything.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function shape(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const fixed = (value, digits = 1) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));

function interval(nrmse) {
  if (!nrmse || nrmse[0] === null) return "–";
  const digits = nrmse[0] >= 0.05 ? 2 : 3;
  return `${nrmse[0].toFixed(digits)} [${nrmse[1].toFixed(digits)}, ${nrmse[2].toFixed(digits)}]`;
}

const worst = (v) => v.slices.find((s) => s[0] === v.worst);

data.volumes.forEach((v, rank) => { v.rank = rank; });
const columns = [
  { title: "Volume", value: (v) => v.name },
  { title: "Remarks", value: (v) => v.rank, flags: true, initial: true },
  { title: "Score", value: (v) => v.score, text: (v) => fixed(v.score, 2) },
  { title: "Deviation", value: (v) => v.away, text: (v) => fixed(v.away) },
  { title: "Slices", value: (v) => v.slices.length },
  { title: "Worst slice", value: (v) => worst(v)[1], text: (v) => (worst(v)[1] === null ? "–" : `${fixed(worst(v)[1], 2)} (${v.worst})`) },
  { title: "NRMSE", value: (v) => v.nrmse && v.nrmse[0], text: (v) => interval(v.nrmse), only: calibrated },
  { title: "Known kind", value: (v) => (v.inside[1] ? v.inside[0] / v.inside[1] : null), text: (v) => (v.inside[1] ? `${v.inside[0]} of ${v.inside[1]}` : "–"), only: calibrated },
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
    for (const column of columns.slice(1)) row.append(column.flags ? flags(v) : element("td", { textContent: column.text ? column.text(v) : column.value(v) }));
    row.addEventListener("click", () => show(v));
    rows.set(v, { row, button });
  }
}

function flags(v) {
  return element("td", { className: "words" }, ...v.flags.map((flag) => element("span", { className: "flag", textContent: flag })));
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
  const facts = [`score ${fixed(v.score, 2)} over ${v.slices.length} slice${v.slices.length === 1 ? "" : "s"}`];
  const [inside, all] = v.inside;
  if (v.nrmse) facts.push(`NRMSE to expect ${interval(v.nrmse)}${inside < all ? ` over the ${inside} of a known kind` : ""}`);
  if (v.flags.length) facts.push(v.flags.join(", "));
  $("facts").textContent = facts.join("; ");
  const links = [["file", v.href], ["quality map", v.map]].filter((link) => link[1] !== null);
  $("links").replaceChildren(...links.flatMap(([text, href], k) => [k ? " · " : "", element("a", { href, textContent: text })]));
  $("amiss").textContent = v.amiss;
  $("figure").hidden = v.pictures.length === 0;
  $("slice").max = Math.max(v.pictures.length - 1, 0);
  $("slice").value = Math.max(v.pictures.findIndex((p) => p.slice === v.worst), 0);
  showSlice();
  drawHistogram();
}

function showSlice() {
  const picture = current.pictures[Number($("slice").value)];
  if (picture) {
    const [index, score, , nrmse, low, high, kind] = current.slices.find((s) => s[0] === picture.slice);
    const said = [`Slice ${index}: ${score === null ? "no foreground" : `score ${fixed(score, 2)}`}`];
    if (nrmse !== null && nrmse !== undefined) said.push(`NRMSE ${interval([nrmse, low, high])}`);
    if (kind && kind !== "ok" && score !== null) said.push(kind);
    if (index === current.worst && current.slices.length > 1 && score !== null) said.push("the worst");
    $("caption").textContent = said.join(", ");
    $("slice").setAttribute("aria-valuetext", `slice ${index}`);
    $("image").src = picture.image;
    $("image").alt = `Slice ${index} of ${current.name}`;
    $("map").hidden = $("veil").hidden = $("legend").hidden = picture.map === null;
    if (picture.map === null) $("map").removeAttribute("src");
    else $("map").src = picture.map;
  }
  drawCurve(picture ? picture.slice : null);
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
  for (const v of data.volumes) if (v.score !== null) parts.push(line(v.flags.includes("outlier") ? "rug far" : "rug", v.score, y(0) + 3, y(0) + 10));
  if (current && current.score !== null) parts.push(line("current", current.score, y(0) + 1, y(0) + 13));
  const every = Math.ceil(data.edges.length / 10);
  data.edges.forEach((edge, k) => {
    if (k % every === 0) parts.push(shape("text", { x: x(edge), y: height - 15, "text-anchor": "middle" }, String(edge)));
  });
  parts.push(shape("text", { x: left - 5, y: y(most) + 4, "text-anchor": "end" }, String(most)), shape("text", { x: left - 5, y: y(0), "text-anchor": "end" }, "0"));
  parts.push(shape("text", { x: (left + width) / 2, y: height - 1, "text-anchor": "middle" }, "score of a volume; dashed: median; ticks: volumes, red: outliers"));
  const told = `Scores of ${data.volumes.filter((v) => v.score !== null).length} volumes, from ${first} to ${last}, median ${fixed(data.median)}`;
  $("histogram").replaceChildren(shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told }, ...parts));
}

function drawCurve(chosen) {
  const known = current.slices.filter((s) => s[1] !== null);
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
    ...(known.length > 60 ? [] : known.map((s) => shape("circle", { class: "mark", cx: x(s[0]), cy: y(s[1]), r: 2 }, shape("title", {}, `slice ${s[0]}: ${fixed(s[1], 2)}`)))),
    shape("text", { x: left - 4, y: y(high) + 6, "text-anchor": "end" }, String(high)),
    shape("text", { x: left - 4, y: y(low), "text-anchor": "end" }, String(low)),
    shape("text", { x: x(from), y: height - 14 }, String(from)),
    shape("text", { x: x(to), y: height - 14, "text-anchor": "end" }, String(to)),
    shape("text", { x: (left + width) / 2, y: height - 2, "text-anchor": "middle" }, "score of each slice"),
  ];
  const at = known.find((s) => s[0] === chosen);
  if (at) parts.push(shape("circle", { class: "mark", cx: x(at[0]), cy: y(at[1]), r: 5 }));
  $("curve").replaceChildren(shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Scores of ${known.length} slices, from ${fixed(Math.min(...scores))} to ${fixed(Math.max(...scores))}` }, ...parts));
}

// ---- start

$("about").append(`${data.volumes.length} volume${data.volumes.length === 1 ? "" : "s"}, scored by ${data.weights}, pool ${data.pool}; mriqf ${data.version}. Table: `);
data.tables.forEach(({ name, href }, k) => $("about").append(k ? ", " : "", href === null ? name : element("a", { href, textContent: name })));
$("rule").textContent = `Outliers come first: volumes whose score lies more than ${data.far} robust standard deviations (median absolute deviation × 1.4826) from the median of this page, above or below; then the others, from the worst. They are unlike the rest, not bad for that; where most volumes are bad, a bad one is none. Among fewer than ${data.least} volumes no outlier is told.`;
$("bar").style.background = `linear-gradient(to right, ${data.colours.join(", ")})`;
buildTable();
arrange();
for (const id of ["text", "most", "flagged"]) $(id).addEventListener("input", arrange);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("slice").addEventListener("input", showSlice);
const veil = () => { $("map").style.opacity = $("opacity").value / 100; };
$("opacity").addEventListener("input", veil);
veil();
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
