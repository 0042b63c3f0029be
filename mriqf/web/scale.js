// Intensity scale of a volume: the port of mriqf/scoring/scale.py and of intensity_range in mriqf/metrics/foreground.py.

import { otsu, percentiles, range, spread } from "./numeric.js";

// As in that module, which says what they are.
const [SAMPLED_SLICES, SAMPLED_PIXELS, OTSU_SHARE, PERCENTAGES] = [32, 2 ** 25, 0.25, [1, 99.9]];

/** Raw values of 0 and 1, and the threshold of the foreground, from some slices of a volume. */
export function volumeScale(volume, zeroBased) {
  const most = Math.max(1, Math.min(SAMPLED_SLICES, Math.floor(SAMPLED_PIXELS / (volume.rows * volume.columns))));
  const parts = spread(volume.count, most).map((index) => volume.slice(index));
  const scale = percentileScale(parts);
  return zeroBased ? fromZero(scale) : scale;
}

/** Scale from some slices; a black canvas around the object, or a defaced region, changes nothing. */
export function percentileScale(parts) {
  const lit = parts.map((part) => part.filter((value) => value !== 0));
  const values = new Float64Array(lit.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of lit) {
    values.set(part, at);
    at += part.length;
  }
  if (!values.length) throw new Error("image is empty (all zero): nothing to score");
  let [low, high] = percentiles(values, PERCENTAGES);
  if (!(high > low)) {
    // One value, but for a few pixels: a mask, say.
    [low, high] = range(parts.map(range).flat());
    if (!(high > low)) throw new Error(`image is constant (${high} everywhere): nothing to score`);
  }
  const single = Math.fround; // as the samples have it
  const [bottom, width] = [single(low), single(high - low)];
  const unit = values.map((value) => Math.min(Math.max(single(single(value - bottom) / width), 0), 1));
  return { low, high, threshold: OTSU_SHARE * otsu(unit, 0, 1) };
}

/** The same top and foreground, with raw zero at 0; the scale itself where raw values lie below zero. */
export function fromZero({ low, high, threshold }) {
  if (low <= 0) return { low, high, threshold };
  return { low: 0, high, threshold: (low + threshold * (high - low)) / high };
}

/** Raw units to [0, 1]; what lies outside is clipped. */
export function normalise(raw, { low, high }) {
  return Float32Array.from(raw, (value) => Math.min(Math.max((value - low) / (high - low), 0), 1));
}
