// NumPy files: (h, w), (s, h, w) or (s, 1, h, w), real or complex.

import { numbers, volumeOf } from "./volume.js";

/** Volume in the bytes of a .npy file. */
export function readNumpy(name, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const long = bytes[6] > 1;
  const start = long ? 12 : 10;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const type = /'descr': *'([<>|=])([a-z])(\d+)'/.exec(header);
  const shape = /'shape': *\(([\d, ]*)\)/.exec(header);
  if (!type || !shape) throw new Error("is a pickle or a table: save the plain array of numbers with numpy.save");
  const sizes = shape[1].split(",").filter((text) => text.trim()).map(Number);
  const kind = { b: "uint", u: "uint", i: "int", f: "float", c: "complex" }[type[2]];
  if (!kind) throw new Error(`holds ${type[2]}${type[3]}, not numbers: save the image as float32`);
  const fortran = /'fortran_order': *True/.test(header);
  const fits = sizes.length === 2 || sizes.length === 3 || (sizes.length === 4 && sizes[1] === 1);
  const colours = sizes.length === 3 && sizes[2] === 3 && type[2] === "u" && type[3] === "1";
  if (!fits || colours)
    throw new Error(`shape (${sizes.join(", ")}) is no stack of grey images: save (h, w), (s, h, w) or (s, 1, h, w)`);
  const [rows, columns] = sizes.slice(-2);
  const count = sizes.length > 2 ? sizes[0] : 1;
  const values = numbers(bytes.subarray(start + length), kind, Number(type[3]), type[1] === ">", count * rows * columns);
  const slice = (index) => {
    if (!fortran) return Float32Array.from(values.subarray(index * rows * columns, (index + 1) * rows * columns));
    const found = new Float32Array(rows * columns);
    for (let i = 0; i < rows; i += 1)
      for (let j = 0; j < columns; j += 1) found[i * columns + j] = values[index + count * (i + rows * j)];
    return found;
  };
  return volumeOf({ name, count, rows, columns, slice });
}
