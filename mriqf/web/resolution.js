// Resolution that an image was acquired at: the port of mriqf/scoring/resolution.py.

import { fourier, frequencies } from "./fourier.js";
import { objectMask } from "./foreground.js";
import { gaussian, range, roundEven, spread } from "./numeric.js";

// As in that module, which says what they are.
const [SLICES, DROP, WINDOW, SOFT, LEAST, FEWEST] = [9, 1.25, 5, 2, 0.25, 32];

/** Rows and columns of k-space that an image fills. */
export function support(image, rows, columns) {
  const least = [rows, columns].map((n) => Math.max(LEAST * n, FEWEST));
  let size = [rows, columns];
  for (let round = 0; round < 3; round += 1) {
    // An image that was interpolated twice has two rims.
    const found = once(cropped(image, rows, columns, ...size), ...size, least);
    if (found[0] === size[0] && found[1] === size[1]) break;
    size = found;
  }
  return size;
}

/** The same of a volume: the median of some of its slices'. */
export function volumeSupport(volume) {
  const found = [];
  for (const index of spread(volume.count, SLICES)) {
    const slice = volume.slice(index);
    const [low, high] = range(slice);
    if (high > low) found.push(support(slice, volume.rows, volume.columns));
  }
  if (!found.length) return [volume.rows, volume.columns];
  return [0, 1].map((axis) => found.map((size) => size[axis]).sort((a, b) => a - b)[found.length >> 1]);
}

/** The centre of an image's k-space alone; pixels that are exactly zero stay zero. */
export function resolve(image, rows, columns, height, width) {
  if (height === rows && width === columns) return image;
  const found = cropped(image, rows, columns, height, width);
  const nearest = (n, m) => Array.from({ length: m }, (_, k) => roundEven(Math.fround((k * n) / m)));
  const [down, across] = [nearest(rows, height), nearest(columns, width)];
  for (let i = 0; i < height; i += 1)
    for (let j = 0; j < width; j += 1)
      if (image[down[i] * columns + across[j]] === 0) found[i * width + j] = 0;
  return found;
}

/** A map at an image's own resolution, brought to the image's grid: bilinear, or the nearest pixel. */
export function onGrid(map, height, width, rows, columns, nearest = false) {
  const places = (n, m) =>
    Array.from({ length: n }, (_, k) => {
      const place = Math.min((k * m) / n, m - 1);
      const low = nearest ? roundEven(place) : Math.floor(place);
      return [low, nearest ? low : Math.min(low + 1, m - 1), nearest ? 0 : place - low];
    });
  const [down, across] = [places(rows, height), places(columns, width)];
  const found = new map.constructor(rows * columns);
  down.forEach(([top, bottom, below], i) =>
    across.forEach(([left, right, beside], j) => {
      const line = (at) => (1 - beside) * map[at * width + left] + beside * map[at * width + right];
      found[i * columns + j] = (1 - below) * line(top) + below * line(bottom);
    }),
  );
  return found;
}

function once(image, rows, columns, least) {
  // The background of a magnitude image fills all of k-space with noise, wherever the object's support ends. The edge
  // of the mask is smooth: one of boxes would have zeros of its own in k-space.
  const soft = gaussian(objectMask(image, rows, columns), rows, columns, SOFT);
  const [re, im] = fourier(soft.map((share, k) => share * image[k]), null, rows, columns);
  const power = re.map((value, k) => value * value + im[k] * im[k]);
  const most = Math.max(range(power)[1], 1e-300);
  const logs = power.map((value) => Math.log(value / most + 1e-14));
  const lines = [
    Array.from({ length: rows }, (_, i) => logs.subarray(i * columns, (i + 1) * columns)),
    Array.from({ length: columns }, (_, j) => Float64Array.from({ length: rows }, (_, i) => logs[i * columns + j])),
  ];
  return lines.map((all, axis) => {
    const low = frequencies(all[0].length).map((f) => Math.abs(f / all[0].length) < 0.25);
    // Where the other axis was interpolated, too, half of each line or more is empty from end to end.
    const middle = all.map((line) => line.filter((_, k) => low[k]));
    return Math.min(extent(all, least[axis], DROP), extent(middle, least[axis], 1.6 * DROP));
  });
}

