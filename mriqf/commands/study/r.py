"""`mriqf study r`: the score against the undersampling rate."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.commands.options import say
from mriqf.commands.study.run import carry_out, conclude
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.table import Table
from mriqf.studies.jpeg_report.acceleration import FIGURES, KEY, AccelerationConfig, answer, card, columns, tasks
from mriqf.studies.jpeg_report.acceleration.prediction import NEEDS_SUBJECTS
from mriqf.training.manifest import Split


def acceleration(
    *inputs: Path,
    out: Path,
    data: Path | None = None,
    split: Split = "test",
    config: Annotated[AccelerationConfig, Parameter(name="*")] = AccelerationConfig(),  # noqa: B008 (frozen)
    images: Path | None = None,
    threads: int | None = None,
) -> int:
    """Undersample more and more, reconstruct, score: curves, maps, and R predicted from the score.

    Parameters
    ----------
    inputs
        Fully sampled k-space, or magnitude images: files, folders or manifests; each file is a subject. Without any,
        figures and answer are made again from the table.
    out
        Folder of the study; one that was cut off goes on.
    data
        Folder that the paths in manifests start from.
    split
        Which part of a manifest.
    config
        What is undersampled how.
    images
        Folder that keeps the reconstructions: the next study of the same data, with other weights, takes them from it.
    threads
        Processor threads; all if not given.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if inputs:
        subjects = read_inputs(inputs, data, split=split, kspace=True, passed=say)
        if len(subjects.subjects) < 2:
            say(f"one subject: its curves and correlations, without intervals. {NEEDS_SUBJECTS}")
        table = Table(out, KEY, columns(config), card(subjects, config))
        carry_out(table, tasks(subjects, config, out, images))
    return conclude(out, answer, FIGURES)
