"""`mriqf study opinion`: how well scores follow what people say of JPEG images."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.commands.options import choose_device
from mriqf.commands.study.run import carry_out, conclude
from mriqf.studies._frame.table import Table
from mriqf.studies.opinion import (
    COLUMNS,
    KEY,
    OpinionConfig,
    answer,
    card,
    draw_exponents,
    draw_scatter,
    load_raters,
    read_opinions,
    tasks,
)


def opinion(
    *inputs: Path,
    out: Path,
    config: Annotated[OpinionConfig, Parameter(name="*")] = OpinionConfig(),  # noqa: B008
    threads: int | None = None,
) -> int:
    """Correlate scores with human opinion of JPEG images: QAIRN's gates, predictors, and the lattice of the pixels.

    Writes rows.csv, answer.md, exponents.png and scatter.png; without inputs, draws and answers again from the table.

    Parameters
    ----------
    inputs
        Folders, each a data set: pictures, and scores.csv with the columns image (name without ending), score and,
        where they are known, std and reference. Pictures that it does not list are left out.
    out
        Folder of the study; a run that was cut off goes on where it was.
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
        config = replace(config, device=choose_device(config.device))
        found = read_opinions(inputs, config.lower_is_better, config.higher_is_better)
        carry_out(Table(out, KEY, COLUMNS, card(found, config)), tasks(found, load_raters(config)))
    return conclude(out, answer, [("exponents.png", draw_exponents), ("scatter.png", draw_scatter)])
