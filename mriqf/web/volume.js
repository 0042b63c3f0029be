// A stack of slices: {name, count, rows, columns, slice(index) -> Float32Array, rowsUp, pixel}.

/** A volume, whose slices are checked as they are read. */
export function volumeOf({ name, count, rows, columns, slice, rowsUp = false, pixel = null, position = null }) {
  if (!(Math.min(count, rows, columns) >= 1))
    throw new Error(`holds no pixels (${count} slices of ${rows}×${columns}): export it again`);
  const checked = (index) => {
    const found = slice(index);
    if (!found.every(Number.isFinite))
      throw new Error(`slice ${index} holds NaN or infinite values: replace them first, e.g. by numpy.nan_to_num`);
    return found;
  };
  return { name, count, rows, columns, slice: checked, rowsUp, pixel, position };
}

/**
 * Numbers in bytes, as an array of doubles; complex ones as their magnitude.
 *
 * `kind` is int, uint, float or complex, `size` the bytes of a number.
 */
export function numbers(bytes, kind, size, bigEndian, count) {
  if (bytes.length < count * size) throw new Error("is cut short: copy it again");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = !bigEndian;
  const readers = {
    int1: (at) => view.getInt8(at),
    uint1: (at) => view.getUint8(at),
    int2: (at) => view.getInt16(at, little),
    uint2: (at) => view.getUint16(at, little),
    int4: (at) => view.getInt32(at, little),
    uint4: (at) => view.getUint32(at, little),
    int8: (at) => Number(view.getBigInt64(at, little)),
    uint8: (at) => Number(view.getBigUint64(at, little)),
    float2: (at) => half(view.getUint16(at, little)),
    float4: (at) => view.getFloat32(at, little),
    float8: (at) => view.getFloat64(at, little),
    complex8: (at) => Math.hypot(view.getFloat32(at, little), view.getFloat32(at + 4, little)),
    complex16: (at) => Math.hypot(view.getFloat64(at, little), view.getFloat64(at + 8, little)),
  };
  const read = readers[kind + size];
  if (!read) throw new Error(`holds ${kind}s of ${8 * size} bits, which this page does not read: save it as float32`);
  const found = new Float64Array(count);
  for (let k = 0; k < count; k += 1) found[k] = read(k * size);
  return found;
}

/** A number of 16 bits in floating point. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Bytes unpacked by the browser: "gzip", or "deflate" as PNG has it. */
export async function unpacked(bytes, format) {
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    throw new Error("cannot be unpacked: it is cut short or damaged, copy it again");
  }
}
