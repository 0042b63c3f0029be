// Traces of an earlier JPEG compression, and the error that it left: the port of mriqf/jpeg/lattice.py,
// mriqf/jpeg/quantisation.py and mriqf/scoring/compression.py, which say what the numbers are.

import { range, roundEven, spread } from "./numeric.js";

const BLOCK = 8;
const LUMA = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
  87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
  72, 92, 95, 98, 112, 100, 103, 99,
];
const [EVIDENCE, ROUNDING, OUTLIERS, FEW, MOST] = [250, 0.295, 0.02, 64, 512];
const [LOSSLESS, LEAST, TAIL_FACTOR] = [100, 16, 0.85];
const [FIRSTS, FALLS] = [60, 33];
export const WITHIN = 1.3;
const BASIS = Array.from({ length: BLOCK }, (_, k) =>
  Array.from({ length: BLOCK }, (_, n) => Math.sqrt((k ? 2 : 1) / BLOCK) * Math.cos((Math.PI * (2 * n + 1) * k) / 16)),
);

/** Quality and phase of the compression that a volume's pixels show, looked for in at most three slices, or null. */
export function jpegTrace(volume) {
  for (const index of spread(volume.count, 3)) {
    const raw = volume.slice(index);
    const found = greyLevels(raw);
    if (!found || Math.min(volume.rows, volume.columns) < LEAST) continue;
    const levels = Float64Array.from(raw, (value) => roundEven((value - found.low) / found.step) - 128);
    const { quality, phase, evidence } = estimate({ levels, rows: volume.rows, columns: volume.columns });
    if (evidence > EVIDENCE && quality < LOSSLESS) return { quality, phase };
  }
  return null;
}

/** Error that quantisation left in the object, expected from the image, relative to the object's root mean square. */
export function compressionError(raw, rows, columns, { quality, phase }, foreground) {
  const found = greyLevels(raw);
  let [square, size] = [0, 0];
  raw.forEach((value, k) => {
    square += foreground[k] ? value ** 2 : 0;
    size += foreground[k] ? 1 : 0;
  });
  if (!found || !(square > 0)) return 0;
  const levels = Float64Array.from(raw, (value) => (value - found.low) / found.step);
  const error = quantisationError({ levels, rows, columns }, quality, phase, foreground);
  const lost = error.reduce((sum, value, k) => sum + (foreground[k] ? value ** 2 : 0), 0);
  return found.step * Math.sqrt(lost / square);
}

/** Lowest value and step of at most 256 evenly spaced values, the largest of which may lie between two; or null. */
export function greyLevels(raw) {
  const seen = new Set();
  for (const value of raw) if (seen.add(value).size > 256) return null;
  const values = Float64Array.from(seen).sort();
  if (values.length < 2) return null;
  const found = even(values);
  if (found || values.length < 3) return found;
  const below = even(values.subarray(0, -1));
  return below && values.at(-1) - values.at(-2) < below.step ? below : null;
}

function even(values) {
  const extent = values.at(-1) - values[0];
  let least = Infinity;
  for (let k = 1; k < values.length; k += 1) least = Math.min(least, values[k] - values[k - 1]);
  const step = extent / roundEven(extent / least);
  const whole = values.every((value) => {
    const level = (value - values[0]) / step;
    return Math.abs(level - roundEven(level)) <= 0.01;
  });
  return whole && extent / step <= 255.5 ? { low: values[0], step } : null;
}

/** Most likely quality and phase of levels around 0, and the evidence for a lattice against none, in nats. */
function estimate(image) {
  const [low, high] = range(image.levels);
  let best = { evidence: -Infinity };
  for (const phase of likelyPhases(image)) {
    const { coefficients, clipped } = blocks(image, phase, (value) => value === low || value === high);
    const found = evidence(coefficients, clipped);
    const most = found.reduce((top, value, k) => (value > found[top] ? k : top), 0);
    if (found[most] > best.evidence) best = { quality: most + 1, phase, evidence: found[most] };
  }
  return best;
}

