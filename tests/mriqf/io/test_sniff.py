"""Every format in one go: told by content, read slice by slice, and never more than one line of error."""

import gzip
import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import ismrmrd
import nibabel
import numpy as np
import pydicom.data
import pytest
from PIL import Image

from mriqf.io import ReadError, read

RNG = np.random.default_rng(0)
STACK = RNG.uniform(1, 200, (3, 20, 24)).astype(np.float32)
LEVELS = STACK.astype(np.uint8)
COLOUR = RNG.integers(0, 255, (20, 24, 3), np.uint8)


def write_h5(path, **arrays):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return path


def write_ismrmrd(path, images=STACK):
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=True) as dataset:
        dataset.write_xml_header(b"<ismrmrdHeader/>")
        for image in images:
            dataset.append_image("image_0", ismrmrd.Image.from_array(image, transpose=False))
    return path


def write_bart(path, images):
    """Write a pair whose dimensions are those of ``images``."""
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, images.shape)) + "\n")
    path.with_suffix(".cfl").write_bytes(images.astype("<c8").tobytes(order="F"))
    return path.with_suffix(".cfl")


def write_nifti(path, values=STACK):
    nibabel.save(nibabel.Nifti1Image(values.T, np.diag([2.0, 3.0, 4.0, 1.0])), path)
    return path


def write_npy(path, array=STACK):
    np.save(path, array)
    return path


def write_npz(path, **arrays):
    np.savez_compressed(path, **(arrays or {"images": STACK}))
    return path


def write_image(path, array=LEVELS[0], **options):
    Image.fromarray(array).save(path, **options)
    return path


def write_tiff(path, pages=LEVELS, **options):
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=others, **options)
    return path


def write_dicom(path, name="MR_small.dcm"):
    path.write_bytes(Path(pydicom.data.get_testdata_file(name)).read_bytes())
    return path


def write_stacked_h5(path):
    return write_h5(path, reconstruction_rss=STACK)


def write_chunked_h5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("reconstruction", data=STACK, chunks=(1, 20, 24), compression="gzip")
    return path


WRITERS = {
    "fastmri.h5": write_stacked_h5,
    "zipped.h5": write_chunked_h5,
    "mrd.h5": write_ismrmrd,
    "a.nii": write_nifti,
    "a.nii.gz": write_nifti,
    "a.npy": write_npy,
    "a.npz": write_npz,
    "a.png": write_image,
    "rgb.png": lambda path: write_image(path, COLOUR),
    "a.jpg": write_image,
    "a.webp": lambda path: write_image(path, COLOUR),
    "a.tif": write_tiff,
    "zipped.tif": lambda path: write_tiff(path, compression="tiff_deflate"),
    "a.dcm": write_dicom,
    "rle.dcm": lambda path: write_dicom(path, "MR_small_RLE.dcm"),
    "enhanced.dcm": lambda path: write_dicom(path, "SC_rgb_rle_2frame.dcm"),
    "a.cfl": lambda path: write_bart(path, STACK.transpose(1, 2, 0)),
}


def read_all(path):
    volume = read(path)
    return volume, np.stack([volume.read_slice(i) for i in range(volume.n_slices)])


def assert_one_line(error, path, *words):
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", WRITERS)
def test_is_told_by_content(tmp_path, name):
    path = WRITERS[name](tmp_path / name)
    volume, slices = read_all(path)
    assert volume.source == str(path)
    assert slices.shape == (volume.n_slices, volume.channels, *volume.shape)
    assert slices.dtype == np.float32
    assert np.prod(volume.grid) == volume.n_slices
    assert volume.affine.shape == (4, 4)
    assert volume.rows_up == ("nii" in name)
    if name not in ("a.cfl", "a.nii.gz"):  # known by their names only
        other = path.rename(tmp_path / "unnamed")
        np.testing.assert_array_equal(read_all(other)[1], slices)


@pytest.mark.filterwarnings("ignore")  # as for the user, whom a library's warning does not stop
@pytest.mark.parametrize("name", WRITERS)
def test_cut_short(tmp_path, name):
    """A file cut anywhere is refused in one line, or still whole where its end says nothing."""
    path = WRITERS[name](tmp_path / name)
    whole, slices = path.read_bytes(), read_all(path)[1]
    cuts = {0, 1, 3, 8, 100, 131, 140, 300, 350, 400, 1000, *np.linspace(0, len(whole) - 1, 25, dtype=int)}
    refused = 0
    for cut in sorted(cut for cut in cuts if cut < len(whole)):
        path.write_bytes(whole[:cut])
        try:
            np.testing.assert_array_equal(read_all(path)[1], slices)
        except ReadError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error)
            refused += 1
    assert refused >= 20


@pytest.mark.filterwarnings("ignore")  # as for the user, whom a library's warning does not stop
@pytest.mark.parametrize("name", WRITERS)
def test_damaged(tmp_path, name):
    """A file with noise in it is read, as something, or refused in one line."""
    path = WRITERS[name](tmp_path / name)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        damaged = whole.copy()
        damaged[rng.integers(0, min(len(whole), 2000), 8)] = rng.integers(0, 255, 8)
        path.write_bytes(damaged.tobytes())
        try:
            read_all(path)
        except ReadError as error:
            assert "\n" not in str(error)


def test_missing(tmp_path):
    with pytest.raises(ReadError) as error:
        read(tmp_path / "nothing.h5")
    assert_one_line(error, tmp_path / "nothing.h5", "does not exist")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "empty"), (b"hello, world" * 50, "not known"), (gzip.compress(b"no image" * 90, mtime=0), "not known")],
)
def test_no_image(tmp_path, content, word):
    path = tmp_path / "file.h5"
    path.write_bytes(content)
    with pytest.raises(ReadError) as error:
        read(path)
    assert_one_line(error, path, word)


def test_pickle(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(pickle.dumps(STACK))
    with pytest.raises(ReadError) as error:
        read(path)
    assert_one_line(error, path, "pickle", "numpy.save")


def test_core_needs_neither_torch_nor_readers():
    """Formats are imported when a file needs them."""
    code = (
        "import sys, types; package = types.ModuleType('mriqf'); package.__path__ = ['mriqf'];"
        "sys.modules['mriqf'] = package; import mriqf.io;"
        "print(*{'torch', 'h5py', 'nibabel', 'pydicom', 'ismrmrd', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
