"""Restoration of JPEG images, measured by three protocols of papers, whose figures must not be mixed."""

from pathlib import Path

from mriqf.cli import Flat
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.study import Drawing, Measurements, SplitOptions, Study, keep_arrays
from mriqf.studies._frame.table import Table
from mriqf.studies.restorers.restoration.answer import answer
from mriqf.studies.restorers.restoration.figures import draw_gains, draw_pictures
from mriqf.studies.restorers.restoration.jpeg_rows import PRINTED, Means, means
from mriqf.studies.restorers.restoration.protocols import (
    FBCNN,
    PROTOCOLS,
    QGAC,
    QGCN,
    Measured,
    Protocol,
    Restorer,
    measure,
)
from mriqf.studies.restorers.restoration.study import (
    COLUMNS,
    KEY,
    RestorationConfig,
    load_methods,
    metadata,
    pictures,
    tasks,
)

__all__ = [
    "COLUMNS", "FBCNN", "KEY", "PRINTED", "PROTOCOLS", "QGAC", "QGCN", "STUDY", "Means", "Measured", "Protocol",
    "RestorationConfig", "Restorer", "answer", "draw_gains", "draw_pictures", "load_methods", "means", "measure",
    "metadata", "pictures", "tasks",
]  # fmt: skip


def run(
    *inputs: Path,
    options: Flat[SplitOptions],
    config: Flat[RestorationConfig] = RestorationConfig(),  # noqa: B008 (frozen)
) -> Measurements:
    """Compress photographs, restore them, and compare: PSNR, SSIM, PSNR-B and time, grey and in colour.

    Restorers of one channel are measured on luma, those of three on colours; JPEG itself comes first in either. Writes
    rows.csv, answer.md, gains.png and pictures.png; without inputs, draws and answers again from the table.

    Parameters
    ----------
    inputs
        Folders of photographs that were never compressed, each a data set; files; or manifests (.toml).
    """
    images = read_inputs(inputs, options.data, split=options.split, most=config.most, passed=options.report)
    methods, kept = load_methods(config), options.out / "pictures.npz"
    yield Table(options.out, KEY, COLUMNS, metadata(images, config)), tasks(images, methods, config)
    if not kept.exists():
        keep_arrays(kept, pictures(images, methods, config))


STUDY = Study(
    run,
    answer,
    [Drawing("gains.png", draw_gains), Drawing("pictures.png", draw_pictures, "pictures.npz", Path.exists)],
)
