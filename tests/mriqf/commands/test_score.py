"""`mriqf score` as it is typed."""

import csv
import dataclasses
import json
import math
import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

import mriqf
from mriqf.calibration.file import write
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
    """Runner of `mriqf score` with untrained weights: exit status, rows of standard output, standard error."""
    weights = str(weights_file())

    def score(*tokens, weights=weights):
        capsys.readouterr()
        status = main(["score", *map(str, tokens), "--weights", weights, "--header"])
        printed = capsys.readouterr()
        header, *lines = printed.out.splitlines() or [""]
        fields = [line.split("\t") for line in lines]
        return status, [dict(zip(header.split("\t"), row, strict=True)) for row in fields], printed.err

    score.weights = weights
    return score


def save(path, image):
    path.parent.mkdir(exist_ok=True)
    np.save(path, image)
    return path


def test_prints_a_row_a_slice(run, scan):
    status, rows, error = run(scan)
    assert status == 0
    assert list(rows[0]) == [
        "input", "slice", "time", "nrmse", "nrmse_low", "nrmse_high", "score", "unit", "resolved",
        "foreground_fraction", "pool", "weights", "remark",
    ]  # fmt: skip
    assert [row["input"] for row in rows] == [str(scan)] * 4
    assert [row["slice"] for row in rows] == ["0", "1", "2", "3"]
    assert all(0 <= float(row["score"]) <= 100 for row in rows[:3])
    assert (rows[3]["score"], rows[3]["remark"]) == ("nan", "no foreground")
    assert {(row["pool"], row["weights"]) for row in rows} == {("foreground", run.weights)}
    assert {(row["unit"], row["resolved"]) for row in rows} == {("JPEG quality", "")}
    assert all(0.3 < float(row["foreground_fraction"]) < 0.7 for row in rows[:3])
    assert float(rows[3]["foreground_fraction"]) == 0
    assert {row[key] for row in rows for key in ("time", "nrmse", "nrmse_low", "nrmse_high")} == {""}
    assert f"{scan}: " in error


def test_header_is_for_those_who_ask(capsys, weights_file, scan):
    main(["score", str(scan), "--weights", str(weights_file())])
    assert capsys.readouterr().out.startswith(f"{scan}\t0\t")


def test_tables_say_what_was_printed(run, scan, tmp_path):
    status, rows, _ = run(scan, "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json", "--pool", "minkowski:-2")
    assert status == 0
    with (tmp_path / "a.csv").open(newline="") as file:
        *table, whole = list(csv.DictReader(file))
    *objects, whole_object = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    assert len(table) == len(objects) == len(rows) == 4
    for printed, row, result in zip(rows, table, objects, strict=True):
        assert {"input", "slice", "score", "pool", "weights", "foreground_fraction"} <= result.keys() == row.keys()
        assert all(row[k] == printed[k] for k in ("input", "slice", "pool", "weights"))
        assert (result["input"], result["slice"]) == (str(scan), int(printed["slice"]))
        assert result["pool"] == "minkowski:-2"
        assert float(row["foreground_fraction"]) == result["foreground_fraction"]
        assert result["low"] < result["high"]
    for printed, row, result in zip(rows[:3], table, objects, strict=False):
        assert float(printed["score"]) == pytest.approx(result["score"], abs=1e-4)
        assert float(row["score"]) == result["score"]
    assert objects[3]["score"] is None
    assert math.isnan(float(table[3]["score"]))
    # The volume's own row: no slice, the mean by foreground.
    assert (whole["slice"], whole_object["slice"]) == ("", None)
    mean = np.average([f["score"] for f in objects[:3]], weights=[f["foreground_fraction"] for f in objects[:3]])
    assert float(whole["score"]) == whole_object["score"] == pytest.approx(mean)
    assert whole_object["foreground_fraction"] == pytest.approx(np.mean([f["foreground_fraction"] for f in objects]))


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
    status, rows, _ = run(scan, "--slices", "1:3", "--map-dir", tmp_path)
    assert status == 0
    assert [row["slice"] for row in rows] == ["1", "2"]
    empty = np.isnan(nibabel.load(tmp_path / "scan_quality.nii.gz").get_fdata())
    assert empty.all((0, 1)).tolist() == [True, False, False, True]
    assert not empty[..., 1:3].any()
    everything = run(scan)[1]
    assert [float(row["score"]) for row in rows] == pytest.approx(
        [float(row["score"]) for row in everything[1:3]], abs=0.02
    )


