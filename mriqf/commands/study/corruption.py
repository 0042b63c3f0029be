"""`mriqf study corruption`: the score against the severity of blur, noise and compression."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.commands.options import say
from mriqf.commands.study.run import carry_out, conclude
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.table import Table
from mriqf.studies.jpeg_report.corruption import COLUMNS, KEY, CorruptionConfig, answer, card, draw_curves, tasks
from mriqf.training.manifest import Split


def corruption(
    *inputs: Path,
    out: Path,
    data: Path | None = None,
    split: Split = "test",
    config: Annotated[CorruptionConfig, Parameter(name="*")] = CorruptionConfig(),  # noqa: B008 (frozen)
    threads: int | None = None,
) -> int:
    """Corrupt fixed patches more and more, and score them.

    Gaussian blur, Gaussian noise, salt and pepper, JPEG, JPEG 2000 and, in grey images, Rician noise, at eight levels.
    Grey images are scored with the grey weights, RGB images with the RGB weights and, as luma, with the grey ones.
    Writes rows.csv, answer.md and curves.png; without inputs, draws and answers again from the table.

    Parameters
    ----------
    inputs
        Files, folders of images, or manifests (.toml).
    out
        Folder of the study; a run that was cut off goes on where it was.
    data
        Folder that the paths in manifests start from.
    split
        Part of a manifest: train, val or test.
    config
        Options of the study.
    threads
        Processor threads; all if not given.

    Returns
    -------
    0.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if inputs:
        found = read_inputs(inputs, data, split=split, most=config.most, passed=say)
        carry_out(Table(out, KEY, COLUMNS, card(found, config)), tasks(found, config))
    return conclude(out, answer, [("curves.png", draw_curves)])
