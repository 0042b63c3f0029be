"""`mriqf score` as it is typed."""

import csv
import dataclasses
import json
import math

import nibabel
import numpy as np
import pytest
from PIL import Image

import mriqf
from mriqf.calibration_file import write
from mriqf.cli import main

AFFINE = np.array([[0, 2.0, 0, -5], [-1.5, 0, 0, 7], [0, 0, 3, 1], [0, 0, 0, 1]])


@pytest.fixture
def scan(tmp_path, disc):
    """A NIfTI volume of four slices, the last one empty."""
    values = disc(4, 80, 96)
    values[3] = 0
    nibabel.save(nibabel.Nifti1Image(values.T, AFFINE), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def run(capsys, weights_file):
    """Runner of `mriqf score` with untrained weights: exit status, lines of standard output, standard error."""
    weights = str(weights_file())

    def score(*tokens, weights=weights):
        capsys.readouterr()
        status = main(["score", *map(str, tokens), "--weights", weights])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err

    score.weights = weights
    return score


def save(path, image):
    path.parent.mkdir(exist_ok=True)
    np.save(path, image)
    return path


def test_prints_six_fields_a_slice(run, scan):
    status, lines, error = run(scan)
    assert status == 0
    fields = [line.split("\t") for line in lines]
    assert [f[0] for f in fields] == [str(scan)] * 4
    assert [f[1] for f in fields] == ["0", "1", "2", "3"]
    assert all(0 <= float(f[2]) <= 100 for f in fields[:3])
    assert fields[3][2] == "nan"
    assert {tuple(f[3:5]) for f in fields} == {("foreground", run.weights)}
    assert all(0.3 < float(f[5]) < 0.7 for f in fields[:3])
    assert float(fields[3][5]) == 0
    assert all(len(f) == 6 for f in fields)
    assert f"{scan}: " in error


def test_tables_say_what_was_printed(run, scan, tmp_path):
    status, lines, _ = run(scan, "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json", "--pool", "minkowski:-2")
    assert status == 0
    with (tmp_path / "a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    objects = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    assert len(table) == len(objects) == len(lines) == 4
    for line, row, found in zip(lines, table, objects, strict=True):
        printed = line.split("\t")
        assert {"input", "slice", "score", "pool", "weights", "foreground_fraction"} <= found.keys() == row.keys()
        assert [row[k] for k in ("input", "slice", "pool", "weights")] == [printed[k] for k in (0, 1, 3, 4)]
        assert (found["input"], found["slice"]) == (str(scan), int(printed[1]))
        assert found["pool"] == "minkowski:-2"
        assert float(row["foreground_fraction"]) == found["foreground_fraction"]
        assert found["low"] < found["high"]
    for line, row, found in zip(lines[:3], table, objects, strict=False):
        assert float(line.split("\t")[2]) == pytest.approx(found["score"], abs=1e-4)
        assert float(row["score"]) == found["score"]
    assert objects[3]["score"] is None
    assert math.isnan(float(table[3]["score"]))


def test_maps_lie_where_the_input_lies(run, scan, tmp_path):
    assert run(scan, "--map-dir", tmp_path / "maps")[0] == 0
    written = nibabel.load(tmp_path / "maps" / "scan_quality.nii.gz")
    np.testing.assert_allclose(written.affine, AFFINE)
    quality = written.get_fdata()
    assert quality.shape == (96, 80, 4)
    assert quality.min() >= 0
    assert quality.max() <= 100
    assert quality.std() > 0.01


def test_slices_that_were_not_chosen_have_no_map(run, scan, tmp_path):
    status, lines, _ = run(scan, "--slices", "1:3", "--map-dir", tmp_path)
    assert status == 0
    assert [line.split("\t")[1] for line in lines] == ["1", "2"]
    empty = np.isnan(nibabel.load(tmp_path / "scan_quality.nii.gz").get_fdata())
    assert empty.all((0, 1)).tolist() == [True, False, False, True]
    assert not empty[..., 1:3].any()
    everything = run(scan)[1]
    assert [float(line.split("\t")[2]) for line in lines] == pytest.approx(
        [float(line.split("\t")[2]) for line in everything[1:3]], abs=0.02
    )


@pytest.mark.parametrize(
    ("text", "chosen"), [("2", [2]), ("-1", [3]), ("::2", [0, 2]), ("1:", [1, 2, 3]), (":", [0, 1, 2, 3])]
)
def test_choice_of_slices(run, scan, text, chosen):
    status, lines, _ = run(scan, f"--slices={text}")
    assert status == 0
    assert [int(line.split("\t")[1]) for line in lines] == chosen


def test_pictures(run, scan, tmp_path):
    assert run(scan, "--overlay-dir", tmp_path / "new" / "pictures", "--slices", "1:3")[0] == 0
    files = sorted((tmp_path / "new" / "pictures").iterdir())
    assert [file.name for file in files] == ["scan_0001.png", "scan_0002.png"]
    for file in files:
        with Image.open(file) as picture:
            assert np.asarray(picture.convert("L")).std() > 5


@pytest.mark.parametrize("cause", ["missing", "broken", "constant", "small", "colour"])
def test_bad_input_among_good_ones(run, scan, tmp_path, disc, texture, cause):
    bad = tmp_path / "bad.npy"
    match cause:
        case "broken":
            bad.write_bytes(b"\x93NUMPY nothing")
        case "constant":
            np.save(bad, np.ones((80, 80)))
        case "small":
            np.save(bad, disc(1, 30, 30))
        case "colour":
            np.save(bad, texture(80, 80, channels=3))
    good = save(tmp_path / "good.npy", disc(1))
    status, lines, error = run(scan, bad, good, "--json", tmp_path / "a.json")
    assert status == 1
    assert [line.split("\t")[0] for line in lines] == [str(scan)] * 4 + [str(good)]
    assert len([line for line in error.splitlines() if "bad.npy" in line]) == 1
    assert "Traceback" not in error
    assert len(json.loads((tmp_path / "a.json").read_text())) == 5


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["--slices", "a"], "--slices is 'a': write it as 7, 10:30 or ::5"),
        (["--slices", "::-1"], "--slices is '::-1'"),
        (["--slices", "1:2:3:4"], "--slices is '1:2:3:4'"),
        (["--slices", ""], "--slices is ''"),
        (["--pool", "median"], "pool is 'median': choose one of foreground"),
        (["--pool", "minkowski:"], "pool is 'minkowski:'"),
        (["--batch-size", "0"], "--batch-size is 0: give 1 or more"),
        (["--device", "tpu"], "--device is 'tpu'"),
        (["--batch-size", "many"], "many"),
    ],
)
def test_options_that_cannot_be_meant(run, scan, tokens, message):
    status, lines, error = run(scan, *tokens)
    assert status == 2
    assert not lines
    assert message in error


