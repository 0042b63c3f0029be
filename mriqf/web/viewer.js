// One slice, and its map as an overlay.

import { fixed, interval, isBelow, reason } from "./table.js";

const $ = (id) => document.getElementById(id);
let shown = null;

/** Show a volume, from its worst slice on; `colours` are those of the map from 0 to 100. */
export function show(volume, colours, cutOff) {
  shown = { volume, colours: colours.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))) };
  $("viewer").hidden = false;
  $("name").textContent = volume.name;
  const { resolved, rows, columns } = volume;
  const own = resolved[0] === rows && resolved[1] === columns;
  const facts = [
    `NRMSE to expect ${interval(volume.nrmse)}`,
    `score ${fixed(volume.score)}`,
    ...(isBelow(volume.score, cutOff) ? ["below the cut-off"] : []),
    `${volume.count} slice${volume.count > 1 ? "s" : ""} of ${rows}×${columns}`,
    ...(own ? [] : [`acquired at ${resolved.join("×")}`]),
    ...volume.notes,
    `${fixed(volume.seconds, 2)} s a slice`,
  ];
  $("facts").textContent = facts.join(" · ");
  const scores = volume.slices.map(({ score }) => (score === null || Number.isNaN(score) ? Infinity : score));
  $("slice").max = volume.count - 1;
  $("slice").value = scores.indexOf(Math.min(...scores));
  $("slice").disabled = volume.count < 2;
  draw();
}

/** Draw the slice that the control names. */
export function draw() {
  if (!shown) return;
  const { volume, colours } = shown;
  const { rows, columns, rowsUp } = volume;
  const slice = volume.slices[Number($("slice").value)];
  const pixels = [new ImageData(columns, rows), new ImageData(columns, rows)];
  for (let i = 0; i < rows; i += 1)
    for (let j = 0; j < columns; j += 1) {
      const from = (rowsUp ? rows - 1 - i : i) * columns + j;
      const to = 4 * (i * columns + j);
      const grey = slice.image[from];
      pixels[0].data.set([grey, grey, grey, 255], to);
      const colour = colours[Math.round((slice.map[from] / 255) * (colours.length - 1))];
      pixels[1].data.set([...colour, slice.foreground[from] && slice.score !== null ? 255 : 0], to);
    }
  for (const [k, id] of ["image", "map"].entries()) {
    Object.assign($(id), { width: columns, height: rows });
    $(id).getContext("2d").putImageData(pixels[k], 0, 0);
  }
  const why = reason(slice);
  const found = why ? [why] : [`score ${fixed(slice.score)}`, `NRMSE to expect ${interval(slice.expected?.nrmse)}`];
  const range = volume.count > 1 ? ` of 0 to ${volume.count - 1}` : "";
  $("caption").textContent = [`Slice ${slice.index}${range}`, ...found].join(" · ");
  $("image").setAttribute("aria-label", $("caption").textContent);
}

/** Opacity of the map: what the control says. */
export function veil() {
  $("map").style.setProperty("opacity", String(Number($("opacity").value) / 100));
}