/** The three positions of the grid at which coefficients come closest to whole numbers. */
function likelyPhases({ levels, rows, columns }, side = 256) {
  const start = (m) => Math.floor(Math.max((m - side) >> 1, 0) / BLOCK) * BLOCK;
  const [top, left] = [start(rows), start(columns)];
  const [height, width] = [Math.min(rows - top, side + BLOCK), Math.min(columns - left, side + BLOCK)];
  const middle = new Float64Array(height * width);
  for (let i = 0; i < height; i += 1)
    for (let j = 0; j < width; j += 1) middle[i * width + j] = levels[(top + i) * columns + left + j];
  const found = [];
  for (let y = 0; y < BLOCK; y += 1)
    for (let x = 0; x < BLOCK; x += 1) {
      const { coefficients } = blocks({ levels: middle, rows: height, columns: width }, [y, x]);
      let [sum, n] = [0, 0];
      for (const block of coefficients) for (const value of block) [sum, n] = [sum + Math.cos(2 * Math.PI * value), n + 1];
      found.push({ phase: [y, x], wholeness: sum / n });
    }
  return found.sort((a, b) => a.wholeness - b.wholeness).slice(-3).map((one) => one.phase);
}

/** Orthonormal DCT of the whole blocks from a phase on, row by row, and which of them hold a pixel of a kind. */
function blocks({ levels, rows, columns }, [top, left], kind = () => false) {
  const [down, across] = [Math.floor((rows - top) / BLOCK), Math.floor((columns - left) / BLOCK)];
  const [coefficients, clipped] = [[], []];
  const half = new Float64Array(BLOCK * BLOCK);
  for (let i = 0; i < down; i += 1)
    for (let j = 0; j < across; j += 1) {
      const block = new Float64Array(BLOCK * BLOCK);
      let any = false;
      for (let y = 0; y < BLOCK; y += 1)
        for (let u = 0; u < BLOCK; u += 1) {
          const line = (top + i * BLOCK + y) * columns + left + j * BLOCK;
          let sum = 0;
          for (let x = 0; x < BLOCK; x += 1) sum += BASIS[u][x] * levels[line + x];
          half[y * BLOCK + u] = sum;
          any ||= kind(levels[line + u]);
        }
      for (let v = 0; v < BLOCK; v += 1)
        for (let u = 0; u < BLOCK; u += 1) {
          let sum = 0;
          for (let y = 0; y < BLOCK; y += 1) sum += BASIS[v][y] * half[y * BLOCK + u];
          block[v * BLOCK + u] = sum;
        }
      coefficients.push(block);
      clipped.push(any);
    }
  return { coefficients, clipped, down, across };
}

/** Log-likelihood ratio, in nats, of each quality 1–100 against no quantisation. */
function evidence(coefficients, clipped) {
  let kept = coefficients.filter((_, k) => !clipped[k]);
  if (kept.length < FEW) kept = coefficients;
  if (kept.length > MOST) {
    const energy = (block) => block.reduce((sum, value, k) => sum + (k ? Math.abs(value) : 0), 0);
    const ranked = kept.map((block) => [energy(block), block]).sort((a, b) => b[0] - a[0]);
    kept = ranked.slice(0, MOST).map(([, block]) => block);
  }
  const found = new Float64Array(100);
  for (let k = 1; k < BLOCK * BLOCK; k += 1) {
    const mean = kept.reduce((sum, block) => sum + Math.abs(block[k]), 0) / kept.length;
    const scale = Math.max(mean, ROUNDING * Math.sqrt(Math.PI / 2));
    for (let quality = 1; quality <= 100; quality += 1) {
      const step = tableStep(quality, k);
      const half = step / (2 * scale);
      const zero = Math.log(-Math.expm1(-half));
      const rest = Math.log(Math.sinh(Math.min(half, 300)));
      for (const block of kept) {
        const order = roundEven(block[k] / step);
        const free = -Math.abs(block[k]) / scale - Math.log(2 * scale);
        const mass = order === 0 ? zero : -Math.abs(order) * 2 * half + rest;
        const near = (block[k] - order * step) ** 2 / (2 * ROUNDING ** 2) + Math.log(ROUNDING * Math.sqrt(2 * Math.PI));
        found[quality - 1] += logSum(mass - near - free + Math.log1p(-OUTLIERS), Math.log(OUTLIERS));
      }
    }
  }
  return found;
}