def test_slices_that_the_input_does_not_have(run, scan):
    status, lines, error = run(scan, "--slices", "9")
    assert (status, lines) == (1, [])
    assert "--slices selects none of its 4 slices" in error


def test_misspelt_option_is_guessed(run, scan):
    status, lines, error = run(scan, "--overlay-dri", "x")
    assert (status, lines) == (2, [])
    assert "--overlay-dir" in error


def test_nothing_to_do(run):
    assert run()[0] == 2


def test_unknown_weights(run, scan):
    status, lines, error = run(scan, weights="qf-grya")
    assert (status, lines) == (2, [])
    assert "weights 'qf-grya' not found" in error


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_tables_are_not_replaced(run, scan, tmp_path, option):
    table = tmp_path / "table"
    table.write_text("mine")
    status, lines, error = run(scan, option, table)
    assert (status, lines) == (2, [])  # noticed before the work, not after it
    assert "table exists: choose another name or pass --force" in error
    assert table.read_text() == "mine"
    assert run(scan, option, table, "--force")[0] == 0
    assert str(scan) in table.read_text()


@pytest.mark.parametrize(("option", "name"), [("--map-dir", "scan_quality.nii.gz"), ("--overlay-dir", "scan_0000.png")])
def test_maps_and_pictures_are_not_replaced(run, scan, tmp_path, option, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    status, _, error = run(scan, option, tmp_path / "out")
    assert status == 1
    assert f"{name} exists" in error
    assert (tmp_path / "out" / name).read_text() == "mine"
    assert run(scan, option, tmp_path / "out", "--force")[0] == 0
    assert (tmp_path / "out" / name).read_bytes() != b"mine"


def test_inputs_of_one_name_do_not_collide(run, tmp_path, disc):
    inputs = [save(tmp_path / folder / "x.npy", disc(1, seed=seed)) for seed, folder in enumerate("abc")]
    inputs.append(save(tmp_path / "d" / "x-2.npy", disc(1, seed=9)))
    status, lines, _ = run(*inputs, "--map-dir", tmp_path / "maps", "--overlay-dir", tmp_path / "pictures")
    assert status == 0
    assert [line.split("\t")[0] for line in lines] == [str(path) for path in inputs]
    maps = sorted((tmp_path / "maps").iterdir())
    assert len({nibabel.load(path).get_fdata().tobytes() for path in maps}) == len(maps) == 4
    assert len(list((tmp_path / "pictures").iterdir())) == 4


def test_users_mask(run, scan, tmp_path):
    mask = np.zeros((96, 80, 4), np.uint8)
    mask[:48, :40, :2] = 1
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), tmp_path / "mask.nii")
    status, lines, _ = run(scan, "--mask", tmp_path / "mask.nii")
    assert status == 0
    assert [float(line.split("\t")[5]) for line in lines] == [0.25, 0.25, 0, 0]
    nibabel.save(nibabel.Nifti1Image(mask[1:], AFFINE), tmp_path / "mask.nii")
    status, lines, error = run(scan, "--mask", tmp_path / "mask.nii")
    assert (status, lines) == (1, [])
    assert "give a mask of the image's size" in error


