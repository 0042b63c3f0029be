"""The worst failures: images whose error the first weights expect most wrongly, with map and true error."""

import itertools
from pathlib import Path

import numpy as np

from mriqf.io import atomic_path
from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.inputs import Subject
from mriqf.studies._frame.table import Columns, read_table
from mriqf.studies.benchmark import cases
from mriqf.studies.benchmark.absolute import error_rows, predictions
from mriqf.studies.benchmark.evidence import metric_names, prepare
from mriqf.studies.benchmark.measure import seed_of
from mriqf.studies.benchmark.metrics import Metrics
from mriqf.studies.benchmark.plan import KEY, BenchmarkConfig, Data
from mriqf.studies.jpeg_report.acceleration.measure import find_methods, reconstruct

SHOWN = 4
"""Images with the error most underestimated, and as many with it most overestimated."""
FLOOR = 0.01
"""NRMSE below which the ratio of errors does not matter."""
FILE = "failures.npz"


def worst(table: Columns) -> list[tuple[dict, float, float]]:
    """Keys, true and expected NRMSE of the rows with the most extreme ratio of both.

    The worst underestimates come first, then the worst overestimates; of one subject and family or method only one.
    """
    prepared = prepare(table)
    rows, expected = error_rows(prepared), predictions(prepared)
    first = metric_names(prepared)[0]
    if first not in expected:
        return []
    predicted = expected[first].nrmse
    ratio = np.log(np.maximum(rows["nrmse"], FLOOR) / np.maximum(predicted, FLOOR))
    known = np.flatnonzero(np.isfinite(ratio))
    failures = []
    for order, sign in (
        (known[np.argsort(-ratio[known], kind="stable")], 1),
        (known[np.argsort(ratio[known], kind="stable")], -1),
    ):
        seen = set()
        for k in order:
            kind = (rows["dataset"][k], rows["subject"][k], rows["family"][k], rows["method"][k])
            if sign * ratio[k] > 0 and kind not in seen and len(seen) < SHOWN:
                seen.add(kind)
                key = {name: rows[name][k].item() for name in KEY}
                failures.append((key, float(rows["nrmse"][k]), float(predicted[k])))
    return failures


def keep_failures(
    folder: Path, data: Data, config: BenchmarkConfig, metrics: Metrics, images: Path | None = None
) -> None:
    """Recompute the images of the worst failures in a folder's table, and store them beside it.

    Parameters
    ----------
    folder
        Folder of the study.
    data, config, metrics, images
        Inputs and settings of the run.
    """
    kept: dict[str, np.ndarray] = {}
    for number, (key, nrmse, expected) in enumerate(worst(read_table(folder / "rows.csv"))):
        subject = next(s for s in data.test if (s.dataset, s.name) == (key["dataset"], key["subject"]))
        case = _case(key, subject, config, images)
        values = metrics.apply(case.image)
        text = f"{key['method'] or key['family']}, {subject.name}/{int(key['slice'])}\n"
        text += f"level {key['level']:.2g}" if key["part"] == "degraded" else f"{key['family']}, R = {key['level']:g}"
        kept |= {
            f"{number}/caption": np.array(f"{text}\nNRMSE {nrmse:.3f}, expected {expected:.3f}"),
            f"{number}/image": values.first.image[0].astype(np.float16),
            f"{number}/map": np.where(case.inside, next(iter(values.errors.values())), 0).astype(np.float16),
            f"{number}/error": np.maximum(case.error, 0).astype(np.float16),
        }
    with atomic_path(folder / FILE, force=True) as temporary:
        np.savez_compressed(temporary, **kept)  # pyright: ignore[reportArgumentType]


def _case(key: dict, subject: Subject, config: BenchmarkConfig, images: Path | None) -> cases.Case:
    """Recompute the image of a row."""
    index = int(key["slice"])
    if key["part"] == "degraded":
        levels = np.arange(config.levels) / (config.levels - 1)
        level = float(levels[np.abs(levels - key["level"]).argmin()])  # the table rounds it
        seed = seed_of(subject.dataset, subject.name, index, key["family"])
        return cases.degraded(cases.magnitude(subject, index), key["family"], level, seed)
    recon = config.reconstruction
    setting = (key["family"], int(key["level"]), int(key["seed"]))
    solved = reconstruct(subject, index, *setting, recon, find_methods(recon), images)
    return cases.reconstructed(solved)[key["method"]]


def draw_failures(table: Columns, path: Path) -> None:  # noqa: ARG001 (one signature for all figures)
    """Image, map and true error of each, from the file beside the table."""
    file = path.parent / FILE
    kept = {}
    if file.exists():
        with np.load(file, allow_pickle=False) as archive:
            kept = dict(archive)
    count = len({name.split("/")[0] for name in kept})
    figure = new_figure(max(2.1 * count + 0.8, 6), 7.2)
    if not count:
        figure.suptitle("No image whose error was expected, and known, was kept")
        figure.savefig(path, dpi=110, format="png")
        return
    axes = figure.subplots(3, count, squeeze=False)
    shown = None
    for k, (row, name) in itertools.product(range(count), enumerate(("image", "map", "error"))):
        axis, picture = axes[row, k], kept[f"{k}/{name}"].astype(float)
        axis.set_xticks([])
        axis.set_yticks([])
        if name == "image":
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axis.set_title(str(kept[f"{k}/caption"]), fontsize=7.5)
        else:
            top = max(float(np.percentile(kept[f"{k}/{n}"].astype(float), 99.5)) for n in ("map", "error"))
            shown = axis.imshow(picture, cmap="magma", vmin=0, vmax=max(top, 1e-3))
            if name == "error":
                figure.colorbar(shown, ax=axes[1:, k], location="bottom", shrink=0.9).ax.tick_params(labelsize=7)
    for axis, title in zip(axes[:, 0], ("image", "expected local error", "true local error"), strict=True):
        axis.set_ylabel(title)
    figure.suptitle(
        "Expected too small (left) and too large (right); local error relative to the object's RMS", fontsize=10
    )
    figure.savefig(path, dpi=110, format="png")