@pytest.mark.parametrize(
    ("text", "chosen"), [("2", [2]), ("-1", [3]), ("::2", [0, 2]), ("1:", [1, 2, 3]), (":", [0, 1, 2, 3])]
)
def test_choice_of_slices(run, scan, text, chosen):
    status, rows, _ = run(scan, f"--slices={text}")
    assert status == 0
    assert [int(row["slice"]) for row in rows] == chosen


def test_pictures(run, scan, tmp_path):
    assert run(scan, "--overlay-dir", tmp_path / "new" / "pictures", "--slices", "1:3")[0] == 0
    files = sorted((tmp_path / "new" / "pictures").iterdir())
    assert [file.name for file in files] == ["scan_0001.png", "scan_0002.png"]
    for file in files:
        with Image.open(file) as picture:
            assert np.asarray(picture.convert("L")).std() > 5


def test_folder_is_searched_and_everything_in_it_is_scored_or_named(run, scan, tmp_path, disc):
    """As `--out` does: one rule of discovery."""
    mixed = tmp_path / "mixed"
    (mixed / "sub-01" / "anat").mkdir(parents=True)
    shutil.copy(scan, mixed / "sub-01" / "anat" / "T2w.nii.gz")
    (mixed / "sub-01" / "anat" / "T2w.json").write_text("{}")
    np.save(mixed / "a.npy", disc(1))
    shutil.copy(get_testdata_file("MR_small.dcm"), mixed / "MR")
    (mixed / "notes.txt").write_text("")
    (mixed / "empty.nii").write_bytes(b"")
    status, rows, error = run(mixed, "--csv", tmp_path / "s.csv")
    assert status == 1  # the empty file
    inputs = ["MR", "a.npy", "sub-01/anat/T2w.nii.gz"]
    assert list(dict.fromkeys(row["input"] for row in rows)) == [str(mixed / name) for name in inputs]
    lines = error.splitlines()
    assert f"error: {mixed / 'empty.nii'}: is empty: write or copy it again" in lines
    assert [line for line in lines if line.startswith("skipped: ")] == [
        f"skipped: {mixed / name}: is of no format that is read" for name in ("notes.txt", "sub-01/anat/T2w.json")
    ]
    with (tmp_path / "s.csv").open(newline="") as file:
        kept = {row["input"]: row["note"] for row in csv.DictReader(file) if not row["slice"]}
    assert set(kept) == {str(mixed / name) for name in (*inputs, "empty.nii")}
    assert kept[str(mixed / "empty.nii")].startswith("not scored: ")
    (mixed / "empty.nii").unlink()
    assert run(mixed)[0] == 0


def test_series_in_time_has_a_column_of_times(run, tmp_path, disc):
    series = np.stack([disc(3, 80, 64, seed=k) for k in range(2)])
    nibabel.save(nibabel.Nifti1Image(series.transpose(3, 2, 1, 0), AFFINE), tmp_path / "bold.nii")
    status, rows, _ = run(tmp_path / "bold.nii", "--csv", tmp_path / "s.csv")
    assert status == 0
    assert [(row["time"], row["slice"]) for row in rows] == [(str(t), str(k)) for t in range(2) for k in range(3)]
    with (tmp_path / "s.csv").open(newline="") as file:
        *table, whole = list(csv.DictReader(file))
    assert [(row["time"], row["slice"]) for row in table] == [(row["time"], row["slice"]) for row in rows]
    assert (whole["time"], whole["slice"]) == ("", "")
    options = ["--slices", "1:", "--map-dir", tmp_path, "--overlay-dir", tmp_path / "pictures"]
    status, chosen, _ = run(tmp_path / "bold.nii", *options)
    assert status == 0
    assert chosen == [row for row in rows if row["slice"] != "0"]  # of each time
    empty = np.isnan(nibabel.load(tmp_path / "bold_quality.nii.gz").get_fdata()).all((0, 1))
    assert empty.tolist() == [[True, True], [False, False], [False, False]]
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [f"bold_t{t:03d}_{k:04d}.png" for t in range(2) for k in (1, 2)]


