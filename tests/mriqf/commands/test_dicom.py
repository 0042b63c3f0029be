"""`mriqf dicom` as it is typed."""

import csv
import json

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_export import FAILED, IDENTITY, NAME, SCORED, SKIPPED, make_export

from mriqf.cli import main


@pytest.fixture
def export(tmp_path, disc):
    root = tmp_path / "export"
    return root, make_export(root, disc(3, 40, 48).astype(np.int16))


def read_table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_export_of_twenty_kinds(export, tmp_path, weights_file, capsys):
    root, _ = export
    table, maps = tmp_path / "t.csv", tmp_path / "maps"
    words = ["--weights", str(weights_file()), "--csv", str(table), "--map-dir", str(maps)]
    assert main(["dicom", str(root), "--header", *words]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == "10 scored, 8 skipped, 2 failed"
    lines = [line.split("\t") for line in said.out.splitlines()]
    status = {row[3]: (row[1], row[2]) for row in lines[1:]}
    assert {kind for kind, (what, _) in status.items() if what == "scored"} == SCORED
    assert {kind: reason for kind, (what, reason) in status.items() if what == "skipped"} == SKIPPED
    assert FAILED["cut"] in status["cut"][1]
    rows = read_table(table)
    whole = [row for row in rows if not row["slice"]]
    assert len(whole) == 19
    assert len(rows) - len(whole) == 8 * 3 + 2 * 6
    assert {row["status"] for row in rows if row["slice"]} == {"scored"}
    plain = next(row for row in whole if row["description"] == "plain")
    assert nibabel.load(plain["map"]).shape == (48, 40, 3)
    same = {row["score"] for row in whole if row["description"] in ("plain", "implicit", "rle", "enhanced", "mosaic")}
    assert len(same) == 1
    everything = table.read_text() + said.out + "".join(path.name for path in maps.iterdir())
    assert "Roe" not in everything
    assert IDENTITY not in everything
    assert "A4711" not in everything


def test_names_come_only_when_asked_for(export, tmp_path, weights_file, capsys):
    words = [
        "dicom",
        str(export[0]),
        "--weights",
        str(weights_file()),
        "--identify",
        "--json",
        str(tmp_path / "t.json"),
    ]
    assert main(words) == 1
    capsys.readouterr()
    rows = json.loads((tmp_path / "t.json").read_text())
    assert {(row["patient_name"], row["patient_id"]) for row in rows} == {(NAME, IDENTITY)}


def test_kinds_can_be_included(export, weights_file, capsys):
    words = ["dicom", str(export[0]), "--weights", str(weights_file()), "--include", "derived", "map", "localiser"]
    assert main(words) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "14 scored, 4 skipped, 2 failed"
    assert main([*words, "ct"]) == 2
    assert "--include is 'ct': choose of localiser" in capsys.readouterr().err


@pytest.mark.parametrize("identify", [False, True])
def test_dicom_maps_lie_on_their_series(export, tmp_path, weights_file, capsys, identify):
    pytest.importorskip("highdicom")
    root, numbers = export
    out, maps = tmp_path / "out", tmp_path / "maps"
    words = ["dicom", str(root), "--weights", str(weights_file()), "--dicom-out", str(out), "--map-dir", str(maps)]
    assert main([*words, *["--identify"] * identify]) == 1
    capsys.readouterr()
    assert len(list(out.iterdir())) == 8 + 2 * 2  # series, two of them with two times
    source = pydicom.dcmread(root / NAME / "study0" / "s1" / "IM0000")
    for number, kind in numbers.items():
        if kind not in ("plain", "enhanced", "mosaic", "cine"):
            continue
        (name,) = (path.name.removesuffix("_quality.nii.gz") for path in maps.glob(f"study*_series{number}_quality*"))
        made = pydicom.dcmread(next(iter(sorted(out.glob(f"{name}_*quality.dcm")))))
        assert made.SOPClassUID.name == "Parametric Map Storage"
        assert made.StudyInstanceUID == source.StudyInstanceUID
        assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert (str(made.PatientName), made.PatientID) == ((NAME, IDENTITY) if identify else ("", ""))
        assert ("Roe" in str(made)) == identify
        assert ("19700101" in str(made)) == identify
        values = np.frombuffer(made.FloatPixelData, np.float32).reshape(3, 40, 48)
        written = nibabel.load(maps / f"{name}_quality.nii.gz").get_fdata(dtype=np.float32)
        written = (written[..., 0] if written.ndim == 4 else written).T
        for value, frame in zip(values, made.PerFrameFunctionalGroupsSequence, strict=True):
            x, y, z = map(float, frame.PlanePositionSequence[0].ImagePositionPatient)
            assert (x, y) == (0, 0)
            np.testing.assert_array_equal(value, written[round(z / 4)])


def test_wrong_usage_is_one_line(tmp_path, weights_file, capsys):
    assert main(["dicom"]) == 2
    assert "no study given" in capsys.readouterr().err
    assert main(["dicom", str(tmp_path / "absent"), "--weights", str(weights_file())]) == 1
    assert "absent: does not exist" in capsys.readouterr().err
