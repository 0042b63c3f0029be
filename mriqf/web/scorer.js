// Scores of a volume: resolution, scale, foreground, network, pooling and calibration, as mriqf/scoring has them.

import { describe, expect, weightedMean } from "./calibration.js";
import { content, enlarge, foregroundMask, part } from "./foreground.js";
import { WITHIN, compressionError, jpegTrace } from "./jpeg.js";
import { interpolate } from "./numeric.js";
import { onGrid, resolve, volumeSupport } from "./resolution.js";
import { normalise, volumeScale } from "./scale.js";

/**
 * Resolution, scale and earlier JPEG compression that all slices of a volume share.
 *
 * `parameters` are those that the page carries.
 */
export function prepare(volume, parameters) {
  const [rows, columns] = volumeSupport(volume);
  const seen = { ...volume, rows, columns };
  if (rows !== volume.rows || columns !== volume.columns)
    seen.slice = (index) => resolve(volume.slice(index), volume.rows, volume.columns, rows, columns);
  return { seen, scale: volumeScale(seen, parameters.zeroBased), trace: jpegTrace(volume) };
}

/**
 * Score of one slice.
 *
 * `network(image, rows, columns)` gives the outputs of the exported network by name. The result has the score (NaN
 * without foreground, null where it is refused), the error behind it, what is expected, and pictures on the grid of the
 * volume: `map`, 0-100, `foreground`, 0 or 1, and `image`, 0-1.
 */
export async function scoreSlice(volume, { seen, scale, trace }, index, network, parameters) {
  const raw = seen.slice(index);
  const box = content(raw, seen.rows, seen.columns, parameters.leastSide);
  const whole = normalise(raw, scale);
  const inner = part(whole, seen.columns, box);
  const foreground = foregroundMask(inner, box.height, box.width, scale.threshold);
  const large = enlarge(inner, foreground, box.height, box.width, parameters);
  const found = await network(large.image, large.height, large.width);
  const cells = { rows: Math.ceil(large.height / parameters.stride), columns: Math.ceil(large.width / parameters.stride) };
  const weight = cellWeight(large, cells, parameters.stride);

  const smaller = seen.rows !== volume.rows || seen.columns !== volume.columns;
  const toVolume = (picture, nearest) =>
    smaller ? onGrid(picture, seen.rows, seen.columns, volume.rows, volume.columns, nearest) : picture;
  const inside = toVolume(around(foreground, box, seen, false), true);
  const read = objectError(found.log_error, weight);
  const known = trace ? compressionError(volume.slice(index), volume.rows, volume.columns, trace, inside) : 0;
  const lacking = Math.max(known ** 2 - read ** 2, 0) || 0;
  const error = Math.sqrt(read ** 2 + lacking);
  const free = scoreOfError(error, parameters);
  const { calibration, refused } = parameters;
  let expected = null;
  if (calibration) {
    const features = describe(found.features, weight, inner, foreground);
    const width = found.width ? spread(Math.log10(read), found.width, parameters.levels) : null;
    expected = expect(calibration, free, features, width, refused);
    if (known && expected.nrmse) {
      const [middle, low, high] = expected.nrmse;
      expected.nrmse = [middle, Math.min(Math.max(low, known / WITHIN), middle), high];
    }
  }
  const unlike = expected !== null && expected.distance !== undefined && expected.reason !== "";
  const quality = lacking ? raised(found.log_error, lacking, parameters) : found.quality;
  const enlarged = upsampled(quality, cells, large.height, large.width, parameters.stride);
  const frame = { top: large.top, left: large.left, height: box.height, width: box.width };
  const pictures = {
    map: toVolume(around(part(enlarged, large.width, frame), box, seen, true), false),
    foreground: inside,
  };
  const image = smaller ? normalise(volume.slice(index), scale) : whole;
  const share = pictures.foreground.reduce((a, b) => a + b, 0) / image.length;
  const score = unlike ? null : Math.min(Math.max(free, 0), 100);
  return { index, score, error, expected, share, image, ...pictures };
}

/** Score, NRMSE and interval of a volume, from its slices. */
export function summary(slices) {
  const mean = (value) => weightedMean(slices.map((slice) => [value(slice), slice.share]));
  const nrmse = [0, 1, 2].map((k) => mean((slice) => slice.expected?.nrmse?.[k] ?? null));
  return { score: mean((slice) => slice.score), nrmse: Number.isNaN(nrmse[0]) ? null : nrmse };
}

/** Score of an error, not cut off. */
function scoreOfError(error, { best, doubling }) {
  return 100 - doubling * Math.log2(error / best);
}

/** Scores of cells with a further error, the square of which is given. */
function raised(logError, square, parameters) {
  const score = (log) => scoreOfError(Math.sqrt(10 ** (2 * log) + square), parameters);
  return Float32Array.from(logError, (log) => Math.min(Math.max(score(log), 0), 100));
}

/** Distances of the ends of an interval, in the logarithm (base e), from those before the levels. */
function spread(logError, [below, above], [knots, values]) {
  const read = rise(logError, values, knots);
  const ends = [logError - rise(read - below, knots, values), rise(read + above, knots, values) - logError];
  return ends.map((end) => end * Math.LN10);
}

/** The curve through some points, linear between them and of slope 1 beyond. */
function rise(x, knots, values) {
  const last = knots.length - 1;
  return interpolate(x, knots, values) + Math.min(x - knots[0], 0) + Math.max(x - knots[last], 0);
}

/** Root mean square error of the object; NaN if there is none. */
function objectError(logError, weight) {
  let [sum, total] = [0, 0];
  weight.forEach((share, k) => {
    sum += share * 10 ** (2 * Math.min(logError[k], 0));
    total += share;
  });
  return Math.sqrt(sum / total);
}

/** Share of each cell that is foreground. */
function cellWeight({ inside, height, width }, cells, stride) {
  const found = new Float64Array(cells.rows * cells.columns);
  for (let i = 0; i < height; i += 1)
    for (let j = 0; j < width; j += 1)
      if (inside[i * width + j])
        found[Math.floor(i / stride) * cells.columns + Math.floor(j / stride)] += 1 / stride ** 2;
  return found;
}

/** A map of cells at the image's size, bilinear between their centres. */
function upsampled(map, cells, height, width, stride) {
  const places = (n, count) =>
    Array.from({ length: n }, (_, k) => {
      const place = Math.max((k + 0.5) / stride - 0.5, 0);
      const low = Math.min(Math.floor(place), count - 1);
      return [low, Math.min(low + 1, count - 1), place - low];
    });
  const [down, across] = [places(height, cells.rows), places(width, cells.columns)];
  const found = new Float32Array(height * width);
  down.forEach(([top, bottom, below], i) =>
    across.forEach(([left, right, beside], j) => {
      const line = (at) => (1 - beside) * map[at * cells.columns + left] + beside * map[at * cells.columns + right];
      found[i * width + j] = (1 - below) * line(top) + below * line(bottom);
    }),
  );
  return found;
}

/** A part of a slice with what is around it: its own borders, or zero. */
function around(inner, box, { rows, columns }, edge) {
  const found = new inner.constructor(rows * columns);
  const inside = (k, first, size) => Math.min(Math.max(k - first, 0), size - 1);
  for (let i = 0; i < rows; i += 1)
    for (let j = 0; j < columns; j += 1) {
      const [y, x] = [inside(i, box.top, box.height), inside(j, box.left, box.width)];
      if (edge || (i - box.top === y && j - box.left === x)) found[i * columns + j] = inner[y * box.width + x];
    }
  return found;
}
