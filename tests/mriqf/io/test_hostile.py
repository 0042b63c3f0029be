"""Damaged and malicious files: read as something finite, or refused in one line, in bounded memory and time.

`python -m benchmarks.hostile` does the same at length, by the commands, and measures memory and time from outside.
"""

import csv
import gzip
import os
import pickle
import time
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks import hostile_files as hostile
from benchmarks.hostile_files import READERS, makers, read_images, valid
from mriqf import weights
from mriqf.cli import main
from mriqf.html import read_scores
from mriqf.io import ReadError, bounds, read
from mriqf.studies._frame.table import read_table

QUICK = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def refused(command, path):
    """Message about a file that is refused; empty for one that is read. Anything else fails."""
    start = time.process_time()
    try:
        READERS[command](path)
        said = ""
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        assert said.isprintable() and 0 < len(said) < 6000
    assert time.process_time() - start < 10
    return said


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", hostile.COMMANDS)
def test_damaged_files(tmp_path, name):
    path = (hostile.IMAGES | hostile.RAW | hostile.OTHERS)[name](tmp_path / name)
    whole = path.read_bytes()

    @QUICK
    @given(st.sampled_from(hostile.DAMAGES), st.integers(0, 2**32))
    def check(kind, seed):
        path.write_bytes(hostile.damage(kind, whole, np.random.default_rng(seed)))
        refused(hostile.COMMANDS[name], path)

    check()


SLOW = ("bomb",)  # to make, not to refuse


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("number", [k for k, (kind, _, _) in enumerate(hostile.CRAFTED) if kind not in SLOW])
def test_malicious_files(tmp_path, monkeypatch, number):
    monkeypatch.chdir(tmp_path)  # where a pickle would leave its mark
    kind, command, make = hostile.CRAFTED[number]
    path = make(tmp_path)
    said = refused(command, path)
    assert said or kind in ("name", "values", "text", "huge header", "sparse")
    assert not Path("unpickled").exists()
    if kind == "pickle" and command == "score":
        assert "is a pickle, which is never loaded" in said


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda f: makers.png(f, 2000, 2000, 2000), "decompression bomb"),
        (lambda f: makers.nifti_header(f, [2000, 2000, 2], "a.nii.gz", 2**25), "decompression bomb"),
        (lambda f: makers.packed_chunk(f, (1, 64, 64), 2**20), "unpacks to more than"),
        (lambda f: makers.unwritten(f, (4, 64, 64), chunks=(1, 64, 64)), "was never written"),
        (lambda f: makers.many_scans(f, 600), "is coded in more than 500 scans"),
        (lambda f: makers.deflated_dicom(f, 2**20), "is deflated as a whole"),
        (lambda f: makers.linked(f, "virtual"), "lies in other files"),
        (lambda f: makers.linked(f, "external"), "lies in other files"),
        (lambda f: makers.linked(f, "link"), "its keys are reconstruction"),
        (lambda f: makers.pipe(f, "a.nii"), "is a pipe or a device"),
        (lambda f: makers.symbolic_link(f, "/dev/zero"), "is a pipe or a device"),
        (lambda f: makers.symbolic_link(f, "link.nii"), "does not exist"),
    ],
)
def test_cause_is_said(tmp_path, make, word):
    path = make(tmp_path)
    with pytest.raises(ReadError, match=word) as error:
        read_images(path)
    assert str(path) in str(error.value)


def test_archive_larger_than_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("mriqf.io.arrays.WHOLE", 10_000)
    with pytest.raises(ReadError, match=r"'images' takes 32896 bytes, more than 10000"):
        read(valid.archive(tmp_path / "a.npz"))


def test_bounds():
    """Sizes that scanners make pass; one more than a bound does not."""
    bounds.check_claim("a", 60_000, 1, (128, 128), 2**31)
    bounds.check_claim("a", 300, 64, (768, 512), 2**33)
    bounds.check_claim("mask", 512, 1, (512, 512), 1)
    bounds.check_claim("photograph", 1, 1, (4000, 6000), 10**6)
    for n_slices, n_coils, shape, stored in (
        (1, 1, (2**13, 2**12 + 1), None),
        (2**20 + 1, 1, (8, 8), None),
        (1, 65, (1024, 1024), None),
        (1, 1, (1024, 1025), 10_000),
        (513, 1, (512, 512), 10**6),
    ):
        with pytest.raises(ReadError, match="claims"):
            bounds.check_claim("a", n_slices, n_coils, shape, stored)


