"""`mriqf study restoration`: restorers of JPEG images, measured as papers do it."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.commands.options import choose_device, say
from mriqf.commands.study.run import carry_out, conclude, keep_arrays, read_arrays
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.table import Columns, Table
from mriqf.studies.restorers.restoration import (
    COLUMNS,
    KEY,
    RestorationConfig,
    answer,
    card,
    draw_gains,
    draw_pictures,
    load_methods,
    pictures,
    tasks,
)
from mriqf.training.manifest import Split


def restoration(
    *inputs: Path,
    out: Path,
    data: Path | None = None,
    split: Split = "test",
    config: Annotated[RestorationConfig, Parameter(name="*")] = RestorationConfig(),  # noqa: B008
    threads: int | None = None,
) -> int:
    """Compress photographs, restore them, and compare: PSNR, SSIM, PSNR-B and time, grey and in colour.

    Restorers of one channel are measured on luma, those of three on colours; JPEG itself comes first in either. Writes
    rows.csv, answer.md, gains.png and pictures.png; without inputs, draws and answers again from the table.

    Parameters
    ----------
    inputs
        Folders of photographs that were never compressed, each a data set; files; or manifests (.toml).
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
    kept = out / "pictures.npz"
    if inputs:
        config = replace(config, device=choose_device(config.device))
        found, methods = read_inputs(inputs, data, split=split, most=config.most, passed=say), load_methods(config)
        carry_out(Table(out, KEY, COLUMNS, card(found, config)), tasks(found, methods, config))
        if not kept.exists():
            keep_arrays(kept, pictures(found, methods, config))

    def draw(_: Columns, path: Path) -> None:
        draw_pictures(read_arrays(kept), path)

    shown = [("pictures.png", draw)] if kept.exists() else []
    return conclude(out, answer, [("gains.png", draw_gains), *shown])
