"""Slices of many files of k-space as one sequence, for training: the only part of `mriqf.io` that needs torch."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from mriqf.io.hdf5 import check_stored, member, unpacked
from mriqf.io.rawdata import TARGETS, read_kspace
from mriqf.io.volume import reading


class KSpaceSlices:
    """Slices of files of k-space, in order: a map-style data set for ``torch.utils.data.DataLoader``.

    Files are opened when a slice is asked for and closed again, so workers share none. Sizes and numbers of coils may
    differ from file to file: use ``batch_size=None``, or a ``collate_fn`` of your own.

    Parameters
    ----------
    paths
        Files that `read_kspace` reads.

    Raises
    ------
    ReadError
        When a file is missing or holds no k-space; or, of a slice, when its image is incomplete or lies in other files.
    """

    def __init__(self, paths: Iterable[str | Path]):
        self._files = [read_kspace(path) for path in paths]
        self._index = [(file, i) for file in self._files for i in range(file.n_slices)]

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(
        self, index: int
    ) -> tuple[Complex64[Tensor, "1 c h w"], Float32[Tensor, "1 1 x y"] | None, str, int]:
        """Sample: k-space, fully sampled image of a fastMRI file (else None), name of the file, index of the slice."""
        file, i = self._index[index]
        target = _target(Path(file.source), i)
        return (
            torch.from_numpy(file.read_slice(i))[None],
            None if target is None else torch.from_numpy(target)[None, None],
            Path(file.source).name,
            i,
        )


def _target(path: Path, index: int) -> Float32[np.ndarray, "x y"] | None:
    import h5py

    if not h5py.is_hdf5(path):
        return None
    with reading(path), h5py.File(path) as file:
        for key in TARGETS[:2]:
            if isinstance(images := member(file, key), h5py.Dataset):
                check_stored(path, key, images)
                return unpacked(path, key, images, (index,)).astype(np.float32)
    return None