function logSum(a, b) {
  return Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
}

/** Step of libjpeg's luma table at a quality. */
function tableStep(quality, k) {
  const scale = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
  return Math.min(Math.max(Math.floor((LUMA[k] * scale + 50) / 100), 1), 255);
}

/** Expected root mean square error of each block, at each of its pixels, in grey levels. */
export function quantisationError(image, quality, phase, inside) {
  const { coefficients, down, across } = blocks(image, phase);
  const step = Float64Array.from({ length: BLOCK * BLOCK }, (_, k) => tableStep(quality, k));
  const orders = coefficients.map((block) => block.map((value, k) => Math.abs(roundEven(value / step[k]))));
  const share = (k) => {
    const [i, j] = [phase[0] + BLOCK * Math.floor(k / across), phase[1] + BLOCK * (k % across)];
    let sum = 0;
    for (let y = 0; y < BLOCK; y += 1)
      for (let x = 0; x < BLOCK; x += 1) sum += inside[(i + y) * image.columns + j + x] ? 1 : 0;
    return sum / BLOCK ** 2;
  };
  const object = orders.filter((_, k) => share(k) > 0.5);
  const { zero, rest } = variances(object.length ? object : orders, step);
  const error = orders.map((order) => {
    let sum = step[0] ** 2 / 12;
    for (let k = 1; k < BLOCK * BLOCK; k += 1) sum += order[k] === 0 ? zero[k] : rest[k];
    return TAIL_FACTOR * Math.sqrt(sum / BLOCK ** 2);
  });
  const place = (n, first, count) => Math.floor(Math.min(Math.max(n - first, 0), BLOCK * count - 1) / BLOCK);
  return Float64Array.from({ length: image.rows * image.columns }, (_, k) => {
    const [i, j] = [Math.floor(k / image.columns), k % image.columns];
    return error[place(i, phase[0], down) * across + place(j, phase[1], across)];
  });
}

/** Variance of coefficients that were quantised to zero, and of others, around what they were quantised to. */
function variances(orders, step) {
  const size = BLOCK * BLOCK;
  const [zeros, total] = [new Float64Array(size), new Float64Array(size)];
  for (const order of orders)
    order.forEach((value, k) => {
      zeros[k] += value === 0 ? 1 : 0;
      total[k] += value;
    });
  const radius = Float64Array.from({ length: size }, (_, k) => Math.hypot(Math.floor(k / BLOCK), k % BLOCK));
  let best = { likelihood: -Infinity };
  for (let f = 0; f < FIRSTS; f += 1)
    for (let g = 0; g < FALLS; g += 1) {
      const [first, fall] = [10 ** (-1 + (4.3 * f) / (FIRSTS - 1)), (4 * g) / (FALLS - 1)];
      let likelihood = 0;
      for (let k = 1; k < size; k += 1) {
        const half = step[k] / (2 * first * radius[k] ** -fall);
        const rest = half < 20 ? Math.log(Math.sinh(half)) : half - Math.LN2;
        likelihood += zeros[k] * Math.log(-Math.expm1(-half)) + (orders.length - zeros[k]) * rest - 2 * half * total[k];
      }
      if (likelihood > best.likelihood) best = { likelihood, first, fall };
    }
  const [zero, rest] = [new Float64Array(size), new Float64Array(size)];
  for (let k = 1; k < size; k += 1) {
    const b = best.first * radius[k] ** -best.fall;
    const a = step[k] / (2 * b);
    const uniform = step[k] ** 2 / 12;
    if (a < 1e-2) [zero[k], rest[k]] = [uniform, uniform];
    else {
      zero[k] = (b ** 2 * (2 - (a ** 2 + 2 * a + 2) * Math.exp(-a))) / -Math.expm1(-a);
      const [up, below] = [a ** 2 - 2 * a + 2, (a ** 2 + 2 * a + 2) * Math.exp(-2 * a)];
      rest[k] = Math.min(Math.max((b ** 2 * (up - below)) / -Math.expm1(-2 * a), uniform), step[k] ** 2 / 4);
    }
  }
  return { zero, rest };
}
