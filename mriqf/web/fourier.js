// Fourier transform of lines of any length and of images, in double precision.

const plans = new Map();

/** Factors of a length, and its roots of unity. */
function plan(n) {
  if (!plans.has(n)) {
    const factors = [];
    let rest = n;
    for (let p = 2; rest > 1; p += 1)
      while (rest % p === 0) {
        factors.push(p);
        rest /= p;
      }
    const angle = (k) => (-2 * Math.PI * k) / n;
    plans.set(n, {
      factors,
      cosine: Float64Array.from({ length: n }, (_, k) => Math.cos(angle(k))),
      sine: Float64Array.from({ length: n }, (_, k) => Math.sin(angle(k))),
    });
  }
  return plans.get(n);
}

/** Transform of a complex line, unscaled: real and imaginary part. The arrays given are used up. */
export function fourierLine(real, imaginary) {
  const n = real.length;
  const { factors, cosine, sine } = plan(n);
  let [xr, xi, yr, yi] = [real, imaginary, new Float64Array(n), new Float64Array(n)];
  let [size, step] = [n, 1]; // of the transforms that are left, and how many of them lie side by side
  for (const p of factors) {
    const m = size / p;
    for (let k = 0; k < m; k += 1)
      for (let t = 0; t < p; t += 1) {
        // Roots of unity: of the p values that are summed up, and of what the sum is turned by.
        const turn = ((k * t) % size) * (n / size);
        const [cr, ci] = [cosine[turn], sine[turn]];
        for (let q = 0; q < step; q += 1) {
          let from = q + step * k;
          let [sr, si] = [xr[from], xi[from]];
          for (let j = 1; j < p; j += 1) {
            from += step * m;
            const root = ((j * t) % p) * (n / p);
            const [wr, wi] = [cosine[root], sine[root]];
            sr += xr[from] * wr - xi[from] * wi;
            si += xr[from] * wi + xi[from] * wr;
          }
          const to = q + step * (p * k + t);
          yr[to] = sr * cr - si * ci;
          yi[to] = sr * ci + si * cr;
        }
      }
    [xr, xi, yr, yi] = [yr, yi, xr, xi];
    [size, step] = [m, step * p];
  }
  return [xr, xi];
}

/** Transform of an image, unscaled; `imaginary` may be null. Gives new arrays. */
export function fourier(real, imaginary, rows, columns) {
  const re = Float64Array.from(real);
  const im = imaginary ? Float64Array.from(imaginary) : new Float64Array(re.length);
  for (let i = 0; i < rows; i += 1) {
    const [a, b] = [i * columns, (i + 1) * columns];
    const [r, s] = fourierLine(re.slice(a, b), im.slice(a, b));
    re.set(r, a);
    im.set(s, a);
  }
  for (let j = 0; j < columns; j += 1) {
    const pick = (x) => Float64Array.from({ length: rows }, (_, i) => x[i * columns + j]);
    const [r, s] = fourierLine(pick(re), pick(im));
    for (let i = 0; i < rows; i += 1) {
      re[i * columns + j] = r[i];
      im[i * columns + j] = s[i];
    }
  }
  return [re, im];
}

/** Frequency of each sample of a line of k-space, in cycles per field of view: 0, 1, …, -1. */
export function frequencies(n) {
  return Array.from({ length: n }, (_, k) => (k < (n + 1) >> 1 ? k : k - n));
}