def test_axis_chooses_the_slices(run, tmp_path, disc):
    values = disc(64, 64, 70)  # (slices, rows, columns)
    nibabel.save(nibabel.Nifti1Image(values.T, np.diag([-1.0, 1, 2, 1])), tmp_path / "deep.nii")
    np.save(tmp_path / "deep.npy", values)
    status, rows, error = run(tmp_path / "deep.nii", "--axis", "coronal", "--slices", "30", "--csv", tmp_path / "s.csv")
    assert status == 0
    by_hand = mriqf.score(values[:, 30], run.weights)
    # The scale is the volume's: about the same.
    assert float(rows[0]["score"]) == pytest.approx(by_hand.value, abs=2)
    assert "pixels are 2×1 mm, those of training were square" in error
    with (tmp_path / "s.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["axis"], first["slice"], first["note"]) == (
        "coronal", "30", "pixels are 2×1 mm, those of training were square",
    )  # fmt: skip
    expected = mriqf.score(tmp_path / "deep.npy", run.weights, axis="row", slices=[30]).value
    assert float(rows[0]["score"]) == pytest.approx(expected, abs=1e-3)
    status, _, error = run(tmp_path / "deep.npy", "--axis", "axial")
    assert status == 1
    assert "how it lies in space is not known: choose axis slice, row or column" in error


def test_maps_say_what_they_are(run, scan, tmp_path):
    assert run(scan, "--map-dir", tmp_path)[0] == 0
    header = nibabel.load(tmp_path / "scan_quality.nii.gz").header
    assert (header["cal_min"], header["cal_max"]) == (0, 100)
    assert header.get_intent()[::2] == ("estimate", "quality")
    assert header["descrip"].item().decode() == f"mriqf {mriqf.__version__}, tiny: JPEG quality"


def test_small_images_are_noted(run, tmp_path, disc):
    np.save(tmp_path / "small.npy", disc(1)[:, 20:60, 20:70])
    status, rows, error = run(tmp_path / "small.npy")
    assert (status, len(rows)) == (0, 1)
    assert "; 40×50 pixels, continued by reflection to the 64×64 that the weights see at once" in error


@pytest.mark.parametrize("cause", ["missing", "broken", "constant", "small", "colour"])
def test_bad_input_among_good_ones(run, scan, tmp_path, disc, texture, cause):
    bad = tmp_path / "bad.npy"
    match cause:
        case "broken":
            bad.write_bytes(b"\x93NUMPY nothing")
        case "constant":
            np.save(bad, np.ones((80, 80)))
        case "small":
            np.save(bad, disc(1, 31, 80))
        case "colour":
            np.save(bad, texture(80, 80, channels=3))
    good = save(tmp_path / "good.npy", disc(1))
    status, lines, error = run(scan, bad, good, "--json", tmp_path / "a.json")
    assert status == 1
    assert [row["input"] for row in lines] == [str(scan)] * 4 + [str(good)]
    assert len([line for line in error.splitlines() if "bad.npy" in line]) == 1
    assert "Traceback" not in error
    kept = json.loads((tmp_path / "a.json").read_text())
    assert len([row for row in kept if row["slice"] is not None]) == 5
    volumes = [row for row in kept if row["slice"] is None]
    assert [(row["input"], row["score"] is None) for row in volumes] == [
        (str(scan), False), (str(bad), True), (str(good), False),
    ]  # fmt: skip
    assert volumes[1]["note"].startswith("not scored: ")


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
    assert [row["input"] for row in lines] == [str(path) for path in inputs]
    maps = sorted((tmp_path / "maps").iterdir())
    assert len({nibabel.load(path).get_fdata().tobytes() for path in maps}) == len(maps) == 4
    assert len(list((tmp_path / "pictures").iterdir())) == 4


def test_users_mask(run, scan, tmp_path):
    mask = np.zeros((96, 80, 4), np.uint8)
    mask[:48, :40, :2] = 1
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), tmp_path / "mask.nii")
    status, lines, _ = run(scan, "--mask", tmp_path / "mask.nii")
    assert status == 0
    assert [float(row["foreground_fraction"]) for row in lines] == [0.25, 0.25, 0, 0]
    nibabel.save(nibabel.Nifti1Image(mask[1:], AFFINE), tmp_path / "mask.nii")
    status, lines, error = run(scan, "--mask", tmp_path / "mask.nii")
    assert (status, lines) == (1, [])
    assert "give a mask of the image's size" in error


