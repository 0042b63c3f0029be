// Percentiles, histograms, filters and curves, with the conventions of NumPy and SciPy.

/** Round to the nearest whole number, halves to the even one. */
export function roundEven(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/** Values at percentiles, linear between samples. Sorts `values`, a typed array, in place. */
export function percentiles(values, shares) {
  values.sort();
  return shares.map((share) => {
    const place = (share / 100) * (values.length - 1);
    const low = Math.floor(place);
    const [a, b] = [values[low], values[Math.min(low + 1, values.length - 1)]];
    return a + (b - a) * (place - low);
  });
}

/** At most `n` of the numbers below `length`, evenly spaced. */
export function spread(length, n) {
  const count = Math.min(length, n);
  const chosen = Array.from({ length: count }, (_, k) => roundEven(count > 1 ? (k * (length - 1)) / (count - 1) : 0));
  return [...new Set(chosen)];
}

/** Otsu's threshold, doi:10.1109/TSMC.1979.4310076; amid a gap that no value lies in. */
export function otsu(values, low, high, bins = 256) {
  const edges = Array.from({ length: bins + 1 }, (_, k) => low + ((high - low) * k) / bins);
  edges[bins] = high;
  const centres = Array.from({ length: bins }, (_, k) => (edges[k] + edges[k + 1]) / 2);
  const counts = new Float64Array(bins);
  for (const value of values) {
    if (value < low || value > high) continue;
    let bin = Math.min(Math.floor(((value - low) / (high - low)) * bins), bins - 1);
    if (value < edges[bin]) bin -= 1;
    else if (value >= edges[bin + 1] && bin < bins - 1) bin += 1;
    counts[bin] += 1;
  }
  const weighted = counts.map((count, k) => count * centres[k]);
  const [below, sumBelow] = [accumulated(counts), accumulated(weighted)];
  const [above, sumAbove] = [counts, weighted].map((values) => accumulated(values.slice().reverse()).reverse());
  let [most, first, last] = [-1, 0, 0];
  for (let k = 0; k < bins - 1; k += 1) {
    const apart = sumBelow[k] / Math.max(below[k], 1) - sumAbove[k + 1] / Math.max(above[k + 1], 1);
    const between = below[k] * above[k + 1] * apart ** 2;
    if (between > most) [most, first, last] = [between, k, k];
    else if (between === most) last = k;
  }
  return edges[1 + ((first + last) >> 1)];
}

function accumulated(values) {
  let sum = 0;
  return values.map((value) => (sum += value));
}

/** Gaussian filter of an image, cut off at four sigma, mirrored at the borders. */
export function gaussian(image, rows, columns, sigma) {
  const radius = Math.floor(4 * sigma + 0.5);
  const weights = Array.from({ length: 2 * radius + 1 }, (_, k) => Math.exp((-0.5 * (k - radius) ** 2) / sigma ** 2));
  const total = weights.reduce((a, b) => a + b);
  const kernel = Float64Array.from(weights, (w) => w / total);
  const between = new Float64Array(image.length);
  const found = new Float64Array(image.length);
  const mirrored = (length) =>
    Int32Array.from({ length: length + 2 * radius }, (_, k) => mirror(k - radius, length, true));
  const [above, beside] = [mirrored(rows), mirrored(columns)];
  for (let i = 0; i < rows; i += 1)
    for (let t = 0; t <= 2 * radius; t += 1) {
      const [from, to, weight] = [above[i + t] * columns, i * columns, kernel[t]];
      for (let j = 0; j < columns; j += 1) between[to + j] += weight * image[from + j];
    }
  for (let i = 0; i < rows; i += 1)
    for (let j = 0; j < columns; j += 1) {
      let sum = 0;
      for (let t = 0; t <= 2 * radius; t += 1) sum += kernel[t] * between[i * columns + beside[j + t]];
      found[i * columns + j] = sum;
    }
  return found;
}

/** Place inside a line that a place outside of it mirrors; with `edge`, the last sample is repeated. */
export function mirror(place, length, edge) {
  if (length === 1) return 0;
  const period = 2 * (edge ? length : length - 1);
  const k = ((place % period) + period) % period;
  return k < length ? k : period - k - (edge ? 1 : 0);
}

/** A mask, 0 or 1, with all filled that cannot be reached from the border by steps to the four neighbours. */
export function fillHoles(mask, rows, columns) {
  const found = new Uint8Array(mask.length).fill(1);
  const open = [];
  const visit = (at) => {
    if (!mask[at] && found[at]) {
      found[at] = 0;
      open.push(at);
    }
  };
  for (let i = 0; i < rows; i += 1) [0, columns - 1].forEach((j) => visit(i * columns + j));
  for (let j = 0; j < columns; j += 1) [0, rows - 1].forEach((i) => visit(i * columns + j));
  while (open.length) {
    const at = open.pop();
    const j = at % columns;
    if (j > 0) visit(at - 1);
    if (j < columns - 1) visit(at + 1);
    if (at >= columns) visit(at - columns);
    if (at < mask.length - columns) visit(at + columns);
  }
  return found;
}

/** Linear between knots, constant beyond. */
export function interpolate(x, knots, values) {
  const last = knots.length - 1;
  if (x <= knots[0]) return values[0];
  if (x >= knots[last]) return values[last];
  let [low, high] = [0, last];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (knots[middle] <= x) low = middle;
    else high = middle;
  }
  return values[low] + ((values[high] - values[low]) * (x - knots[low])) / (knots[high] - knots[low]);
}

/** Least and greatest of many values. */
export function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
