"""`mriqf report` as it is typed."""

import base64
import csv
import io
import json
import re

import nibabel
import numpy as np
import pytest
from PIL import Image

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
        rows = [(r["input"], int(r["slice"]), round(float(r["score"]), 4)) for r in csv.DictReader(file) if r["slice"]]
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
    result = {v["name"]: v for v in embedded(moved / "r.html")["volumes"]}
    assert (result["s0.nii.gz"]["amiss"], result["s0.nii.gz"]["href"]) == ("", "s0.nii.gz")
    assert "has 2 slices, but slice 3 was scored" in result["s1.npy"]["amiss"]
    assert "maps/s2_quality.nii.gz: does not exist" in result["s2.nii.gz"]["amiss"]
    assert result["s2.nii.gz"]["pictures"][0]["map"] is None
    assert "s3.nii.gz: does not exist" in result["s3.nii.gz"]["amiss"]
    assert (result["s3.nii.gz"]["pictures"], result["s3.nii.gz"]["href"]) == ([], None)
    assert "no pictures" in result["s3.nii.gz"]["flags"]


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


def test_cut_off_positions_times_and_failures(calibrated_file, tmp_path, disc, monkeypatch):
    """Two volumes: too few for an outlier, but a cut-off is one whatever the others are."""
    monkeypatch.chdir(tmp_path)
    weights, _ = calibrated_file()
    affine = np.diag([2.0, 2, 5, 1])
    affine[:3, 3] = (-60, -60, -7.5)
    series = np.stack([disc(3, seed=k) for k in range(2)])
    nibabel.save(nibabel.Nifti1Image(series.transpose(3, 2, 1, 0), affine), "series.nii.gz")
    np.save("plain.npy", disc(1, seed=5))
    np.save("small.npy", disc(1, 20, 64))
    assert main(["score", "series.nii.gz", "plain.npy", "small.npy", "--weights", str(weights), "--csv", "s.csv"]) == 1
    assert main(["report", "s.csv", "--out", "r.html", "--pictures", "6"]) == 0
    data = embedded(tmp_path / "r.html")
    assert [entry["name"] for entry in data["unscored"]] == ["small.npy"]
    assert "image is 20×64: smaller than 32×32" in data["unscored"][0]["reason"]
    result = {v["name"]: v for v in data["volumes"]}
    scored = result["series.nii.gz"]
    assert [(s[0], s[7]) for s in scored["slices"]] == [(k, t) for t in range(2) for k in range(3)]
    assert [p["slice"] for p in scored["pictures"]] == list(range(6))
    assert [p["position"] for p in scored["pictures"]] == ["I 7.5 mm", "I 2.5 mm", "S 2.5 mm"] * 2
    assert len({p["image"] for p in scored["pictures"]}) == 6
    assert {p["position"] for p in result["plain.npy"]["pictures"]} == {""}
    # The cut-off, moved so that one of the two lies below it.
    scores = {name: v["score"] for name, v in result.items()}
    low, high = sorted(scores, key=scores.get)
    with (tmp_path / "s.csv").open(newline="") as file, (tmp_path / "moved.csv").open("w", newline="") as other:
        rows = list(csv.DictReader(file))
        table = csv.DictWriter(other, list(rows[0]))
        table.writeheader()
        table.writerows(row | {"cut_off": (scores[low] + scores[high]) / 2} for row in rows)
    assert main(["report", "moved.csv", "--out", "moved.html", "--pictures", "0"]) == 0
    volumes = embedded(tmp_path / "moved.html")["volumes"]
    assert [v["name"] for v in volumes] == [low, high]
    assert "below the cut-off" in volumes[0]["flags"]
    assert "below the cut-off" not in volumes[1]["flags"]
    assert all(v["away"] is None for v in volumes)


