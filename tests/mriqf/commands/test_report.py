"""`mriqf report` as it is typed."""

import csv
import json
import re

import nibabel
import numpy as np
import pytest

from mriqf.cli import main

HOSTILE = "<img src=x onerror=alert(1)>&'.npy"


@pytest.fixture(scope="module")
def archive(tmp_path_factory, disc, untrained):
    """Folder of six volumes of 64 × 64, scored by untrained weights, with maps; one of them named with ill will."""
    from mriqf import weights

    folder = tmp_path_factory.mktemp("archive")
    model = untrained()
    weights.write(folder / "tiny.safetensors", model.state_dict(), {
        "config": weights.config_dict(model.config), "validation": {"mae": 30.0},
    })  # fmt: skip
    names = []
    for k in range(5):
        values = disc(4, 64, 64, seed=k)
        if k == 4:
            values[:, 10:30, 30:50] *= -1  # negative values: clipped
        nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), folder / f"s{k}.nii.gz")
        names.append(folder / f"s{k}.nii.gz")
    np.save(folder / HOSTILE, disc(2, 64, 64, seed=9))
    names.append(folder / HOSTILE)
    assert main(["score", *map(str, names), "--weights", str(folder / "tiny.safetensors"),
                 "--csv", str(folder / "scores.csv"), "--map-dir", str(folder / "maps")]) == 0  # fmt: skip
    return folder


