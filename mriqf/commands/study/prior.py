"""`mriqf study prior`: deep image prior on JPEG photographs."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.commands.options import choose_device, say
from mriqf.commands.study.run import carry_out, conclude
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.table import Columns, Table
from mriqf.studies.restorers import prior as study
from mriqf.training.manifest import Split


def prior(
    *inputs: Path,
    out: Path,
    data: Path | None = None,
    split: Split = "test",
    config: Annotated[study.PriorStudyConfig, Parameter(name="*")] = study.PriorStudyConfig(),  # noqa: B008
    threads: int | None = None,
) -> int:
    """Fit deep image priors to compressed photographs, with the colour term and SURE, and watch what they reach.

    Each arm is fitted once to each photograph, and measured against the truth while it is. Writes rows.csv, answer.md,
    curves.png, sweep.png, pictures/ and pictures.png; without inputs, draws and answers again from the table.

    Parameters
    ----------
    inputs
        Folders of photographs in RGB that were never compressed, each a data set; files; or manifests (.toml).
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
    pictures = out / "pictures"
    if inputs:
        config = replace(config, device=choose_device(config.device))
        found = read_inputs(inputs, data, split=split, most=config.most, passed=say)
        subjects = study.photographs(found, config)
        table = Table(out, study.KEY, study.COLUMNS, study.card(found, config))
        carry_out(table, study.tasks(subjects, config, pictures))

    def draw(_: Columns, path: Path) -> None:
        study.draw_pictures(pictures, path)

    shown = [("pictures.png", draw)] if study.complete(pictures) else []
    return conclude(out, study.answer, [("curves.png", study.draw_curves), ("sweep.png", study.draw_sweep), *shown])
