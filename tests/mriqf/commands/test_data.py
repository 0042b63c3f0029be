"""`mriqf data` as it is typed."""

import hashlib

import numpy as np
import pytest

from mriqf.cli import main


@pytest.fixture
def folder(tmp_path):
    """Data of a manifest with two counted folders and one hashed file, all as they should be."""
    for split, names in (("train", "abc"), ("val", "de")):
        (tmp_path / f"multicoil_{split}").mkdir()
        for name in names:
            (tmp_path / f"multicoil_{split}" / f"{name}.h5").write_text(name)
    np.save(tmp_path / "scan.npy", np.zeros(3))
    sha256 = hashlib.sha256((tmp_path / "scan.npy").read_bytes()).hexdigest()
    (tmp_path / "m.toml").write_text(f"""name = "m"
[[source]]
path = "multicoil_train"
split = "train"
files = "*.h5"
count = 3
[[source]]
path = "multicoil_val"
split = "val"
files = "*.h5"
count = 2
[[source]]
path = "scan.npy"
split = "test"
sha256 = "{sha256}"
""")
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    def data(command, *options):
        status = main(["data", command, str(folder / "m.toml"), "--data", str(folder), *options])
        printed = capsys.readouterr()
        return status, [line.split("\t") for line in printed.out.splitlines()], printed.err

    return data


def test_all_is_well(run):
    status, lines, error = run("verify")
    assert (status, error) == (0, "")
    paths = [("train", "multicoil_train"), ("val", "multicoil_val"), ("test", "scan.npy")]
    assert lines == [["ok", split, path, ""] for split, path in paths]


def test_files_too_few_too_many_and_gone(run, folder):
    (folder / "multicoil_train" / "a.h5").unlink()
    (folder / "multicoil_val" / "f.h5").write_text("f")
    (folder / "scan.npy").unlink()
    status, lines, _ = run("verify")
    assert status == 1
    assert [line[0] for line in lines] == ["changed", "changed", "missing"]
    assert lines[0][3].endswith("multicoil_train/*.h5 are 2 files, not 3: fetch them again")
    assert "are 3 files, not 2" in lines[1][3]
    assert "scan.npy is missing: fetch it" in lines[2][3]
    for file in (folder / "multicoil_val").iterdir():
        file.unlink()
    assert run("verify")[1][1][0] == "missing"


def test_changed_file(run, folder):
    np.save(folder / "scan.npy", np.ones(3))
    status, lines, _ = run("verify")
    assert status == 1
    assert [line[0] for line in lines] == ["ok", "ok", "changed"]
    assert "sha256 differs" in lines[2][3]


def test_volume_in_two_splits(run, folder):
    (folder / "multicoil_val" / "d.h5").rename(folder / "multicoil_val" / "a.h5")
    status, lines, _ = run("verify")
    assert status == 1
    assert lines[1][0] == "changed"
    assert lines[1][3].endswith("multicoil_val/a.h5 is also in multicoil_train, for train: keep it in one split")


def test_list(run, folder):
    status, lines, _ = run("list", "--split", "val")
    assert status == 0
    assert lines == [[str(folder / "multicoil_val" / f"{name}.h5")] for name in "de"]
    assert len(run("list")[1]) == 6


def test_wrong_usage(run, folder):
    assert run("list", "--split", "trian")[0] == 2
    (folder / "m.toml").write_text("no manifest")
    status, lines, error = run("verify")
    assert (status, lines) == (1, [])
    assert "m.toml is not a manifest" in error
    assert len(error.splitlines()) == 1


@pytest.mark.end_to_end
def test_evidence_is_kept_and_trained_on(tiny_data, tmp_path, error_file, capsys):
    """From magnitude images to a k-space predictor with its calibration, as it is typed."""
    from mriqf import weights
    from mriqf.scoring.evidence import KSpaceScorer

    _, root = tiny_data
    for split in ("train", "val"):
        folder = tmp_path / split
        options = ["--data", str(root), "--out", str(folder), "--n", "5", "--split", split]
        assert main(["data", "evidence", str(root / "tiny.toml"), *options]) == 0
        assert len(list(folder.glob("*.npz"))) == 1
        assert main(["data", "evidence", str(root / "tiny.toml"), *options, "--seed", "1"]) == 1
    out = tmp_path / "k.safetensors"
    train = ["train", "kspace", str(tmp_path / "train"), "--validation", str(tmp_path / "val"), "--out", str(out)]
    capsys.readouterr()
    assert main([*train, "--image-weights", str(error_file()), "--steps", "5", "--members", "2"]) == 0
    printed = capsys.readouterr()
    lines = [line.split("\t") for line in printed.out.splitlines()]
    assert lines[0] == ["", "pooled", "mae", "held", "map"]
    assert lines[1][0] == "validation" and len(lines) > 3
    assert "no calibration: " in printed.err and "are too few" in printed.err
    assert KSpaceScorer(out).calibration is None and not out.with_suffix(".calibration.json").exists()
    assert weights.read(out)[1]["image_weights"]["name"] == "error"
    assert main([*train, "--image-weights", str(error_file())]) == 2  # there are weights


@pytest.mark.parametrize(("command", "module", "size"), [("groups", "groups", 25), ("evidence", "evidence", 5)])
def test_options_reach_the_generator(folder, monkeypatch, command, module, size):
    calls = []
    monkeypatch.setattr(
        f"mriqf.training.{module}.shards.generate", lambda *args, **options: calls.append((args, options))
    )
    monkeypatch.setattr("mriqf.training.groups.shards.read_pools", lambda *args: args[1:])
    manifest, out = folder / "m.toml", folder / "out"
    words = [
        "--root",
        folder,
        "--out",
        out,
        "--n",
        2 * size + 1,
        "--split",
        "val",
        "--seed",
        7,
        "--start",
        1,
        "--step",
        2,
    ]
    assert main(["data", command, str(manifest), *map(str, words)]) == 0
    (((pools, origin, *rest), options),) = calls
    assert pools == (folder, "val")
    assert origin["split"] == "val" and origin["learned"] == []
    assert rest == [out, 2 * size + 1, 7]
    assert {key: options[key] for key in ("learned", "start", "step")} == {"learned": [], "start": 1, "step": 2}