def embedded(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_page_says_what_the_table_says(archive, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["report", str(archive / "scores.csv"), "--out", str(out)]) == 0
    assert capsys.readouterr().out.split("\t")[:3] == [str(out), "6", "6"]
    with (archive / "scores.csv").open(newline="") as file:
        rows = [(r["input"], int(r["slice"]), round(float(r["score"]), 4)) for r in csv.DictReader(file)]
    volumes = embedded(out)["volumes"]
    assert sorted((v["name"], s[0], s[1]) for v in volumes for s in v["slices"]) == sorted(rows)
    assert all(p["image"].startswith("data:image/webp") and p["map"] for v in volumes for p in v["pictures"])
    assert {len(v["pictures"]) for v in volumes} == {2, 4}
    assert {v["amiss"] for v in volumes} == {""}
    assert all((tmp_path / v["map"]).exists() for v in volumes if "%" not in v["map"])
    scores = [v["score"] for v in volumes if "outlier" not in v["flags"]]
    assert scores == sorted(scores)
    assert HOSTILE not in out.read_text()
    again = tmp_path / "again.html"
    assert main(["report", str(archive / "scores.csv"), "--out", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()


def test_hundred_volumes_are_under_twenty_megabytes(archive, tmp_path):
    """Twelve slices a volume of nothing but noise, and as many rows as a long scan has: the worst there is."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "noise.npy", rng.random((14, 256, 256)).astype(np.float32))
    assert main(["score", str(tmp_path / "noise.npy"), "--weights", str(archive / "tiny.safetensors"),
                 "--csv", str(tmp_path / "s.csv"), "--map-dir", str(tmp_path)]) == 0  # fmt: skip
    size = {}
    for count in (0, 12):
        out = tmp_path / f"{count}.html"
        assert main(["report", str(tmp_path / "s.csv"), "--out", str(out), "--pictures", str(count)]) == 0
        assert len(embedded(out)["volumes"][0]["pictures"]) == count
        size[count] = out.stat().st_size
    a_slice = 80  # bytes of a row with everything in it
    assert size[0] + 100 * (size[12] - size[0] + 300 * a_slice) < 20e6


def test_what_is_missing_is_said(archive, tmp_path, capsys):
    moved = tmp_path / "moved"
    moved.mkdir()
    text = (archive / "scores.csv").read_text()
    for name in ("s0.nii.gz", "s1.nii.gz", "s2.nii.gz"):
        (moved / name).write_bytes((archive / name).read_bytes())
    (moved / "maps").mkdir()
    (moved / "maps" / "s0_quality.nii.gz").write_bytes((archive / "maps" / "s0_quality.nii.gz").read_bytes())
    np.save(moved / "s1.npy", np.ones((2, 64, 64)))
    # Paths as they were typed in the table's folder; s1 is another file now.
    text = text.replace(f"{archive}/s1.nii.gz", "s1.npy").replace(f"{archive}/", "")
    (moved / "scores.csv").write_text(text)
    assert main(["report", str(moved / "scores.csv"), "--out", str(moved / "r.html")]) == 0
    printed = capsys.readouterr()
    assert printed.out.split("\t")[1:3] == ["6", "2"]
    assert printed.err.count("warning: no pictures: ") == 4
    found = {v["name"]: v for v in embedded(moved / "r.html")["volumes"]}
    assert (found["s0.nii.gz"]["amiss"], found["s0.nii.gz"]["href"]) == ("", "s0.nii.gz")
    assert "has 2 slices, but slice 3 was scored" in found["s1.npy"]["amiss"]
    assert "maps/s2_quality.nii.gz: does not exist" in found["s2.nii.gz"]["amiss"]
    assert found["s2.nii.gz"]["pictures"][0]["map"] is None
    assert "s3.nii.gz: does not exist" in found["s3.nii.gz"]["amiss"]
    assert (found["s3.nii.gz"]["pictures"], found["s3.nii.gz"]["href"]) == ([], None)
    assert "no pictures" in found["s3.nii.gz"]["flags"]


def test_nothing_is_overwritten_unasked(archive, tmp_path, capsys):
    out, table = tmp_path / "r.html", tmp_path / "scores.csv"
    table.write_bytes((archive / "scores.csv").read_bytes())
    out.write_text("mine")
    assert main(["report", str(table), "--out", str(out)]) == 2
    assert out.read_text() == "mine"
    assert main(["report", str(table), "--out", str(table), "--force"]) == 2
    assert "is a table to read" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "none.csv"), "--out", str(out), "--force"]) == 1
    assert out.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2
    assert main(["report", str(table), "--out", str(out), "--force", "--pictures", "1"]) == 0
    assert out.read_text().startswith("<!DOCTYPE html>")


def test_wrong_usage(tmp_path):
    assert main(["report", "--out", str(tmp_path / "r.html")]) == 2
    assert main(["report", "s.csv", "--out", str(tmp_path / "r.html"), "--pictures", "-1"]) == 2
    assert main(["report", "s.csv"]) == 2


def test_patients_are_not_named(archive, tmp_path, disc):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    pixels = disc(1, 64, 64)[0].astype(np.uint16)
    scan = pydicom.Dataset()
    scan.file_meta = pydicom.dataset.FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    scan.file_meta.MediaStorageSOPClassUID = scan.SOPClassUID = MRImageStorage
    scan.file_meta.MediaStorageSOPInstanceUID = scan.SOPInstanceUID = generate_uid()
    scan.SeriesInstanceUID = generate_uid()
    scan.PatientName, scan.PatientID, scan.PatientBirthDate = "Doe^Jane", "MRN4711", "19700101"
    scan.Rows, scan.Columns, scan.SamplesPerPixel, scan.PhotometricInterpretation = 64, 64, 1, "MONOCHROME2"
    scan.BitsAllocated, scan.BitsStored, scan.HighBit, scan.PixelRepresentation = 16, 16, 15, 0
    scan.PixelData = pixels.tobytes()
    scan.save_as(tmp_path / "scan.dcm", enforce_file_format=True)
    assert main(["score", str(tmp_path / "scan.dcm"), "--weights", str(archive / "tiny.safetensors"),
                 "--csv", str(tmp_path / "s.csv"), "--map-dir", str(tmp_path)]) == 0  # fmt: skip
    assert main(["report", str(tmp_path / "s.csv"), "--out", str(tmp_path / "r.html")]) == 0
    for name in ("s.csv", "r.html"):
        text = (tmp_path / name).read_text()
        assert not re.search(f"Doe|Jane|MRN4711|19700101|{scan.SeriesInstanceUID}", text)
