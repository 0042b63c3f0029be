// NIfTI, one file: columns along x, rows along y, slices along z and then t.

import { numbers, volumeOf } from "./volume.js";

const TYPES = {
  2: ["uint", 1], 4: ["int", 2], 8: ["int", 4], 16: ["float", 4], 32: ["complex", 8], 64: ["float", 8], 256: ["int", 1],
  512: ["uint", 2], 768: ["uint", 4], 1024: ["int", 8], 1280: ["uint", 8], 1792: ["complex", 16],
};

/** Size of the header: 348 or 540; 0 for bytes that are no NIfTI file. */
export function niftiHeader(bytes) {
  if (bytes.length < 348) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = [true, false].map((little) => view.getInt32(0, little)).find((n) => n === 348 || n === 540);
  const magic = size && new TextDecoder("latin1").decode(size === 348 ? bytes.subarray(344, 347) : bytes.subarray(4, 7));
  return /^n[i+][12]$/.test(magic) ? size : 0;
}

/** Volume in the bytes of a NIfTI file that is not compressed. */
export function readNifti(name, bytes) {
  const second = niftiHeader(bytes) === 540;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = view.getInt32(0, true) === (second ? 540 : 348);
  if (bytes[second ? 5 : 345] !== 0x2b)
    throw new Error("is half of a pair (.hdr and .img): save it as one file, .nii");
  const int16 = (at) => view.getInt16(at, little);
  const float = (at) => (second ? view.getFloat64(at, little) : view.getFloat32(at, little));
  const dimension = (k) => (second ? Number(view.getBigInt64(16 + 8 * k, little)) : int16(40 + 2 * k));
  const sizes = Array.from({ length: dimension(0) }, (_, k) => dimension(k + 1));
  const pixel = [1, 2].map((k) => Math.abs(float(second ? 104 + 8 * k : 76 + 4 * k)));
  const code = int16(second ? 12 : 70);
  const start = second ? Number(view.getBigInt64(168, little)) : Math.trunc(view.getFloat32(108, little));
  let [slope, shift] = second ? [float(176), float(184)] : [float(112), float(116)];
  if (code === 128 || code === 2304) throw new Error("holds RGB colours: save a map of numbers");
  if (!TYPES[code]) throw new Error(`holds numbers of NIfTI's type ${code}, which this page does not read: save float32`);
  if (!Number.isFinite(slope) || slope === 0) [slope, shift] = [1, 0];
  if (!Number.isFinite(shift)) throw new Error("its intercept is no number: write it again");
  const [columns, rows = 1, ...grid] = sizes;
  const count = grid.reduce((a, b) => a * b, 1);
  const [kind, size] = TYPES[code];
  const plain = slope === 1 && shift === 0;
  if (kind === "complex" && !plain) throw new Error("scales complex numbers: save their magnitude");
  const length = rows * columns * size;
  if (!(start >= 0) || bytes.length < start + count * length) throw new Error("is cut short: copy it again");
  const slice = (index) => {
    const from = start + index * length;
    const values = numbers(bytes.subarray(from, from + length), kind, size, !little, rows * columns);
    return Float32Array.from(values, (value) => value * slope + shift);
  };
  return volumeOf({ name, count, rows, columns, slice, rowsUp: true, pixel });
}
