"""Mean scores of whole data sets, and their order.

References
----------
Cui, Reference-Free Image Quality Metric for Degradation and Reconstruction Artifacts, UCB/EECS-2023-130, 2023,
section 5.1 and table 1 (also doi:10.48550/arXiv.2405.02208).
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from mriqf.cli import Flat
from mriqf.io import Volume
from mriqf.scoring.scorer import Scorer, check_channels
from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.inputs import Inputs, read_inputs
from mriqf.studies._frame.reporting import Claim, claims_table, markdown_table
from mriqf.studies._frame.statistics import bootstrap, group_rows
from mriqf.studies._frame.study import Drawing, Measurements, SplitOptions, Study
from mriqf.studies._frame.table import Columns, Table, Task, Value
from mriqf.training.manifest import content_hash
from mriqf.weights import config_dict, find

KEY = ("dataset", "subject", "slice", "weights")
COLUMNS = ("score", "network", "lattice", "jpeg")
REPORTED = (("LIVE", 78.00, 5.4), ("Flickr1024", 95.18, 4.3), ("ImageNet", 97.05, 1.7))
"""The report's table 1, in points."""
RESOLUTION = 0.1
"""Points; scoring in half precision moves a score by as much. A smaller difference counts as none."""


@dataclass(frozen=True)
class DatasetConfig:
    """Images and weights of the study."""

    gray_weights: str = "qf-gray"
    """Name or path of the predictor for grey images."""
    rgb_weights: str = "qf-rgb"
    """Name or path of the predictor for RGB images."""
    slices: int = 3
    """Slices of each volume, evenly spaced."""
    most: int | None = None
    """Subjects of a data set, evenly spaced; all if not given."""


def metadata(inputs: Inputs, config: DatasetConfig) -> dict[str, Any]:
    """Metadata that identify a table of this study."""
    weights = {name: content_hash(find(name)) for name in (config.gray_weights, config.rgb_weights)}
    return {"study": "dataset", "config": config_dict(config), "data": inputs.hashes, "weights": weights}


def tasks(inputs: Inputs, config: DatasetConfig, report: Callable[[str], None]) -> list[Task]:
    """Task for each subject: scores of its slices as by `mriqf score`, and without the search for a JPEG lattice.

    Parameters
    ----------
    report
        Gets a line on each subject that cannot be scored; its rows are left without numbers.
    """
    scorers = {1: Scorer(config.gray_weights, calibration=None), 3: Scorer(config.rgb_weights, calibration=None)}
    for channels, scorer in scorers.items():
        check_channels(channels, scorer.predictor)
    pending = []
    for subject in inputs.subjects:
        volume = subject.data
        if not isinstance(volume, Volume):
            raise ValueError(f"{subject.name} is raw data: reconstruct it first")
        scorer, indices = scorers[volume.channels], subject.slices(config.slices)
        keys = tuple((subject.dataset, subject.name, index, scorer.predictor.name) for index in indices)
        pending.append(Task(keys, functools.partial(_measure, volume, indices, scorer, report)))
    return pending


def _measure(
    volume: Volume, indices: Sequence[int], scorer: Scorer, report: Callable[[str], None]
) -> Iterator[dict[str, Value]]:
    jpeg = int(is_jpeg(volume.source))
    try:
        setting, alone = scorer.prepare(volume, indices), scorer.prepare(volume, indices, search=False)
        lattice = setting.lattice
        scores = network = [s.value for s in scorer.slices(volume, indices, setting=alone)]
        if setting.grid is not None:
            scores = [s.value for s in scorer.slices(volume, indices, setting=setting)]
    except ValueError as error:
        report(f"warning: {error}; {volume.source} is left out")
        lattice, scores, network = None, *[[float("nan")] * len(indices)] * 2
    quality = float("nan") if lattice is None or lattice.quality is None else lattice.quality
    for score, alone in zip(scores, network, strict=True):
        yield {"score": score, "network": alone, "lattice": quality, "jpeg": jpeg}


def is_jpeg(source: str) -> bool:
    """True if a file is a JPEG, by its first bytes."""
    path = Path(source)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


