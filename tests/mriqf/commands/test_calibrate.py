"""`mriqf calibrate` as it is typed."""

import numpy as np
import pytest

from mriqf.calibration.file import read
from mriqf.cli import main


@pytest.fixture
def folder(tmp_path, disc):
    """Writer of a folder of degraded examples: discs under more and more noise."""

    def write(name="examples", n=48, **columns):
        (tmp_path / name).mkdir()
        rng = np.random.default_rng(0)
        level = rng.permutation(np.linspace(0.02, 0.4, n))
        images = np.concatenate([disc(1, seed=k) for k in range(n)]) / 1000
        images = np.abs(images + level[:, None, None] * rng.standard_normal(images.shape))
        padded = np.zeros((n, 256, 256), np.float16)
        padded[:, :96, :96] = images
        np.savez(
            tmp_path / name / "a.npz", image=padded, error=padded, shape=np.full((n, 2), 96), nrmse=level,
            ssim=1 - level, level=level, family=np.full(n, "noise"), dataset=np.full(n, "discs"),
            subject=np.array([str(k % 2) for k in range(n)]), **columns,
        )  # fmt: skip
        return tmp_path / name

    return write


@pytest.fixture
def run(capsys, error_file):
    """Runner of `mriqf calibrate`: exit status, lines of standard output, standard error."""
    weights = str(error_file())

    def calibrate(*tokens, weights=weights):
        capsys.readouterr()
        status = main(["calibrate", *map(str, tokens), "--weights", weights])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err

    return calibrate


def test_learns_and_tells_how_well(run, folder, tmp_path):
    status, lines, error = run(folder(n=80))
    assert status == 0
    made = read(tmp_path / "error.calibration.json")  # where `mriqf score` finds it
    assert made.pool == "rms"
    assert made.acceleration is None
    assert len(made.held_score) == 40
    assert made.split == "subjects: 1 fitted, 1 held out"
    table = [line.split("\t") for line in lines]
    assert [row[:2] for row in table[:3]] == [["subject left out", "images"], ["discs/0", "40"], ["discs/1", "40"]]
    assert [row[0] for row in table[3:]] == ["NRMSE limit", "0.05", "0.10", "0.15", "0.20"]
    cut = made.cut_off(0.2)
    assert table[-1][1:] == [
        f"{cut.score:.1f}", f"{cut.within_rejected:.3f}", f"{cut.beyond_passed:.3f}", str(cut.n_within),
        str(cut.n_beyond),
    ]  # fmt: skip
    assert "80 images, subjects: 1 fitted, 1 held out; 40 gave the intervals and cut-offs" in error


def test_scores_are_those_of_mriqf_score(run, folder, tmp_path, error_file):
    import mriqf

    run(folder(), "--out", tmp_path / "b.json")
    with np.load(tmp_path / "examples" / "a.npz") as archive:
        images = archive["image"][:3, :96, :96].astype(np.float32)
    held = read(tmp_path / "b.json").held_score
    result = mriqf.score(images[1], mriqf.load(error_file())).value
    assert min(abs(result - s) for s in held) < 1e-3  # subject 1 is held out


def test_accelerations_and_familiar_images(run, folder, tmp_path):
    acceleration = np.linspace(1, 8, 48)
    first = folder(acceleration=acceleration)
    more = folder("more", n=40)
    run(first, "--familiar", more, "--out", tmp_path / "b.json")
    made = read(tmp_path / "b.json")
    assert made.acceleration is not None
    run(first, "--out", tmp_path / "c.json")
    assert read(tmp_path / "c.json").domain != made.domain
    assert read(tmp_path / "c.json").nrmse == made.nrmse


def test_is_not_replaced(run, folder, tmp_path):
    (tmp_path / "b.json").write_text("mine")
    status, lines, error = run(folder(), "--out", tmp_path / "b.json")
    assert (status, lines) == (2, [])
    assert "b.json exists" in error
    assert run(tmp_path / "examples", "--out", tmp_path / "b.json", "--force")[0] == 0
    assert read(tmp_path / "b.json").coverage == 0.9


def test_wrong_usage_is_one_line(run, folder, tmp_path, weights_file):
    examples = folder(n=20)
    assert run()[0] == 2
    assert run(examples, "--coverage", 1.2)[0] == 2
    status, _, error = run(examples, weights=str(weights_file()))
    assert status == 2
    assert "know no errors" in error
    status, _, error = run(examples)
    assert status == 1
    assert "20 scored images are too few for a coverage of 0.9" in error
    (tmp_path / "empty").mkdir()
    assert "holds no shards" in run(tmp_path / "empty")[2]
    assert not list(tmp_path.glob("*.json"))