def test_batch_size_changes_no_score(run, scan):
    scores = [[float(line.split("\t")[2]) for line in run(scan, "--batch-size", n)[1]] for n in (1, 8)]
    np.testing.assert_allclose(*scores, atol=0.02)


def test_jpeg_in_disguise_is_told(run, tmp_path, texture):
    from mriqf.jpeg import compress_pixels

    Image.fromarray(compress_pixels(texture(96, 96), 70)).save(tmp_path / "a.png")
    status, _, error = run(tmp_path / "a.png", "--json", tmp_path / "a.json")
    assert status == 0
    assert "lattice of JPEG quality 70" in error
    assert json.loads((tmp_path / "a.json").read_text())[0]["jpeg_quality"] == 70


def test_line_breaks_in_names_do_not_break_the_table(run, tmp_path, disc):
    path = save(tmp_path / "a\tb\nc.npy", disc(1))
    status, lines, error = run(path)
    assert status == 0
    assert len(lines) == 1
    assert len(lines[0].split("\t")) == 6
    assert len(error.splitlines()) == 1


@pytest.fixture
def calibrated(run, calibrated_file):
    """Runner of `mriqf score` with weights that have a calibration, and the calibration."""
    path, made = calibrated_file()
    return lambda *tokens: run(*tokens, weights=str(path)), made