@dataclass(frozen=True)
class Scores:
    """Scores of the images of one data set."""

    dataset: str
    weights: str
    subject: Shaped[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    network: Float[np.ndarray, " n"]
    jpeg: Float[np.ndarray, " n"]
    """1 if the file is a JPEG, else 0."""
    n_lattice: int
    """Number of images whose pixels show a JPEG lattice."""
    n_missing: int
    """Number of images that could not be scored."""

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean, over subjects."""
        return bootstrap(np.mean, self.subject, self.score)

    @property
    def ends(self) -> tuple[float, float]:
        """Interval, or the mean twice for too few subjects."""
        mean = float(self.score.mean())
        return (mean, mean) if np.isnan(self.interval[0]) else self.interval

    def below(self, other: "Scores") -> bool:
        """True if the mean is lower, and the intervals do not touch."""
        return self.ends[1] < other.ends[0] and bool(other.score.mean() - self.score.mean() >= RESOLUTION)

    @property
    def lossy(self) -> bool:
        """True if most of its files are JPEGs."""
        return bool(self.jpeg.mean() > 0.5)


def datasets(columns: Columns) -> list[Scores]:
    """Scores of each data set, by weights and then from the lowest mean to the highest.

    Raises
    ------
    ValueError
        If no image has a score.
    """
    scores = []
    for rows in group_rows([columns["dataset"], columns["weights"]]):
        part = {name: column[rows] for name, column in columns.items()}
        valid = np.isfinite(part["score"])
        if valid.any():
            scores.append(
                Scores(
                    dataset=str(part["dataset"][0]),
                    weights=str(part["weights"][0]),
                    subject=part["subject"][valid],
                    score=part["score"][valid],
                    network=part["network"][valid],
                    jpeg=part["jpeg"][valid],
                    n_lattice=int(np.isfinite(part["lattice"]).sum()),
                    n_missing=int((~valid).sum()),
                )
            )
    if not scores:
        raise ValueError("no image has a score: give others")
    return sorted(scores, key=lambda s: (s.weights, s.score.mean()))


def claims(columns: Columns) -> list[Claim]:
    """Claim A6, as far as it can be tested: JPEG files score below lossless ones, with separate intervals."""
    return _claims(datasets(columns))


def _claims(scores: list[Scores]) -> list[Claim]:
    pairs = [(a, b) for a in scores for b in scores if a.weights == b.weights and a.lossy and not b.lossy]
    below = sum(a.below(b) for a, b in pairs)
    measured = f"JPEG below lossless in {below} of {len(pairs)} pairs of data sets" if pairs else "no such pair here"
    data = f"data sets: {len(scores)}, images: {sum(len(s.score) for s in scores)}"
    says = "mean scores rank data sets by quality (LIVE < Flickr1024 < ImageNet, which are not at hand)"
    return [Claim("A6", says, measured, data, below == len(pairs) if pairs else None)]


def answer(columns: Columns) -> str:
    """The study's answer, markdown."""
    scores = datasets(columns)
    lines = [
        "# Mean score of data sets",
        "",
        "Score: as `mriqf score` gives it, with cells laid on the lattice of an earlier JPEG compression where grey "
        "pixels show one; network alone: without that search. Mean ± sd over images, 95 % interval over subjects "
        "(none for fewer than three; a photograph is a subject).",
        "",
        claims_table(_claims(scores)),
        "",
        _scores(scores),
        "",
        "The report's numbers are of its own network and of other images, of which LIVE may hold distorted ones: "
        "beside ours they show the order of magnitude, and no more. Scores under different weights have no order.",
        "",
        f"From the lowest to the highest; < where the intervals do not touch (means, of fewer than three subjects) and "
        f"the means differ by {RESOLUTION} or more, ≲ elsewhere:",
        "",
    ]
    for weights in dict.fromkeys(s.weights for s in scores):
        group = [s for s in scores if s.weights == weights]
        signs = ("<" if low.below(high) else "≲" for low, high in itertools.pairwise(group))
        steps = (f" {sign} {s.dataset}" for sign, s in zip(signs, group[1:], strict=True))
        lines.append(f"- {weights}: {group[0].dataset}{''.join(steps)}")
    lines += [f"- {s.dataset}: {s.n_missing} images could not be scored." for s in scores if s.n_missing]
    return "\n".join(lines)


def _scores(scores: list[Scores]) -> str:
    heads = [
        "data set", "weights", "files", "images (subjects)", "score", "interval", "network alone", "lattice found",
    ]  # fmt: skip
    rows = []
    for s in scores:
        kind = "JPEG" if s.lossy else "JPEG in part" if s.jpeg.any() else "no JPEG"
        interval = "—" if np.isnan(s.interval[0]) else f"{s.interval[0]:.2f} to {s.interval[1]:.2f}"
        images = f"{len(s.score)} ({len(set(s.subject.tolist()))})"
        rows.append([
            s.dataset, s.weights, kind, images, _spread(s.score), interval, _spread(s.network), str(s.n_lattice),
        ])  # fmt: skip
    rows += [
        [f"{name}, in the report", "its own", "", "", f"{m:.2f} ± {sd:.1f}", "", "", ""] for name, m, sd in REPORTED
    ]
    return markdown_table(heads, rows)


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def draw_histograms(columns: Columns, path: Path) -> None:
    """Histogram of each data set's scores, its mean as a line."""
    scores = datasets(columns)
    figure = new_figure(7, 0.9 + 1.15 * len(scores))
    axes = figure.subplots(len(scores), 1, squeeze=False, sharex=True)[:, 0]
    for ax, s in zip(axes, scores, strict=True):
        ax.hist(s.score, bins=np.arange(0, 102, 2), color="C3" if s.lossy else "C0")
        ax.axvline(s.score.mean(), color="black", linewidth=1, linestyle="--")
        ax.set_title(
            f"{s.dataset}, {s.weights}: {_spread(s.score)}, {len(s.score)} images", fontsize=9, loc="left", pad=3
        )
        ax.set_ylabel("images")
        ax.set_xlim(0, 101)
    axes[-1].set_xlabel("score (dashed: mean; red: JPEG files)")
    figure.savefig(path, dpi=110, format="png")


def run(
    *inputs: Path,
    options: Flat[SplitOptions],
    config: Flat[DatasetConfig] = DatasetConfig(),
) -> Measurements:
    """Score whole data sets, and sort them by their mean score.

    Grey images are scored with the grey weights, RGB images with the RGB weights, as `mriqf score` does. A file of a
    folder that cannot be read, or an image that cannot be scored, costs a line and is left out. Writes rows.csv,
    answer.md and histograms.png; without inputs, draws and answers again from the table.

    Parameters
    ----------
    inputs
        Folders of images, each a data set; files; or manifests (.toml).
    """
    report = options.report
    images = read_inputs(inputs, options.data, split=options.split, most=config.most, skip=report, passed=report)
    yield Table(options.out, KEY, COLUMNS, metadata(images, config)), tasks(images, config, report)


STUDY = Study(run, answer, [Drawing("histograms.png", draw_histograms)])
