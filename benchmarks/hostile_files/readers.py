"""Readers of the commands, called without a command line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mriqf import weights
from mriqf.calibration import file as calibration_file
from mriqf.html import read_scores
from mriqf.io import read, read_kspace
from mriqf.io.jpeg_file import read_jpeg
from mriqf.training.manifest import read_manifest


def read_images(path: Path) -> None:
    """Read the first slices of a volume."""
    volume = read(path)
    for index in range(min(volume.n_slices, 3)):
        pixels = volume.read_slice(index)
        assert pixels.shape == (volume.channels, *volume.shape)
        assert np.isfinite(pixels).all()
    assert np.isfinite(volume.affine).all()


def read_raw(path: Path) -> None:
    """Read the first slices of k-space."""
    kspace = read_kspace(path)
    for index in range(min(kspace.n_slices, 3)):
        assert np.isfinite(kspace.read_slice(index)).all()


READERS: dict[str, Callable[[Path], object]] = {
    "score": read_images,
    "recon": read_raw,
    "restore": lambda path: read_jpeg(path, coefficients=False),
    "report": lambda path: read_scores([path]),
    "dataset": lambda path: read_scores([path.parent]),
    "manifest": read_manifest,
    "weights": weights.load,
    "calibration": calibration_file.read,
}
"""Reader of each command."""