/** Lines inside the sharpest fall of k-space's power towards an empty rim, or all of them. */
function extent(lines, least, drop) {
  const n = lines.length;
  const half = (n - 1) >> 1;
  if (half < least / 2 + 2 || half < 3 * WINDOW) return n;
  const means = lines.map((line) => line.reduce((a, b) => a + b, 0) / line.length);
  const points = lines.map((line) => quantile(line, 0.95));
  // Frequencies 1 to half, of either sign.
  const either = (values) => Array.from({ length: half }, (_, k) => [values[k + 1], values[n - 1 - k]]);
  const signs = either(means);
  const mean = signs.map(([a, b]) => (a + b) / 2);
  const high = either(points).map(([a, b]) => (a + b) / 2);
  const strongest = signs.map(([a, b]) => Math.max(a, b));
  for (let k = half - 2; k >= 0; k -= 1) strongest[k] = Math.max(strongest[k], strongest[k + 1]);

  const at = Array.from({ length: half - 3 - WINDOW }, (_, k) => WINDOW + 1 + k);
  const level = levels(mean, at);
  const levelHigh = levels(high, at);
  // Of shapes with few frequencies the last may stand out: no edge.
  const fall = level.map(({ inner, before, beyond }) => Math.min(inner, before) - beyond);
  let [most, best] = [0, 0];
  at.forEach((place, k) => {
    const { inner, before } = level[k];
    // Smooth images fall everywhere, but not more steeply in one place: the fall next to an edge does not count, nor
    // does one that goes on as it began.
    const edge = fall[k] - Math.max(fall[k - 2 * WINDOW] ?? 0, fall[k + 2 * WINDOW] ?? 0) > 0.8 * drop;
    const breaks = fall[k] - (Math.max(before - inner, 0) * (WINDOW + 2)) / WINDOW > drop / 2;
    // Undersampled images have an edge where their centre ends, but lines or points beyond it that are as strong.
    const empty =
      inner - strongest[place + 1] > 0.8 * drop && levelHigh[k].inner - levelHigh[k].beyond > drop / 2;
    if (edge && breaks && empty && place >= least / 2 && fall[k] > most) [most, best] = [fall[k], k];
  });
  if (most <= drop) return n;
  // Not a line that is empty: the last that is filled on both sides.
  const middle = (level[best].inner + level[best].beyond) / 2;
  const last = at[best];
  let filled = 0;
  while (filled < 5 && Math.min(...signs[last - 3 + filled]) > middle) filled += 1;
  return Math.max(2 * (last - 3 + filled) + 1, Math.trunc(least));
}

/** Means before frequencies, of the window before that, and behind them; one sample on either side is left out. */
function levels(profile, at) {
  const sums = [0];
  profile.forEach((value) => sums.push(sums[sums.length - 1] + value));
  return at.map((k) => {
    const first = Math.max(k - 1 - 2 * WINDOW, 0);
    const last = Math.min(k + 1 + WINDOW, profile.length);
    const start = k - 1 - WINDOW;
    const inner = (sums[k - 1] - sums[start]) / WINDOW;
    const before = first < start ? (sums[start] - sums[first]) / (start - first) : inner;
    return { inner, before, beyond: (sums[last] - sums[k + 1]) / (last - k - 1) };
  });
}

function quantile(line, share) {
  const sorted = Float64Array.from(line).sort();
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low] + (place - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}

/** The image with the centre of its k-space alone; its first pixel stays where it was. */
function cropped(image, rows, columns, height, width) {
  if (height === rows && width === columns) return image;
  const [re, im] = fourier(image, null, rows, columns);
  const [partRe, partIm] = [new Float64Array(height * width), new Float64Array(height * width)];
  const [down, across] = [frequencies(height), frequencies(width)];
  for (let i = 0; i < height; i += 1)
    for (let j = 0; j < width; j += 1) {
      const from = ((down[i] + rows) % rows) * columns + ((across[j] + columns) % columns);
      partRe[i * width + j] = re[from];
      partIm[i * width + j] = -im[from]; // the inverse is the conjugate of the transform of the conjugate
    }
  const [found] = fourier(partRe, partIm, height, width);
  return Float32Array.from(found, (value) => Math.max(value / (rows * columns), 0));
}
