// The page: files in, rows and pictures out.

import { csv, fixed, interval, isBelow, reason } from "./table.js";
import { draw, show, veil } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const carried = (id) => Uint8Array.from(atob($(id).textContent.trim()), (letter) => letter.charCodeAt(0));
const parameters = JSON.parse($("parameters").textContent);
const volumes = [];
let waiting = 0;

const code = new Blob([$("worker").textContent], { type: "text/javascript" });
const worker = new Worker(URL.createObjectURL(code));
worker.onerror = () => say("This browser cannot run the network: take a current Chromium, Firefox or Safari.");
worker.onmessage = ({ data }) => {
  if (data.kind === "ready") say("Ready.");
  else if (data.kind === "begun") say(`${data.name}: looks for scale and resolution …`);
  else if (data.kind === "progress") say(`${data.name}: slice ${data.done} of ${data.count}`, data.done / data.count);
  else if (data.kind === "failed") fail(data.name, data.reason);
  else if (data.kind === "broken") say(`The network did not start: ${data.reason}`);
  else if (data.kind === "volume") add(data.volume);
  else if (data.kind === "idle") {
    waiting -= 1;
    if (!waiting) say(`Ready. ${volumes.length} scored.`);
  }
};
worker.postMessage({ start: { parameters, runtime: carried("runtime"), network: carried("network") } });
["runtime", "network", "worker"].forEach((id) => $(id).remove());

function say(text, share = null) {
  $("status").textContent = text;
  $("progress").hidden = share === null;
  if (share !== null) $("progress").value = share;
}

function fail(name, why) {
  $("failures").hidden = false;
  const line = document.createElement("li");
  line.textContent = `${name}: ${why}`;
  $("reasons").append(line);
}

function add(volume) {
  volumes.push(volume);
  const row = document.createElement("tr");
  const choose = document.createElement("button");
  Object.assign(choose, { type: "button", textContent: volume.name });
  const first = document.createElement("th");
  first.scope = "row";
  first.append(choose);
  const refused = volume.slices.filter(reason);
  const remarks = [
    ...(refused.length ? [`${reason(refused[0])}: ${refused.length} of ${volume.count}`] : []),
    ...(isBelow(volume.score, parameters.cutOff) ? ["below the cut-off"] : []),
    ...volume.notes,
  ];
  const cells = [interval(volume.nrmse), fixed(volume.score), String(volume.count), remarks.join("; ")];
  row.append(first, ...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  row.lastChild.className = "words";
  row.onclick = () => pick(row, volume);
  $("rows").append(row);
  $("results").hidden = false;
  pick(row, volume);
}

function pick(row, volume) {
  for (const other of $("rows").children) other.classList.toggle("current", other === row);
  show(volume, parameters.colours, parameters.cutOff);
}

async function take(files) {
  const given = [];
  for (const file of files)
    try {
      given.push({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
    } catch {
      fail(file.name, "cannot be read: it is too large for this browser, or is no file");
    }
  if (!given.length) return;
  waiting += 1;
  worker.postMessage({ files: given }, given.map(({ bytes }) => bytes.buffer));
}

/** Files that were dropped, those in folders too. */
async function dropped(transfer) {
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    else
      for (const reader = entry.createReader(); ; ) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        for (const one of some) await walk(one);
      }
  };
  // All entries at once: they are gone after the first pause.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...transfer.files];
  if (!entries.some((entry) => entry.isDirectory)) return files;
  for (const entry of entries) await walk(entry);
  return found;
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv(volumes, parameters)], { type: "text/csv" }));
  link.download = "scores.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

$("files").onchange = async () => {
  await take([...$("files").files]);
  $("files").value = "";
};
$("save").onclick = save;
$("slice").oninput = draw;
$("opacity").oninput = veil;
document.ondragover = (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
};
document.ondragleave = () => $("drop").classList.remove("over");
document.ondrop = async (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  await take(await dropped(event.dataTransfer));
};
const { calibration, cutOff, unit, version, weights } = parameters;
const percent = (share) => `${Math.round(100 * share)} %`;
$("about").textContent = `Weights ${weights}, unit ${unit}, mriqf ${version}.` +
  (calibration ? "" : " These weights have no calibration: an NRMSE to expect cannot be told.") +
  (cutOff
    ? ` Cut-off ${fixed(cutOff.score)}: ${percent(cutOff.withinRejected)} of images with an NRMSE of up to ` +
      `${percent(cutOff.limit)} score lower.`
    : "");
$("bar").style.setProperty("background", `linear-gradient(to right, ${parameters.colours.join(", ")})`);
veil();
