// From a score to the error to be expected: the port of mriqf/calibration.

import { interpolate, percentiles } from "./numeric.js";

/** Out-of-distribution features of an image, `k + 7` numbers; null without foreground. */
export function describe(features, weight, image, foreground) {
  const total = weight.reduce((a, b) => a + b, 0);
  const inside = image.filter((_, k) => foreground[k]);
  if (!inside.length || total === 0) return null;
  const cells = weight.length;
  const means = Array.from({ length: features.length / cells }, (_, k) => {
    let sum = 0;
    for (let c = 0; c < cells; c += 1) sum += features[k * cells + c] * weight[c];
    return sum / total;
  });
  const values = percentiles(Float64Array.from(inside), [5, 25, 50, 75, 95]);
  const around = image.filter((_, k) => !foreground[k]);
  const outside = around.length ? around.reduce((a, b) => a + b, 0) / around.length : 0;
  return [...means, inside.length / image.length, ...values, outside];
}

/** Mahalanobis distance over the threshold: out of distribution above 1. */
export function distance({ mean, whitener }, features) {
  const away = features.map((value, k) => value - mean[k]);
  let sum = 0;
  for (let j = 0; j < mean.length; j += 1) {
    let along = 0;
    for (let k = 0; k < mean.length; k += 1) along += away[k] * whitener[k][j];
    sum += along * along;
  }
  return Math.sqrt(sum / mean.length);
}

/** The figure of a band, and the ends of its interval: see `mriqf.calibration.curve.Band`. */
function figure({ knots, values, grid, spread, low, high }, score, width, wider) {
  const centre = interpolate(score, knots, values);
  let [below, above] = width ?? [NaN, NaN];
  if (grid.length) below = above = interpolate(score, grid, spread);
  const at = (shift) => Math.exp(centre + shift);
  return [at(0), at(wider * low * below), at(wider * high * above)];
}

/** NRMSE expected of one slice, with its interval; or the reason why there is none. `score` is not cut off. */
export function expect(calibration, score, features, width, refused) {
  if (!features || Number.isNaN(score)) return { nrmse: null, reason: "no foreground" };
  const far = distance(calibration.domain, features);
  if (far > refused)
    return { nrmse: null, distance: far, reason: `unlike calibration (distance ${far.toFixed(2)} > ${refused})` };
  return { nrmse: figure(calibration.nrmse, score, width, Math.max(far, 1)), distance: far, reason: "" };
}

/** Mean of values, weighted; values that are null or NaN do not count, NaN if there is no other. */
export function weightedMean(pairs) {
  const kept = pairs.filter(([value]) => value !== null && !Number.isNaN(value));
  const total = kept.reduce((sum, [, weight]) => sum + weight, 0);
  return total ? kept.reduce((sum, [value, weight]) => sum + value * weight, 0) / total : NaN;
}
