// Numbers in words, and the table of all slices as CSV: the columns of mriqf score.

export const fixed = (value, digits = 1) =>
  value === null || Number.isNaN(value) ? "–" : value.toFixed(digits).replace("-", "−");

/** NRMSE with its interval in per cent, with a decimal below 5 %. */
export function interval(nrmse) {
  if (!nrmse) return "–";
  const [value, low, high] = nrmse.map((share) => (100 * share).toFixed(nrmse[0] >= 0.05 ? 0 : 1));
  return `${value} % [${low}–${high}]`;
}

/** Why a slice has no number; empty if it has one. */
export function reason(slice) {
  if (slice.expected?.reason) return slice.expected.reason;
  return Number.isNaN(slice.score) ? "no foreground" : "";
}

/** Whether a score lies below the cut-off; not known without either. */
export const isBelow = (score, cutOff) => Boolean(cutOff) && Number.isFinite(score) && score < cutOff.score;

const COLUMNS = [
  "input", "slice", "nrmse", "nrmse_low", "nrmse_high", "score", "unit", "resolved", "resolution", "pool", "weights",
  "foreground_fraction", "foreground", "axis", "low", "high", "threshold", "distance", "domain", "cut_off", "limit",
  "version", "note",
];

/** All slices of volumes as CSV. */
export function csv(volumes, parameters) {
  const { unit, pool, weights, version, calibration, cutOff } = parameters;
  const lines = [COLUMNS];
  for (const { name, rows, columns, resolved, scale, notes, slices } of volumes) {
    const [height, width] = resolved;
    const own = height === rows && width === columns ? `${height}×${width}` : `${height}×${width} of ${rows}×${columns}`;
    for (const slice of slices)
      lines.push([
        name, slice.index, ...(slice.expected?.nrmse ?? ["", "", ""]), slice.score ?? "", unit, own, "own", pool,
        weights, slice.share, "automatic", "slice", scale.low, scale.high, scale.threshold,
        slice.expected?.distance ?? "", calibration ? reason(slice) || "ok" : "", cutOff?.score ?? "",
        cutOff?.limit ?? "", version, notes.join("; "),
      ]);
  }
  return lines.map((line) => line.map(cell).join(",") + "\r\n").join("");
}

function cell(value) {
  let text = Number.isNaN(value) ? "nan" : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `./${text}`; // a spreadsheet would take it for a formula
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
