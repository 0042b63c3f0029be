"""`mriqf study claims`: twelve claims against bars that were fixed before."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.commands.study.run import carry_out, conclude
from mriqf.io import atomic_path
from mriqf.studies._frame.table import Table
from mriqf.studies.benchmark import (
    FIGURES,
    KEY,
    BenchmarkConfig,
    answer,
    columns,
    comparison,
    keep_failures,
    metadata,
    read_data,
    read_metrics,
    read_runs,
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
    against: tuple[Path, ...] = (),
    threads: int | None = None,
) -> int:
    """Test twelve claims on held-out data, with every classical measure beside them; bars were fixed before.

    Degraded images of ten families, reconstructions, clean images, local flaws, JPEG patches, and speed, of anatomies
    and contrasts that train and that do not. Writes rows.csv, answer.md, claims.png and failures.png; without inputs,
    draws and answers again from the table (and the few images of failures.npz beside it).

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
    against
        Folders of runs with other weights on the same images: comparison.md has every figure of all, in one table,
        and that is printed in place of the answer.
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
    if against:
        text = comparison(read_runs([*against, out]))
        with atomic_path(out / "comparison.md", force=True) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        print(text)  # noqa: T201
        return 0
    return conclude(out, answer, FIGURES)
