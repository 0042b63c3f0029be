// Calls functions of the page's modules for tests: a list of calls on standard input, a list of results on its output.
//
// Arrays of numbers of a type are written {"Float32Array": [...]}, both ways.

import { readFileSync } from "node:fs";

const types = { Float32Array, Float64Array, Uint8Array };
const [folder] = process.argv.slice(2);

function given(value) {
  if (Array.isArray(value)) return value.map(given);
  if (value === null || typeof value !== "object") return value;
  const [[name, values] = []] = Object.entries(value);
  if (types[name]) return types[name].from(values);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, given(part)]));
}

function plain(value) {
  if (ArrayBuffer.isView(value)) return [...value];
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]));
}

const calls = {
  /** Slices of all volumes in files, and what failed. */
  async read(paths) {
    const { readFiles } = await import(`${folder}/read.js`);
    const bytes = (path) => new Uint8Array(readFileSync(path));
    const { volumes, failed } = await readFiles(paths.map((path) => ({ name: path, bytes: bytes(path) })));
    const read = [];
    for (const volume of volumes)
      try {
        read.push({ ...volume, slices: Array.from({ length: volume.count }, (_, k) => volume.slice(k)) });
      } catch (error) {
        failed.push({ name: volume.name, reason: error.message });
      }
    return { read, failed };
  },

  /** Earlier JPEG compression of an image. */
  async trace(image, rows, columns) {
    const { jpegTrace } = await import(`${folder}/jpeg.js`);
    return jpegTrace({ count: 1, rows, columns, slice: () => image });
  },

  /** Resolution, scale and scores of a volume; the outputs of the network for each slice are given. */
  async score(volume, outputs, parameters) {
    const { prepare, scoreSlice, summary } = await import(`${folder}/scorer.js`);
    const setting = prepare({ ...volume, slice: (index) => volume.slices[index] }, parameters);
    const slices = [];
    for (let index = 0; index < volume.count; index += 1)
      slices.push(await scoreSlice({ ...volume, slice: (k) => volume.slices[k] }, setting, index, () => outputs[index], parameters));
    return { resolved: [setting.seen.rows, setting.seen.columns], scale: setting.scale, slices, ...summary(slices) };
  },
};

const results = [];
for (const [name, ...args] of JSON.parse(readFileSync(0, "utf8"))) {
  const [module, key] = name.split(":");
  const called = key ? (await import(`${folder}/${module}.js`))[key] : calls[module];
  results.push(plain(await called(...given(args))));
}
console.log(JSON.stringify(results, (_, value) => (Number.isNaN(value) ? "NaN" : value)));
