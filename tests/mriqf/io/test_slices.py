"""Slices of many files, for training."""

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mriqf.io import ReadError
from mriqf.io.slices import KSpaceSlices

RNG = np.random.default_rng(0)


@pytest.fixture
def paths(tmp_path):
    """A training file, a test file without image and of another size, and a single-coil one."""
    arrays = [RNG.normal(size=shape) + 0j for shape in ((2, 4, 12, 10), (1, 3, 8, 9), (3, 12, 10))]
    for i, array in enumerate(arrays):
        with h5py.File(tmp_path / f"{i}.h5", "w") as file:
            file["kspace"] = array.astype(np.complex64)
            if i != 1:
                key = ("reconstruction_rss", None, "reconstruction_esc")[i]
                file[key] = np.arange(len(array) * 30, dtype=np.float32).reshape(-1, 5, 6)
    np.save(tmp_path / "3.npy", arrays[0])
    return [tmp_path / name for name in ("0.h5", "1.h5", "2.h5", "3.npy")]


def check(items):
    assert [(name, i) for _, _, name, i in items] == [
        ("0.h5", 0), ("0.h5", 1), ("1.h5", 0), ("2.h5", 0), ("2.h5", 1), ("2.h5", 2), ("3.npy", 0), ("3.npy", 1),
    ]  # fmt: skip
    assert [tuple(kspace.shape) for kspace, *_ in items[:4]] == [(1, 4, 12, 10)] * 2 + [(1, 3, 8, 9), (1, 1, 12, 10)]
    assert all(kspace.dtype == torch.complex64 for kspace, *_ in items)
    assert [target is None for _, target, *_ in items] == [False, False, True, False, False, False, True, True]
    assert torch.equal(items[1][1], torch.arange(30.0, 60.0).reshape(1, 1, 5, 6))
    assert torch.equal(items[0][0], items[6][0])


def test_slices_in_order(paths):
    slices = KSpaceSlices(paths)
    assert len(slices) == 8
    check([slices[i] for i in range(len(slices))])
    with pytest.raises(IndexError):
        slices[8]


def test_workers_open_files_of_their_own(paths):
    check(list(DataLoader(KSpaceSlices(paths), batch_size=None, num_workers=2)))


def test_files_are_closed(paths):
    slices = KSpaceSlices(paths)
    slices[0]
    for path in paths[:3]:
        with h5py.File(path, "r+") as file:  # refused while anybody reads it
            file.attrs["max"] = 1.0


def test_missing_file(tmp_path):
    with pytest.raises(ReadError, match=r"no\.h5: does not exist"):
        KSpaceSlices([tmp_path / "no.h5"])


def test_links_into_other_files_are_not_followed(paths):
    with h5py.File(paths[1], "r+") as file:
        file["reconstruction_rss"] = h5py.ExternalLink(str(paths[0]), "reconstruction_rss")
    assert KSpaceSlices(paths[1:2])[0][1] is None


def test_images_in_other_files_or_never_written_are_refused(paths):
    with h5py.File(paths[1], "r+") as file:
        file.create_dataset("reconstruction_rss", (1, 5, 6), np.float32, external=[(str(paths[3]), 0, 120)])
    with pytest.raises(ReadError, match="lies in other files"):
        KSpaceSlices(paths[1:2])[0]
    with h5py.File(paths[1], "r+") as file:
        del file["reconstruction_rss"]
        file.create_dataset("reconstruction_rss", (1, 5, 6), np.float32, chunks=(1, 5, 6))
    with pytest.raises(ReadError, match="was never written"):
        KSpaceSlices(paths[1:2])[0]
