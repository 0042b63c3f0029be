// The object in an image: the port of mriqf/metrics/foreground.py and mriqf/scoring/foreground.py.

import { fillHoles, gaussian, mirror } from "./numeric.js";
import { fromZero, normalise, percentileScale } from "./scale.js";

const SMOOTHING = 2; // pixels

/** Foreground of a normalised slice, 0 or 1: smoothed, thresholded, holes filled. */
export function foregroundMask(image, rows, columns, threshold) {
  if (threshold <= 0) return new Uint8Array(image.length).fill(1);
  const smooth = gaussian(image, rows, columns, SMOOTHING);
  return fillHoles(Uint8Array.from(smooth, (value) => value > threshold), rows, columns);
}

/** Object of an image in any unit: the foreground in a volume of this one slice; all of one value, none if empty. */
export function objectMask(image, rows, columns) {
  let scale;
  try {
    scale = fromZero(percentileScale([image]));
  } catch {
    return Uint8Array.from(image, (value) => value !== 0);
  }
  return foregroundMask(normalise(image, scale), rows, columns, scale.threshold);
}

/** First row, first column, rows and columns that are not exactly zero, at least `least` where there are as many. */
export function content(image, rows, columns, least) {
  const used = [new Uint8Array(rows), new Uint8Array(columns)];
  for (let i = 0; i < rows; i += 1)
    for (let j = 0; j < columns; j += 1) if (image[i * columns + j] !== 0) used[0][i] = used[1][j] = 1;
  const spans = used.map((line) => {
    const n = line.length;
    const first = line.indexOf(1);
    const [start, end] = first < 0 ? [0, n] : [first, line.lastIndexOf(1) + 1];
    const size = Math.max(end - start, Math.min(least, n));
    return [Math.min(Math.max(start - ((size - (end - start)) >> 1), 0), n - size), size];
  });
  return { top: spans[0][0], left: spans[1][0], height: spans[0][1], width: spans[1][1] };
}

/** Part of an image. */
export function part(image, columns, { top, left, height, width }) {
  const found = new image.constructor(height * width);
  for (let i = 0; i < height; i += 1) {
    const from = (top + i) * columns + left;
    found.set(image.subarray(from, from + width), i * width);
  }
  return found;
}

/** An image as large as a network sees at once, by reflection at its borders, which are no foreground. */
export function enlarge(image, inside, rows, columns, { leastSide, stride, smallest }) {
  if (Math.min(rows, columns) < Math.min(smallest, leastSide))
    throw new Error(`image is ${rows}×${columns}: smaller than ${smallest}×${smallest} pixels there is nothing to ` +
      "judge, give it a larger image (do not enlarge it by interpolation)");
  const lacking = [rows, columns].map((n) => Math.max(leastSide - n, 0));
  // Whole cells: they begin where the image does.
  const [top, left] = lacking.map((n) => Math.floor(Math.floor(n / 2) / stride) * stride);
  const [height, width] = [rows + lacking[0], columns + lacking[1]];
  const found = new Float32Array(height * width);
  const mask = new Uint8Array(height * width);
  for (let i = 0; i < height; i += 1)
    for (let j = 0; j < width; j += 1) {
      const [y, x] = [i - top, j - left];
      const at = mirror(y, rows, false) * columns + mirror(x, columns, false);
      found[i * width + j] = image[at];
      if (y >= 0 && y < rows && x >= 0 && x < columns) mask[i * width + j] = inside[at];
    }
  return { image: found, inside: mask, height, width, top, left };
}