def test_calibrated_weights_print_the_error_to_expect(calibrated, scan, tmp_path):
    run, made = calibrated
    status, lines, error = run(scan, "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json")
    assert status == 0
    assert all(len(line.split("\t")) == 8 for line in lines)
    assert [line.split("\t")[3] for line in lines] == ["rms"] * 4
    objects = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    with (tmp_path / "a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    result = mriqf.score(mriqf.read(scan), objects[0]["weights"])
    for line, found, row, known in zip(lines[:3], objects, table, result.slices, strict=False):
        printed, domain = line.split("\t")[6:]
        assert domain == found["domain"] == row["domain"] == "ok"
        value, low, high = (found[name] for name in ("nrmse", "nrmse_low", "nrmse_high"))
        assert 0 < low <= value <= high
        digits = 2 if value >= 0.05 else 3
        assert printed == f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
        assert (value, low, high) == (known.expected.nrmse, known.expected.nrmse_low, known.expected.nrmse_high)
        assert float(row["ssim_low"]) == found["ssim_low"] <= found["ssim"] <= found["ssim_high"]
        assert found["acceleration_low"] <= found["acceleration"] <= found["acceleration_high"]
        assert 0 < found["distance"] <= 1
    assert lines[3].split("\t")[6:] == ["-", "no foreground"]
    assert (objects[3]["nrmse"], table[3]["nrmse"], objects[3]["domain"]) == (None, "", "no foreground")
    shares = [s.foreground_fraction for s in result.slices[:3]]
    mean, low, high = (
        np.average([found[name] for found in objects[:3]], weights=shares)
        for name in ("nrmse", "nrmse_low", "nrmse_high")
    )
    digits = 2 if mean >= 0.05 else 3
    cut = made.cut_off(0.1)
    assert (
        f"over 4 slices, NRMSE {mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}] over the 3 in the domain; "
        f"cut-off {cut.score:.1f} for NRMSE 0.10 ({100 * cut.good_rejected:.0f} % of good images fall below it, "
        f"{100 * cut.bad_passed:.0f} % of bad ones pass)"
    ) in error


def test_unknown_images_get_a_reason_and_no_number(calibrated, tmp_path):
    run, _ = calibrated
    noise = save(tmp_path / "noise.npy", np.random.default_rng(0).random((1, 96, 96)))
    status, lines, error = run(noise, "--json", tmp_path / "a.json")
    assert status == 0
    assert lines[0].split("\t")[6] == "-"
    assert lines[0].split("\t")[7].startswith("unlike calibration (distance ")
    assert "NRMSE unknown: unlike calibration" in error
    (found,) = json.loads((tmp_path / "a.json").read_text())
    assert found["nrmse"] is found["ssim_high"] is found["acceleration"] is None
    assert found["distance"] > 1


def test_limit_of_the_cut_off(calibrated, scan, run):
    calibrated_run, made = calibrated
    error = calibrated_run(scan, "--limit", 0.2)[2]
    assert f"cut-off {made.cut_off(0.2).score:.1f} for NRMSE 0.20" in error
    status, lines, error = calibrated_run(scan, "--limit", 1e-4)
    assert (status, lines) == (2, [])
    assert "limit is 0.0001: the calibration has 0 images with a smaller NRMSE" in error
    status, lines, error = run(scan, "--limit", 0.1)
    assert (status, lines) == (2, [])
    assert "there is no calibration: give one by --calibration FILE" in error


def test_calibration_of_choice(calibrated, scan, run, tmp_path):
    calibrated_run, made = calibrated
    assert [len(line.split("\t")) for line in calibrated_run(scan, "--calibration", "none")[1]] == [6] * 4
    assert [len(line.split("\t")) for line in calibrated_run(scan, "--pool", "mean")[1]] == [6] * 4
    write(tmp_path / "b.json", dataclasses.replace(made, coverage=0.8))
    assert calibrated_run(scan, "--calibration", tmp_path / "b.json")[1] == calibrated_run(scan)[1]
    status, lines, error = run(scan, "--calibration", tmp_path / "b.json")
    assert (status, lines) == (2, [])
    assert "b.json belongs to other weights than" in error


def test_pool_of_errors_is_refused_where_no_errors_are_known(run, scan):
    status, lines, error = run(scan, "--pool", "rms")
    assert (status, lines) == (2, [])
    assert "pool is 'rms', of errors, which" in error
    assert len(error.splitlines()) == 1