def test_volume_cut_along_another_axis_is_shown_so(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = str(archive / "tiny.safetensors")
    values = np.load(archive / HOSTILE).repeat(32, 0)  # 64 slices
    np.save("deep.npy", values)
    assert main(["score", "deep.npy", "--axis", "column", "--slices", "20:23", "--weights", weights, "--csv", "s.csv",
                 "--map-dir", "maps"]) == 0  # fmt: skip
    assert main(["report", "s.csv", "--out", "r.html"]) == 0
    (volume,) = embedded(tmp_path / "r.html")["volumes"]
    assert volume["amiss"] == ""
    assert [s[0] for s in volume["slices"]] == [20, 21, 22]
    picture = Image.open(io.BytesIO(base64.b64decode(volume["pictures"][0]["image"].partition(",")[2])))
    assert np.corrcoef(np.asarray(picture.convert("L")).ravel(), values[:, :, 20].ravel())[0, 1] > 0.95


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


def test_two_tables_side_by_side(archive, tmp_path, monkeypatch, capsys, disc):
    """Four of the scans again, one of them blurred: it changed most, and is shown by both reconstructions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "again").mkdir()
    for k in range(4):
        values = disc(4, 64, 64, seed=k)
        if k == 2:
            values[1] = (values[1] + np.roll(values[1], 1, 0) + np.roll(values[1], 1, 1)) / 3
        np.save(tmp_path / "again" / f"s{k}.npy", values)
    names = [f"again/s{k}.npy" for k in range(4)]
    assert main(["score", *names, "--weights", str(archive / "tiny.safetensors"), "--csv", "b.csv"]) == 0
    tokens = ["report", str(archive / "scores.csv"), "b.csv", "--labels", "full", "blurred", "--out", "r.html"]
    assert main([*tokens, "--pictures", "2"]) == 0
    printed = capsys.readouterr().out.splitlines()[-1].split("\t")
    assert printed[:2] == ["r.html", "4"]
    data = embedded(tmp_path / "r.html")
    assert data["labels"] == ["full", "blurred"]
    first, second, third = data["changed"][:3]
    assert (data["volumes"][first["volume"]]["name"], first["slice"]) == ("s2", 1)
    assert [len(entry["pictures"]) for entry in (first, second, third)] == [2, 2, 0]
    assert first["pictures"][0]["image"] != first["pictures"][1]["image"]
    assert (first["pictures"][0]["map"] is None, first["pictures"][1]["map"]) == (False, None)
    assert [entry["reason"] for entry in data["apart"]] == ["only in full"] * 2
    for wrong in (tokens[:2] + tokens[3:], [*tokens[:4], "a", "a", *tokens[6:]], [*tokens[:3], "b.csv", *tokens[3:]]):
        assert main([*wrong, "--force"]) == 2
        assert "--labels compares two tables" in capsys.readouterr().err


def test_trends_by_columns_of_the_table(archive, tmp_path, capsys):
    with (archive / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["input"] for row in rows})
    for row in rows:
        k = names.index(row["input"])
        row |= {"Site": "AB"[k % 2], "acq_time": f"2024-01-0{k + 1}T10:00:00", "reader": "xyz"[k % 3]}
    table, out = tmp_path / "t.csv", tmp_path / "r.html"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    words = ["report", str(table), "--out", str(out), "--pictures", "0", "--force"]
    assert main(words) == 0
    data = embedded(out)
    assert [trend["column"] for trend in data["trends"]] == ["acq_time", "site"]
    scores = {v["name"]: v["score"] for v in data["volumes"]}
    for name, median, count in data["trends"][1]["groups"]:
        of = [scores[n] for k, n in enumerate(names) if "AB"[k % 2] == name]
        assert (median, count) == (pytest.approx(np.median(of), abs=1e-4), 3)
    assert main([*words, "--by", "reader"]) == 0
    assert [trend["column"] for trend in embedded(out)["trends"]] == ["acq_time", "reader", "site"]
    capsys.readouterr()
    assert main([*words, "--by", "nothing"]) == 1
    said = capsys.readouterr().err
    assert "has no column nothing" in said
    assert said.count("\n") == 1
    assert main([*words, str(table), "--by", "reader", "--labels", "a", "b"]) == 2