def test_batch_size_changes_no_score(run, scan):
    scores = [[float(row["score"]) for row in run(scan, "--batch-size", n)[1]] for n in (1, 8)]
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
    assert [row["pool"] for row in lines] == ["rms"] * 4
    *objects, whole = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    with (tmp_path / "a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    result = mriqf.score(mriqf.read(scan), objects[0]["weights"])
    cut = made.cut_off(0.1)
    for line, actual, row, known in zip(lines[:3], objects, table, result.slices, strict=False):
        assert actual["domain"] == row["domain"] == "ok"
        assert line["remark"] == ("below the cut-off" if actual["score"] < cut.score else "")
        value, low, high = (actual[name] for name in ("nrmse", "nrmse_low", "nrmse_high"))
        assert 0 < low <= value <= high
        printed = [float(line[name]) for name in ("nrmse", "nrmse_low", "nrmse_high")]
        assert printed == pytest.approx([value, low, high], abs=1e-4)
        assert (value, low, high) == (known.expected.nrmse, known.expected.nrmse_low, known.expected.nrmse_high)
        assert float(row["ssim_low"]) == actual["ssim_low"] <= actual["ssim"] <= actual["ssim_high"]
        assert actual["acceleration_low"] <= actual["acceleration"] <= actual["acceleration_high"]
        assert 0 < actual["distance"] <= 1
        assert (actual["cut_off"], actual["limit"]) == (cut.score, 0.1)
    assert (lines[3]["nrmse"], lines[3]["remark"]) == ("", "no foreground")
    assert (objects[3]["nrmse"], table[3]["nrmse"], objects[3]["domain"]) == (None, "", "no foreground")
    shares = [s.foreground_fraction for s in result.slices[:3]]
    mean, low, high = (
        np.average([actual[name] for actual in objects[:3]], weights=shares)
        for name in ("nrmse", "nrmse_low", "nrmse_high")
    )
    assert (whole["nrmse"], whole["nrmse_low"], whole["nrmse_high"]) == pytest.approx((mean, low, high))
    assert whole["domain"] == "ok in 3 of 4 slices"
    digits = 0 if mean >= 0.05 else 1
    mean, low, high = (f"{100 * value:.{digits}f}" for value in (mean, low, high))
    assert (
        f"{scan}: NRMSE {mean} % [{low}–{high}], score {whole['score']:.1f} over 3 of 4 slices; 1 slice no foreground"
    ) in error
    assert error.count("Cut-off") == 1
    assert (
        f"Cut-off {cut.score:.1f}: {100 * cut.within_rejected:.0f} % of images with NRMSE up to 10 % score lower, "
        f"{100 * cut.beyond_passed:.0f} % of worse ones higher."
    ) in error


@pytest.mark.parametrize("force", [(), ("--force-score",)])
def test_unknown_images_get_a_reason_and_no_number(calibrated, tmp_path, force):
    run, _ = calibrated
    noise = save(tmp_path / "noise.npy", np.random.default_rng(0).random((1, 96, 96)))
    status, lines, error = run(noise, "--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv", *force)
    assert status == 0
    assert lines[0]["nrmse"] == ""
    assert lines[0]["remark"].startswith("unlike calibration (distance ")
    result = json.loads((tmp_path / "a.json").read_text())
    assert len(result) == 2
    for row in result:
        assert row["nrmse"] is row["ssim_high"] is row["acceleration"] is None
        assert row["domain"] == lines[0]["remark"].removesuffix("; below the cut-off")
    assert result[0]["distance"] > 1
    expected = mriqf.score(mriqf.read(noise), result[0]["weights"]).value  # it is withheld, not unknown
    for row in result:
        assert row["score"] == (expected if force else None)
    assert lines[0]["score"] == (f"{expected:.4f}" if force else "")
    assert ("no score: unlike calibration (distance " in error) == (not force)


def test_limit_of_the_cut_off(calibrated, scan, run):
    calibrated_run, made = calibrated
    error = calibrated_run(scan, "--limit", 0.2)[2]
    assert f"Cut-off {made.cut_off(0.2).score:.1f}: " in error
    assert "of images with NRMSE up to 20 % score lower" in error
    status, lines, error = calibrated_run(scan, "--limit", 1e-4)
    assert (status, lines) == (2, [])
    assert "limit is 0.0001: the calibration has 0 images with a smaller NRMSE" in error
    status, lines, error = run(scan, "--limit", 0.1)
    assert (status, lines) == (2, [])
    assert "there is no calibration: give one by --calibration FILE" in error


def test_calibration_of_choice(calibrated, scan, run, tmp_path):
    calibrated_run, made = calibrated
    assert [row["nrmse"] for row in calibrated_run(scan, "--calibration", "none")[1]] == [""] * 4
    assert [row["nrmse"] for row in calibrated_run(scan, "--pool", "mean")[1]] == [""] * 4
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
