"""`mriqf-bids` as it is typed."""

import csv
import json
import re
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest

from benchmarks import bids
from mriqf.bids.app import main
from mriqf.bids.derivatives import derived
from mriqf.bids.tree import find_scans


@pytest.fixture
def dataset(tmp_path, disc):
    """A dataset of two participants, three sessions, five images and one that is cut short."""
    root = tmp_path / "data"
    names = (
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz",
        "sub-02/ses-2/anat/sub-02_ses-2_T1w.nii.gz",
        "sub-02/ses-2/anat/sub-02_ses-2_run-2_T1w.nii.gz",
    )
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(disc(2, 64, 64, seed=k).T, np.diag([1.0, 1, 3, 1])), root / name)
    cut = root / "sub-01/anat/sub-01_FLAIR.nii.gz"
    cut.write_bytes((root / names[0]).read_bytes()[:4000])
    (root / "dataset_description.json").write_text(json.dumps({"Name": "discs", "BIDSVersion": "1.10.0"}))
    return root


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def contents(out):
    """Files of a dataset, but for what a cut run may leave behind."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".work" not in path.parts
    }


def test_participants_and_group(dataset, tmp_path, weights_file, capsys):
    out, words = tmp_path / "out", ["--weights", str(weights_file())]
    assert main([str(dataset), str(out), "participant", *words]) == 1
    said = capsys.readouterr()
    assert said.out == f"{out}\t6\t5\t1\n"
    assert re.search(r"not scored: sub-01/anat/sub-01_FLAIR\.nii\.gz: .*check that the file is complete", said.err)
    made = contents(out)
    assert {name for name in made if "sub-02_ses-2" in name and "run" not in name} == {
        "sub-02/ses-2/anat/sub-02_ses-2_mod-T1w_desc-quality_map.nii.gz",
        "sub-02/ses-2/anat/sub-02_ses-2_mod-T1w_desc-quality_map.json",
        "sub-02/ses-2/anat/sub-02_ses-2_mod-T1w_quality.json",
    }
    assert {"sub-01.html", "sub-02.html", "dataset_description.json", ".bidsignore", "README"} <= made.keys()
    assert not (out / ".work").exists()
    scan = nibabel.load(dataset / "sub-01/anat/sub-01_T1w.nii.gz")
    quality = nibabel.load(out / "sub-01/anat/sub-01_mod-T1w_desc-quality_map.nii.gz")
    assert quality.shape == scan.shape
    assert np.array_equal(quality.affine, scan.affine)

    (dataset / "participants.tsv").write_text("participant_id\tsite\nsub-01\tOslo\nsub-02\tRome\n")
    assert main([str(dataset), str(out), "group"]) == 0
    assert capsys.readouterr().out == f"{out}\t6\t5\t1\n"
    rows = table(out / "group_quality.tsv")
    assert [row["bids_name"] for row in rows] == [
        "sub-01_T1w", "sub-01_T2w", "sub-02_ses-1_T1w", "sub-02_ses-2_T1w", "sub-02_ses-2_run-2_T1w",
    ]  # fmt: skip
    record = json.loads((out / "sub-01/anat/sub-01_mod-T1w_quality.json").read_text())
    assert float(rows[0]["foreground_fraction"]) == pytest.approx(record["foreground_fraction"], rel=1e-5)
    assert [result["slice"] for result in record["slices"]] == [0, 1]
    assert rows[0]["n_slices"] == "2"
    assert [row["site"] for row in rows] == ["Oslo", "Oslo", "Rome", "Rome", "Rome"]
    assert [row["session"] for row in rows] == ["n/a", "n/a", "1", "2", "2"]
    assert table(out / "group_not_scored.tsv")[0]["source"] == "sub-01/anat/sub-01_FLAIR.nii.gz"
    pages = {name: (out / name).read_text() for name in ("sub-01.html", "group_quality.html")}
    assert "sub-01_FLAIR" in pages["sub-01.html"]
    assert "sub-02_ses-1_T1w" in pages["group_quality.html"]
    for text in pages.values():
        data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
        assert all(volume["pictures"] and not volume["amiss"] for volume in data["volumes"])
        assert str(dataset) not in text
    assert [trend["column"] for trend in data["trends"]] == ["site", "session"]


def test_numbers_are_those_of_score(dataset, tmp_path, calibrated_file, capsys):
    from mriqf.cli import main as score

    weights, out, source = str(calibrated_file()[0]), tmp_path / "out", dataset / "sub-01/anat/sub-01_T1w.nii.gz"
    assert main([str(dataset), str(out), "participant", "--participant-label", "02", "--weights", weights]) == 0
    assert main([str(dataset), str(out), "participant", "--participant_label", "sub-01", "--modalities", "T1w",
                 "--weights", weights]) == 0  # fmt: skip
    assert score(["score", str(source), "--json", str(tmp_path / "t.json"), "--weights", weights]) == 0
    capsys.readouterr()
    row = json.loads((tmp_path / "t.json").read_text())[-1]
    record = json.loads((out / "sub-01/anat/sub-01_mod-T1w_quality.json").read_text())
    assert {key: record[key] for key in row if key in record} == {
        key: value for key, value in row.items() if key not in ("input", "slice", "time", "map")
    }
    assert not (out / "sub-01/anat/sub-01_mod-T2w_quality.json").exists()


def test_nothing_is_done_twice_and_changes_are_seen(dataset, tmp_path, weights_file, disc, capsys):
    out = tmp_path / "out"
    words = [str(dataset), str(out), "participant", "--weights", str(weights_file())]
    assert main(words) == 1
    before = {name: (out / name).stat().st_mtime_ns for name in contents(out)}
    whole = dataset / "sub-01/anat/sub-01_FLAIR.nii.gz"
    nibabel.save(nibabel.Nifti1Image(disc(2, 64, 64, seed=7).T, np.eye(4)), whole)
    assert main(words) == 0
    changed = {name for name in contents(out) if (out / name).stat().st_mtime_ns != before.get(name)}
    stem = "sub-01/anat/sub-01_mod-FLAIR"
    assert changed == {
        "sub-01.html", f"{stem}_quality.json", f"{stem}_desc-quality_map.json", f"{stem}_desc-quality_map.nii.gz",
    }  # fmt: skip
    whole.write_bytes(b"")
    assert main(words) == 1
    assert not (out / f"{stem}_desc-quality_map.nii.gz").exists()
    assert "is empty" in capsys.readouterr().err


@pytest.mark.end_to_end
def test_a_killed_run_is_continued(dataset, tmp_path, weights_file):
    weights = str(weights_file())
    outs = [tmp_path / "whole", tmp_path / "killed"]
    assert main([str(dataset), str(outs[0]), "participant", "--weights", weights]) == 1
    command = [sys.executable, "-m", "mriqf.bids.app", str(dataset), str(outs[1]), "participant", "--weights", weights]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        until = time.monotonic() + 120
        while not list(outs[1].glob("sub-01/anat/*_quality.json")) and time.monotonic() < until:
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
    first = next(outs[1].glob("sub-01/anat/*_quality.json"))
    done = first.stat().st_mtime_ns
    assert main([str(dataset), str(outs[1]), "participant", "--weights", weights]) == 1
    assert contents(outs[0]) == contents(outs[1])
    if "not_scored" not in json.loads(first.read_text()):
        assert first.stat().st_mtime_ns == done


@pytest.mark.end_to_end
def test_workers_find_the_same(dataset, tmp_path, weights_file):
    words = ["participant", "--weights", str(weights_file())]
    assert main([str(dataset), str(tmp_path / "one"), *words]) == 1
    assert main([str(dataset), str(tmp_path / "two"), *words, "--nprocs", "2"]) == 1
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_content_that_was_not_fetched_is_told(dataset, tmp_path, weights_file, capsys):
    link = dataset / "sub-02/ses-1/anat/sub-02_ses-1_T2w.nii.gz"
    link.symlink_to("../../../.git/annex/absent.nii.gz")
    words = [str(dataset), str(tmp_path / "out"), "participant", "--session-id", "1", "--weights", str(weights_file())]
    assert main(words) == 1
    assert "sub-02_ses-1_T2w.nii.gz: its content is not here" in capsys.readouterr().err


def test_wrong_usage_is_one_line(dataset, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1", "GeneratedBy": []}))
    for words, status, said in (
        ([tmp_path, tmp_path / "o", "participant"], 1, "is no BIDS dataset"),
        ([dataset, dataset, "participant"], 2, "is the dataset itself"),
        ([dataset, other, "participant"], 2, "holds another dataset"),
        ([dataset, tmp_path / "o", "participant", "--modalities", "CT"], 2, "--modalities is 'CT'"),
        ([dataset, tmp_path / "o", "participant", "--participant-label", "9"], 1, "has no participant 9"),
        ([dataset, tmp_path / "o", "participant", "--nprocs", "0"], 2, "--nprocs is 0"),
    ):
        assert main([str(word) for word in words]) == status
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_names_of_derivatives_keep_order_and_differ(dataset):
    scans = find_scans(dataset)[0]
    paths = {derived(scan, "quality", ".json") for scan in scans}
    assert len(paths) == len(scans) == 6
    run = next(scan for scan in scans if "run" in scan.entities)
    assert derived(run, "map", ".nii.gz", "quality").name == "sub-02_ses-2_run-2_mod-T1w_desc-quality_map.nii.gz"
    processed = type(run)(run.path, run.relative, "anat", {"sub": "02", "desc": "preproc"}, "T1w")
    assert derived(processed, "map", ".nii", "quality").name == "sub-02_mod-T1w_desc-preprocQuality_map.nii"


def test_each_damaged_file_is_named_and_the_others_are_scored(tmp_path, weights_file, capsys, monkeypatch):
    monkeypatch.setattr(bids, "EVERY", 5)
    root, out = tmp_path / "data", tmp_path / "out"
    broken, sidecars = bids.make(root, 25)
    assert len(broken) == len(bids.DAMAGES) == len(sidecars)
    assert main([str(root), str(out), "participant", "--weights", str(weights_file())]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in said if line.startswith("not scored: ")] == broken
    assert main([str(root), str(out), "group"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [row["source"] for row in table(out / "group_not_scored.tsv")] == broken
    assert {line.split(": ")[1] for line in said if line.startswith("warning: ")} == {
        path for path in sidecars if path.replace(".json", ".nii.gz") not in broken
    }
    rows = table(out / "group_quality.tsv")
    assert len(rows) == 20
    assert {row["manufacturer"] for row in rows} == {"maker 0", "maker 1", "maker 2", "n/a"}
