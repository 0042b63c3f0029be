"""Benchmark of a score without reference: twelve claims, each with bars fixed before the held-out run."""

from dataclasses import dataclass
from pathlib import Path

from mriqf.cli import Flat
from mriqf.studies._frame.study import Drawing, Measurements, ReconOptions, Study
from mriqf.studies._frame.table import Table
from mriqf.studies.benchmark.answer import answer
from mriqf.studies.benchmark.compare import comparison, read_runs
from mriqf.studies.benchmark.figures import FIGURES
from mriqf.studies.benchmark.gallery import keep_failures
from mriqf.studies.benchmark.measure import tasks
from mriqf.studies.benchmark.metrics import read_metrics
from mriqf.studies.benchmark.plan import KEY, BenchmarkConfig, columns, metadata, read_data

__all__ = [
    "FIGURES", "KEY", "STUDY", "BenchmarkConfig", "answer", "columns", "comparison", "keep_failures", "metadata",
    "read_data", "read_metrics", "read_runs", "tasks",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ClaimsOptions(ReconOptions):
    """Options of the study of claims."""

    against: tuple[Path, ...] = ()
    """Folders of runs with other weights on the same images: comparison.md has every figure of all, in one table, and
    that is printed in place of the answer."""


def run(
    *inputs: Path,
    options: Flat[ClaimsOptions],
    config: Flat[BenchmarkConfig] = BenchmarkConfig(),  # noqa: B008 (frozen)
) -> Measurements:
    """Test twelve claims on held-out data, with every classical measure beside them; bars were fixed before.

    Degraded images of ten families, reconstructions, clean images, local flaws, JPEG patches, and speed, of anatomies
    and contrasts that train and that do not. Writes rows.csv, answer.md, claims.png and failures.png; without inputs,
    draws and answers again from the table (and the few images of failures.npz beside it).

    Parameters
    ----------
    inputs
        Manifests with a training part, on which the classical measures are calibrated and nothing else, and a part to
        test on; MR images or raw data, photographs for JPEG. Other files are tested on.
    """
    data = read_data(inputs, options.data, options.split)
    metrics = read_metrics(config.weights, config.controls, config.left_out)
    todo = tasks(data, config, metrics, options.images)
    yield Table(options.out, KEY, columns(metrics), metadata(data, config)), todo
    keep_failures(options.out, data, config, metrics, options.images)


def compare(options: ClaimsOptions) -> str | None:
    """Every figure of several runs in one table, if others are given."""
    return comparison(read_runs([*options.against, options.out])) if options.against else None


STUDY = Study(run, answer, [Drawing(*figure) for figure in FIGURES], compare=compare)
