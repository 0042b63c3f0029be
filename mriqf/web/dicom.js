// DICOM without compression: one file with one or many frames, or the files of series.

import { numbers, volumeOf } from "./volume.js";

const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UC", "UN", "UR", "UT", "SV", "UV"]);
const IMPLICIT = "1.2.840.10008.1.2";
const EXPLICIT = "1.2.840.10008.1.2.1";
const OPEN = 0xffffffff;
const SEQUENCES = new Set([0x52009229, 0x52009230, 0x00209113, 0x00209116, 0x00289110, 0x00289145, 0x00209111]);
const TAG = {
  syntax: 0x00020010, kind: 0x00080008, series: 0x0020000e, number: 0x00200013, position: 0x00200032,
  orientation: 0x00200037, samples: 0x00280002, photometric: 0x00280004, frames: 0x00280008, rows: 0x00280010,
  columns: 0x00280011, spacing: 0x00280030, allocated: 0x00280100, stored: 0x00280101, signed: 0x00280103,
  shift: 0x00281052, slope: 0x00281053, pixels: 0x7fe00010, float: 0x7fe00008, double: 0x7fe00009,
  shared: 0x52009229, each: 0x52009230,
};

/** True if bytes begin as a DICOM file does, with its preamble or, as in old files, without. */
export function isDicom(bytes) {
  const marked = bytes.length > 132 && new TextDecoder("latin1").decode(bytes.subarray(128, 132)) === "DICM";
  return marked || (bytes.length > 8 && (bytes[0] === 2 || bytes[0] === 8) && bytes[1] === 0 && bytes[3] === 0);
}

/** Volumes in DICOM files, each `{name, bytes}`: one for each series. Files that fail are in `failed`. */
export function readDicom(files) {
  const [series, failed] = [new Map(), []];
  for (const { name, bytes } of files)
    try {
      for (const frame of frames(name, bytes)) {
        const key = [frame.series, frame.rows, frame.columns].join();
        if (!series.has(key)) series.set(key, []);
        series.get(key).push(frame);
      }
    } catch (error) {
      failed.push({ name, reason: error.message });
    }
  return { volumes: [...series.values()].map(arranged), failed };
}

/** A volume of frames, in the order of their positions, each time after the other, or else of their numbers. */
function arranged(frames) {
  frames.sort((a, b) => a.number - b.number || a.index - b.index);
  const ordered = inSpace(frames) ?? frames;
  const [{ name, rows, columns, pixel }] = ordered;
  const files = new Set(frames.map((frame) => frame.name)).size;
  return volumeOf({
    name: files > 1 ? `${name} and ${files - 1} more` : name,
    count: frames.length, rows, columns, pixel, slice: (index) => ordered[index].read(),
  });
}

/** Frames by time and height; null where they fill no grid, as those of a localiser. */
function inSpace(frames) {
  const planes = frames.map((frame) => frame.orientation);
  if (!planes[0] || frames.some((frame) => !frame.position)) return null;
  if (planes.some((plane) => !plane || plane.some((value, k) => Math.abs(value - planes[0][k]) > 1e-4))) return null;
  const [a, b, c, d, e, f] = planes[0];
  const stacks = new Map(); // height in µm, to the frames there
  for (const frame of frames) {
    const [x, y, z] = frame.position;
    const height = Math.round(1000 * (x * (b * f - c * e) + y * (c * d - a * f) + z * (a * e - b * d)));
    stacks.set(height, [...(stacks.get(height) ?? []), frame]);
  }
  const heights = [...stacks.keys()].sort((low, high) => low - high);
  const times = stacks.get(heights[0]).length;
  if (heights.some((height) => stacks.get(height).length !== times)) return null;
  return Array.from({ length: times }, (_, t) => heights.map((height) => stacks.get(height)[t])).flat();
}

