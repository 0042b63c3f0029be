"""BART's pairs of files."""

import numpy as np
import pytest

from mriqf.io import ReadError, read

RNG = np.random.default_rng(0)


def write(stem, images):
    stem.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, images.shape)) + " \n# Command\nphantom\n")
    stem.with_suffix(".cfl").write_bytes(images.astype("<c8").tobytes(order="F"))
    return stem


@pytest.mark.parametrize("ending", ["", ".hdr", ".cfl"])
@pytest.mark.parametrize(
    "shape", [(6, 7), (6, 7, 5), (6, 7, 5, 1, 2), (6, 7, 1, 1, 1, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1)]
)
def test_round_trip(tmp_path, ending, shape):
    images = (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype(np.complex64)
    volume = read(f"{write(tmp_path / 'a', images)}{ending}")
    slices = np.abs(images.reshape(6, 7, -1, order="F"))
    assert (volume.n_slices, volume.shape, volume.grid) == (slices.shape[2], (6, 7), (slices.shape[2],))
    for index in range(volume.n_slices):
        np.testing.assert_allclose(volume.read_slice(index)[0], slices[..., index], rtol=1e-6)


def test_coils(tmp_path):
    with pytest.raises(ReadError, match=r"a\.hdr: holds 8 coils: combine them first, e\.g\. bart rss 8"):
        read(write(tmp_path / "a", np.ones((6, 7, 1, 8))))


@pytest.mark.parametrize("missing", [".hdr", ".cfl"])
def test_half_a_pair(tmp_path, missing):
    stem = write(tmp_path / "a", np.ones((6, 7)))
    stem.with_suffix(missing).unlink()
    with pytest.raises(ReadError, match=rf"its other half .*a\{missing} is missing"):
        read(stem.with_suffix(".cfl" if missing == ".hdr" else ".hdr"))


@pytest.mark.parametrize(
    "header", ["# Dimensions", "# Dimensions\n", "# Dimensions\n6 x", "# Dimensions\n6 9", "", "6 7"]
)
def test_broken_header(tmp_path, header):
    stem = write(tmp_path / "a", np.ones((6, 7)))
    stem.with_suffix(".hdr").write_text(header)
    with pytest.raises(ReadError, match=r"a\.(hdr|cfl): "):
        read(stem)