def test_errors_are_one_plain_line():
    error = ReadError("a\nb\x1b[2J\u202e\udcff é " + "x" * 9999)
    assert str(error).startswith("a\\nb\\x1b[2J\\u202e\\udcff é xxx")
    assert str(error).isprintable() and len(str(error)) == bounds.LENGTH
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("name", ["\x1b[2J.npy", "a\nb.npy", "=cmd|' C calc'!A0.npy", os.fsdecode(b"\xff.npy")])
@pytest.mark.parametrize("values", ["good", "bad"])
def test_names_from_line_to_report(tmp_path, monkeypatch, capfd, weights_file, disc, name, values):
    """Nothing reaches the terminal but text, no cell is a formula, and the report finds the file again."""
    own = str(weights_file())
    monkeypatch.chdir(tmp_path)
    np.save(name, disc(2, 64, 64) * (np.float32(np.nan) if values == "bad" else 1))
    status = main(["score", "--weights", own, "--csv", "s.csv", "--", name])
    printed = "".join(capfd.readouterr())
    assert printed.replace("\n", "").replace("\t", "").isprintable()
    assert status == (values == "bad")
    if values == "bad":
        assert printed.count("\n") == 1
        return
    with Path("s.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        cells = [row["input"] for row in csv.DictReader(file)]
    assert [Path(cell) for cell in cells] == [Path(name)] * 3  # two slices, and the volume
    assert not cells[0].startswith(("=", "+", "-", "@"))
    assert read_scores([Path("s.csv")])[0].path.exists()
    assert main(["report", "s.csv", "--out", "r.html"]) == 0
    assert capfd.readouterr().out.split("\t")[1:3] == ["1", "1"]  # one volume, with pictures


def test_no_patient_in_what_is_written(tmp_path, capfd, weights_file):
    """Nothing of a DICOM file is told but the name that the user gave it, its pixels and its place."""
    secrets = {
        "PatientName": "Secret^Patient",
        "PatientID": "SECRET-4711",
        "PatientBirthDate": "19700203",
        "SeriesDescription": "SECRET-SERIES/../../x",
        "StudyDescription": "SECRET-STUDY",
        "InstitutionName": "SECRET-HOSPITAL",
        "AccessionNumber": "SECRET-ACC",
    }
    path = valid.dicom(tmp_path / "scan.dcm", **secrets)
    uid = str(pydicom.dcmread(path).SeriesInstanceUID)
    tables = ["--csv", str(tmp_path / "s.csv"), "--json", str(tmp_path / "s.json")]
    pictures = ["--map-dir", str(tmp_path / "maps"), "--overlay-dir", str(tmp_path / "pictures")]
    own = weights_file()
    before = set(tmp_path.rglob("*"))
    assert main(["score", str(path), "--weights", str(own), *tables, *pictures]) == 0
    assert main(["report", str(tmp_path / "s.csv"), "--out", str(tmp_path / "r.html")]) == 0
    written = [file for file in set(tmp_path.rglob("*")) - before if file.is_file()]
    assert len(written) == 5
    told = "".join(capfd.readouterr()).encode() + b"".join(file.read_bytes() for file in written)
    told += b"".join(file.name.encode() for file in written)
    with gzip.open(tmp_path / "maps" / "scan_quality.nii.gz") as file:
        told += file.read()
    for secret in (b"secret", b"19700203", uid.encode()):
        assert secret not in told.lower()


def test_hostile_rows_of_a_study(tmp_path):
    path = tmp_path / "rows.csv"
    for text in (b"a,b\n" + b"x" * 200_000 + b",1\n", b"\xff\xfe\n\xff", b""):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=r"rows\.csv") as error:
            read_table(path)
        assert "\n" not in str(error.value)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ReadError, match="is a pipe or a device"):
        read_table(path)


@pytest.mark.usefixtures("unchecked")
def test_checkpoint_of_other_things(tmp_path):
    for card in ({}, {"recipe": {}}, {"recipe": {}, "step": "x"}, []):
        path = makers.weights_card(tmp_path, card)
        with pytest.raises(ValueError, match=r"is no checkpoint"):
            weights.read_checkpoint(path, {})


def test_weights_that_are_no_numbers(weights_file):
    path = weights_file()
    tensors, card = weights.read(path)
    next(iter(tensors.values()))[0] = float("nan")
    weights.write(path, tensors, card, force=True)
    with pytest.raises(ValueError, match="holds no network of this version"):
        weights.load(path)


def test_map_of_more_columns_than_nifti_1_counts(tmp_path):
    """A picture of 40 000 columns has a map like any other."""
    from mriqf.io import from_array, write_map

    volume = from_array(np.ones((1, 9, 40_000), np.float32))
    path = write_map(tmp_path / "map.nii", volume, iter([np.zeros((9, 40_000), np.float32)]))
    assert read(path).shape == (9, 40_000)


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.diag([2.0, 0, 4, 1]), np.diag([1e30, 1e-30, 1, 1])])
def test_map_of_a_flat_place(tmp_path, affine):
    """An affine without inverse goes from image to map as it is."""
    import dataclasses

    from mriqf.io import from_array, write_map

    volume = dataclasses.replace(from_array(hostile.STACK), affine=affine)
    path = write_map(tmp_path / "map.nii", volume, (image for image in hostile.STACK))
    np.testing.assert_allclose(read(path).affine[:3], affine[:3], rtol=1e-6)


def test_place_beyond_float32(tmp_path):
    path = makers.nifti_header(tmp_path, [64, 64, 2], "a.nii", 40_000, sform_code=1, srow_x=[np.nan] * 4)
    with pytest.raises(ReadError, match="its place in space holds NaN or numbers beyond float32"):
        read(path)


@pytest.mark.parametrize("bits", [20, 31])
def test_numbers_of_no_usual_kind(tmp_path, bits):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        kind = h5py.h5t.STD_I32LE.copy()
        kind.set_precision(bits)
        h5py.h5d.create(file.id, b"reconstruction", kind, h5py.h5s.create_simple((2, 64, 64))).write(
            h5py.h5s.ALL, h5py.h5s.ALL, np.ones((2, 64, 64), np.int32)
        )
    with pytest.raises(ReadError, match="has values of no usual kind"):
        read(tmp_path / "a.h5")
