"""`mriqf study dataset`: the mean score of whole data sets."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.commands.options import say
from mriqf.commands.study.run import carry_out, conclude
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.table import Table
from mriqf.studies.jpeg_report.datasets import COLUMNS, KEY, DatasetConfig, answer, card, draw_histograms, tasks
from mriqf.training.manifest import Split


def dataset(
    *inputs: Path,
    out: Path,
    data: Path | None = None,
    split: Split = "test",
    config: Annotated[DatasetConfig, Parameter(name="*")] = DatasetConfig(),  # noqa: B008 (frozen)
    threads: int | None = None,
) -> int:
    """Score whole data sets, and put them in order.

    Grey images are scored with the grey weights, RGB images with the RGB weights, as `mriqf score` does. A file of a
    folder that cannot be read, or an image that cannot be scored, costs a line and is left out. Writes rows.csv,
    answer.md and histograms.png; without inputs, draws and answers again from the table.

    Parameters
    ----------
    inputs
        Folders of images, each a data set; files; or manifests (.toml).
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
        found = read_inputs(inputs, data, split=split, most=config.most, skip=say, passed=say)
        carry_out(Table(out, KEY, COLUMNS, card(found, config)), tasks(found, config, say))
    return conclude(out, answer, [("histograms.png", draw_histograms)])
