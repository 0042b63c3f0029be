"""Images that are written as they come: at no moment is anything lost that was finished."""

import h5py
import numpy as np
import pytest

from mriqf.io.partial import EMPTY, PENDING, WRITTEN, PartialImages

RNG = np.random.default_rng(0)
IMAGES = (RNG.normal(size=(4, 5, 7)) + 1j * RNG.normal(size=(4, 5, 7))).astype(np.complex64)
MASK = np.array([1, 0, 1, 1, 0, 1, 1], bool)
RUN = {"method": "cg-sense", "lam": 0.01, "slices": [0, 1, 2, 3]}


def opened(path, run=RUN, **options):
    return PartialImages(path, run, {"method": run["method"], "seed": None}, MASK, IMAGES.shape, **options)


def write(file, *indices):
    for i in indices:
        file.write(i, np.abs(IMAGES[i]), IMAGES[i])


def read(path):
    with h5py.File(path) as file:
        return {key: np.asarray(value) for key, value in file.items()} | dict(file.attrs)


def test_numbers_beside_the_images_are_unknown_until_they_are_written(tmp_path):
    path, beside = tmp_path / "a.h5", {"score": (), "map": (2, 3)}
    with opened(path, beside=beside) as file:
        file.write(2, np.abs(IMAGES[2]), None, {"score": 71.5, "map": np.arange(6.0).reshape(2, 3)})
        file.write(0, np.abs(IMAGES[0]))
    with opened(path, beside=beside) as file:  # goes on
        file.write(1, np.abs(IMAGES[1]), None, {"score": 12.0})
        file.finish()
    result = read(path)
    np.testing.assert_array_equal(result["score"], np.array([np.nan, 12, 71.5, np.nan], np.float32))
    np.testing.assert_array_equal(result["map"][2], [[0, 1, 2], [3, 4, 5]])
    assert np.isnan(result["map"][[0, 1, 3]]).all() and result["map"].shape == (4, 2, 3)
    np.testing.assert_allclose(result["reconstruction"][:3], np.abs(IMAGES[:3]), rtol=1e-6)


@pytest.mark.parametrize("keep_complex", [True, False])
def test_written_in_any_order_and_whole_in_the_end(tmp_path, keep_complex):
    with opened(tmp_path / "a.h5", keep_complex=keep_complex) as file:
        write(file, 2, 0)
        file.mark(1, EMPTY)
        write(file, 3)
        assert not (tmp_path / "a.h5").exists()
        file.finish()
    result = read(tmp_path / "a.h5")
    expected = np.where(np.array([1, 0, 1, 1])[:, None, None], IMAGES, 0)
    np.testing.assert_array_equal(result["reconstruction"], np.abs(expected))
    assert result["reconstruction"].dtype == np.float32
    assert ("reconstruction_complex" in result) == keep_complex
    if keep_complex:
        np.testing.assert_array_equal(result["reconstruction_complex"], expected)
    np.testing.assert_array_equal(result["mask"], MASK)
    assert result["state"].tolist() == [WRITTEN, EMPTY, WRITTEN, WRITTEN]
    assert result["method"] == "cg-sense"
    assert "seed" not in result
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_goes_on_where_it_was_left(tmp_path):
    with opened(tmp_path / "a.h5") as file:
        write(file, 0, 1)
    with opened(tmp_path / "a.h5") as file:
        assert file.states.tolist() == [WRITTEN, WRITTEN, PENDING, PENDING]
        np.testing.assert_array_equal(read(file.partial)["reconstruction"][:2], np.abs(IMAGES[:2]))
        write(file, 2, 3)
        file.finish()
    np.testing.assert_array_equal(read(tmp_path / "a.h5")["reconstruction"], np.abs(IMAGES))


def test_a_slice_counts_once_it_is_whole(tmp_path, monkeypatch):
    with opened(tmp_path / "a.h5") as file:
        write(file, 0)
        put = file._put

        def half(place, data):
            put(place, data[: len(data) // 2])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(file, "_put", half)
        with pytest.raises(OSError, match="No space"):
            write(file, 1)
    with opened(tmp_path / "a.h5") as file:
        assert file.states.tolist() == [WRITTEN, PENDING, PENDING, PENDING]
        np.testing.assert_array_equal(read(file.partial)["reconstruction"][0], np.abs(IMAGES[0]))


def test_nothing_is_left_of_nothing(tmp_path):
    with opened(tmp_path / "a.h5"):
        pass
    assert not list(tmp_path.iterdir())


def test_other_runs_are_refused(tmp_path):
    with opened(tmp_path / "a.h5") as file:
        write(file, 0)
    with pytest.raises(FileExistsError, match=r"left by another run \(lam 0\.01, now 0\.02\).*--force"):
        opened(tmp_path / "a.h5", RUN | {"lam": 0.02})
    with opened(tmp_path / "a.h5", RUN | {"lam": 0.02}, force=True) as file:
        assert not file.states.any()
    left = opened(tmp_path / "d.h5")  # killed before its first slice: it keeps nothing
    left._file.close()
    with opened(tmp_path / "d.h5", RUN | {"lam": 0.02}) as file:
        assert not file.states.any()
    (tmp_path / "b.h5.partial").write_text("mine")
    with pytest.raises(FileExistsError, match="not a partial file of mriqf"):
        opened(tmp_path / "b.h5")
    (tmp_path / "c.h5").write_text("mine")
    with pytest.raises(FileExistsError, match="exists"):
        opened(tmp_path / "c.h5")


def test_two_runs_at_once_are_refused(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys, pathlib, numpy as np; from mriqf.io.partial import PartialImages\n"
        f"PartialImages(pathlib.Path(sys.argv[1]), {RUN!r}, {{}}, np.ones(7, bool), {IMAGES.shape!r})"
    )
    with opened(tmp_path / "a.h5") as file:
        write(file, 0)
        command = [sys.executable, "-c", code, str(tmp_path / "a.h5")]
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.returncode == 1
    assert "is being written by another run" in completed.stderr
