"""`mriqf study claims`: twelve claims against bars that were fixed before."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.commands.study.run import carry_out, conclude
from mriqf.studies._frame.table import Table
from mriqf.studies.benchmark import (
    FIGURES,
    KEY,
    BenchmarkConfig,
    answer,
    columns,
    keep_failures,
    metadata,
    read_data,
    read_metrics,
    tasks,
)  # fmt: skip
from mriqf.training.manifest import Split


def claims(
    *inputs: Path,
    out: Path,
    data: Path | None = None,
    split: Split = "test",
    config: Annotated[BenchmarkConfig, Parameter(name="*")] = BenchmarkConfig(),  # noqa: B008 (frozen)
    images: Path | None = None,
    threads: int | None = None,
) -> int:
    """Test twelve claims on held-out data, with every classical measure beside them; bars were fixed before.

    Degraded images of ten families, reconstructions, clean images, local flaws, JPEG patches, and speed. Writes
    rows.csv, answer.md, claims.png and failures.png; without inputs, draws and answers again from the table (and the
    few images of failures.npz beside it).

    Parameters
    ----------
    inputs
        Manifests with a training part, on which the classical measures are calibrated and nothing else, and a part to
        test on; MR images or raw data, photographs for JPEG. Other files are tested on.
    out
        Folder of the study; a run that was cut off goes on where it was.
    data
        Folder that the paths in manifests start from.
    split
        Which part of the manifests to test on.
    config
        What metrics which images.
    images
        Folder that keeps reconstructions; the study of R shares them.
    threads
        Processor threads; all if not given.

    Returns
    -------
    0.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if inputs:
        subjects = read_data(inputs, data, split)
        metrics = read_metrics(config.weights, config.controls, config.left_out)
        todo = tasks(subjects, config, metrics, images)
        carry_out(Table(out, KEY, columns(metrics), metadata(subjects, config)), todo)
        keep_failures(out, subjects, config, metrics, images)
    return conclude(out, answer, FIGURES)