function frames(name, bytes) {
  const { elements, little } = parsed(bytes);
  const value = reader(bytes, little);
  const get = (tag) => value(elements.get(tag), tag);
  const [rows, columns] = [get(TAG.rows), get(TAG.columns)];
  if (!rows || !columns) throw new Error("holds no image");
  const pixels = [TAG.pixels, TAG.float, TAG.double].map((tag) => elements.get(tag)).find(Boolean);
  if (!pixels) throw new Error("holds no pixels");
  if ((get(TAG.kind) ?? "").includes("MOSAIC"))
    throw new Error("is a mosaic of slices, which this page does not take apart: use mriqf score");
  if ((get(TAG.samples) ?? 1) !== 1) throw new Error("is in colour, and the network sees grey images");
  const count = Number(get(TAG.frames) ?? 1) || 1;
  const [allocated, stored, signed] = [get(TAG.allocated) ?? 16, get(TAG.stored) ?? 16, get(TAG.signed) ?? 0];
  if (allocated < 8) throw new Error(`has ${allocated} bit a pixel, which is no magnitude image`);
  const kind = elements.has(TAG.pixels) ? (signed ? "int" : "uint") : "float";
  const size = allocated / 8;
  const length = rows * columns * size;
  if (pixels.length < count * length) throw new Error("is cut short: copy it again");
  const unused = kind === "float" ? 0 : allocated - stored;
  const shared = elements.get(TAG.shared)?.items?.[0];
  return Array.from({ length: count }, (_, index) => {
    const own = elements.get(TAG.each)?.items?.[index];
    // What a frame says, or all frames, or the file.
    const nested = (tag) => {
      for (const group of [own, shared])
        for (const part of group ? group.values() : [])
          if (part.items?.[0]?.has(tag)) return value(part.items[0].get(tag), tag);
      return undefined;
    };
    const of = (tag) => get(tag) ?? nested(tag);
    const list = (tag) => of(tag)?.split("\\").map(Number) ?? null;
    const [slope, shift] = [Number(of(TAG.slope) ?? 1), Number(of(TAG.shift) ?? 0)];
    const inverted = of(TAG.photometric) === "MONOCHROME1";
    const read = () => {
      const from = pixels.start + index * length;
      const raw = numbers(bytes.subarray(from, from + length), kind, size, !little, rows * columns);
      const top = signed ? -1 : 2 ** stored - 1;
      return Float32Array.from(raw, (sample) => {
        let found = sample;
        // Bits above those that are stored mean nothing.
        if (unused) found = signed ? (sample << (32 - stored)) >> (32 - stored) : sample % 2 ** stored;
        return (inverted ? top - found : found) * slope + shift;
      });
    };
    return {
      name, rows, columns, index, read,
      series: of(TAG.series) ?? "",
      number: Number(of(TAG.number) ?? 0),
      position: list(TAG.position),
      orientation: list(TAG.orientation),
      pixel: list(TAG.spacing),
    };
  });
}

function reader(bytes, little) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const short = new Set([TAG.samples, TAG.rows, TAG.columns, TAG.allocated, TAG.stored, TAG.signed]);
  return (element, tag) => {
    if (!element || !element.length) return undefined;
    if (short.has(tag)) return view.getUint16(element.start, little);
    const text = bytes.subarray(element.start, element.start + element.length);
    return new TextDecoder("latin1").decode(text).replace(/[\0 ]+$/, "") || undefined;
  };
}

/** Elements of a file by tag, each with `start` and `length`, or with `items`. */
function parsed(bytes) {
  const marked = new TextDecoder("latin1").decode(bytes.subarray(128, 132)) === "DICM";
  let at = marked ? 132 : 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const meta = new Map();
  if (marked || bytes[0] === 2) at = walk(view, at, bytes.length, true, true, meta, (tag) => tag >>> 16 !== 2);
  const syntax = meta.has(TAG.syntax) ? reader(bytes, true)(meta.get(TAG.syntax), TAG.syntax) : guessed(bytes, at);
  if (syntax !== IMPLICIT && syntax !== EXPLICIT)
    throw new Error(`its pixels are compressed, or big-endian (transfer syntax ${syntax}): decompress it first, e.g. ` +
      "gdcmconv --raw, or score it with mriqf score");
  const elements = new Map();
  walk(view, at, bytes.length, true, syntax === EXPLICIT, elements, () => false);
  return { elements, little: true };
}

/** Encoding of a file that does not say it. */
function guessed(bytes, at) {
  const letters = new TextDecoder("latin1").decode(bytes.subarray(at + 4, at + 6));
  return /^[A-Z]{2}$/.test(letters) ? EXPLICIT : IMPLICIT;
}

/** Go through elements from `at` to `end`, or to the mark that closes an item; gives the place behind them. */
function walk(view, at, end, little, explicit, found, stop) {
  while (at + 8 <= end) {
    const tag = ((view.getUint16(at, little) << 16) | view.getUint16(at + 2, little)) >>> 0;
    if (stop(tag)) return at;
    if (tag === 0xfffee00d || tag === 0xfffee0dd) return at + 8;
    let kind = "";
    let start = at + 8;
    let length = view.getUint32(at + 4, little);
    if (explicit) {
      kind = String.fromCharCode(view.getUint8(at + 4), view.getUint8(at + 5));
      if (!LONG.has(kind)) length = view.getUint16(at + 6, little);
      else {
        if (at + 12 > end) break;
        length = view.getUint32(at + 8, little);
        start = at + 12;
      }
    }
    if (kind === "SQ" || length === OPEN || (!explicit && SEQUENCES.has(tag))) {
      const items = [];
      const last = length === OPEN ? end : Math.min(start + length, end);
      // An open element of unknown kind is implicit inside.
      at = sequence(view, start, last, little, explicit && kind !== "UN", items);
      found.set(tag, { start, length: 0, items });
    } else {
      if (start + length > end) throw new Error("is cut short: copy it again");
      found.set(tag, { start, length });
      at = start + length;
    }
  }
  return at;
}

/** Items of a sequence; gives the place behind it. */
function sequence(view, at, end, little, explicit, items) {
  while (at + 8 <= end) {
    const tag = ((view.getUint16(at, little) << 16) | view.getUint16(at + 2, little)) >>> 0;
    const length = view.getUint32(at + 4, little);
    if (tag === 0xfffee0dd) return at + 8;
    if (tag !== 0xfffee000) throw new Error("its structure is damaged: export it again");
    const item = new Map();
    const open = length === OPEN;
    const next = walk(view, at + 8, open ? end : Math.min(at + 8 + length, end), little, explicit, item, () => false);
    at = open ? next : at + 8 + length;
    items.push(item);
  }
  return at;
}
