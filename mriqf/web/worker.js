// Runs beside the page: reads files, runs the network, tells scores as they come.

import * as ort from "onnxruntime-web";
import { readFiles } from "./read.js";
import { prepare, scoreSlice, summary } from "./scorer.js";
import { unpacked } from "./volume.js";

let [session, parameters] = [null, null];
let waiting = Promise.resolve();

self.onmessage = ({ data }) => {
  // One after the other: files may be dropped while others are being scored.
  waiting = waiting.then(() => (data.start ? start(data.start) : score(data.files))).catch((error) =>
    self.postMessage({ kind: "broken", reason: String(error?.message ?? error) }),
  );
};

async function start(given) {
  parameters = given.parameters;
  ort.env.wasm.numThreads = 1; // more would need headers of a server
  ort.env.wasm.wasmBinary = await unpacked(given.runtime, "gzip");
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(await unpacked(given.network, "gzip"));
  await network(new Float32Array(parameters.leastSide ** 2), parameters.leastSide, parameters.leastSide);
  self.postMessage({ kind: "ready" });
}

/** Outputs of the network by name. */
async function network(image, rows, columns) {
  const found = await session.run({ images: new ort.Tensor("float32", image, [1, 1, rows, columns]) });
  return Object.fromEntries(Object.entries(found).map(([name, tensor]) => [name, tensor.data]));
}

async function score(files) {
  if (!session) return; // the page has been told why
  const { volumes, failed } = await readFiles(files);
  failed.forEach(({ name, reason }) => self.postMessage({ kind: "failed", name, reason }));
  for (const volume of volumes)
    try {
      await scoreVolume(volume);
    } catch (error) {
      self.postMessage({ kind: "failed", name: volume.name, reason: error.message });
    }
  self.postMessage({ kind: "idle" });
}

async function scoreVolume(volume) {
  const { name, count, rows, columns, rowsUp } = volume;
  self.postMessage({ kind: "begun", name, count });
  const setting = prepare(volume, parameters);
  const { seen, scale } = setting;
  const told = { name, count, rows, columns, rowsUp, scale, resolved: [seen.rows, seen.columns], notes: notes(volume, seen) };
  const slices = [];
  let spent = 0;
  for (let index = 0; index < count; index += 1) {
    const begun = performance.now();
    const found = await scoreSlice(volume, setting, index, network, parameters);
    spent += performance.now() - begun;
    // For a screen, eight bits will do.
    const bytes = (values, most) => Uint8ClampedArray.from(values, (value) => (255 / most) * value);
    slices.push({ ...found, image: bytes(found.image, 1), map: bytes(found.map, 100) });
    self.postMessage({ kind: "progress", name, done: index + 1, count });
  }
  self.postMessage({ kind: "volume", volume: { ...told, slices, ...summary(slices), seconds: spent / 1000 / count } });
}

/** Reasons to doubt a volume's scores. */
function notes({ pixel }, { rows, columns }) {
  const said = [];
  const { leastSide } = parameters;
  if (Math.min(rows, columns) < leastSide)
    said.push(`${rows}×${columns} pixels, continued by reflection to the ${leastSide}×${leastSide} that the weights see at once`);
  if (pixel && Math.max(...pixel) > 1.02 * Math.min(...pixel))
    said.push(`pixels are ${pixel.map((side) => Number(side.toPrecision(3))).join("×")} mm, those of training were square`);
  return said;
}
