// PNG: grey of any depth as it is, colours that are all grey as grey. Read here because a canvas knows 8 bits only.

import { unpacked, volumeOf } from "./volume.js";

const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/** Volume of one slice in the bytes of a PNG file. */
export async function readPng(name, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pieces = [];
  let [header, palette] = [null, null];
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = new TextDecoder("latin1").decode(bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") header = { columns: view.getUint32(at + 8), rows: view.getUint32(at + 12), depth: body[8], colour: body[9], laced: body[12] };
    else if (kind === "PLTE") palette = body;
    else if (kind === "IDAT") pieces.push(body);
    at += length + 12;
  }
  if (!header || !pieces.length) throw new Error("is cut short: copy it again");
  const { columns, rows, depth, colour, laced } = header;
  if (laced) throw new Error("is interlaced: save it without");
  const joined = new Uint8Array(await new Blob(pieces).arrayBuffer());
  const samples = SAMPLES[colour];
  const lines = unfiltered(await unpacked(joined, "deflate"), rows, Math.ceil((columns * samples * depth) / 8), Math.max(1, (samples * depth) >> 3));
  const image = new Float32Array(rows * columns);
  const sample = (i, k) => {
    const line = lines[i];
    if (depth === 16) return 256 * line[2 * k] + line[2 * k + 1];
    if (depth === 8) return line[k];
    const bit = k * depth;
    return (line[bit >> 3] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
  };
  const wide = depth < 8 && colour === 0 ? 255 / ((1 << depth) - 1) : 1; // as 8 bits
  for (let i = 0; i < rows; i += 1)
    for (let j = 0; j < columns; j += 1) {
      let seen = [sample(i, j * samples)];
      if (colour === 3) seen = [0, 1, 2].map((c) => palette[3 * seen[0] + c]);
      else if (samples > 2) seen = [0, 1, 2].map((c) => sample(i, j * samples + c));
      if (seen.some((value) => value !== seen[0]))
        throw new Error("is in colour, and the network sees grey images: save the magnitude as grey");
      image[i * columns + j] = seen[0] * wide;
    }
  return volumeOf({ name, count: 1, rows, columns, slice: () => image });
}

/** Lines of samples, of which each is stored as a difference to its neighbours. */
function unfiltered(bytes, rows, length, step) {
  if (bytes.length < rows * (length + 1)) throw new Error("is cut short: copy it again");
  const lines = [];
  let above = new Uint8Array(length);
  for (let i = 0; i < rows; i += 1) {
    const from = i * (length + 1);
    const filter = bytes[from];
    const line = bytes.slice(from + 1, from + 1 + length);
    for (let k = 0; k < length; k += 1) {
      const [a, b, c] = [k < step ? 0 : line[k - step], above[k], k < step ? 0 : above[k - step]];
      if (filter === 1) line[k] += a;
      else if (filter === 2) line[k] += b;
      else if (filter === 3) line[k] += (a + b) >> 1;
      else if (filter === 4) {
        const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
        line[k] += pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      }
    }
    lines.push(line);
    above = line;
  }
  return lines;
}
