"""`mriqf check` as it is typed."""

import csv
import dataclasses

import h5py
import nibabel
import numpy as np
import pytest
import torch

import mriqf
import recon
import recon.methods
from mriqf.cli import main
from mriqf.commands.check import PRINTED

C, H, W = 4, 72, 96
STD = 5.0  # of images of up to about 700


@pytest.fixture(scope="module")
def volume(disc):
    """Fully sampled noisy k-space of two slices, (s, c, h, w), and the maps, (c, h, w)."""
    from scipy.ndimage import gaussian_filter

    images = torch.from_numpy(gaussian_filter(disc(2, H, W, background=0), (0, 1, 1)))[:, None].to(torch.complex64)
    csm = recon.surface_coils(C, (H, W), seed=0)
    return recon.simulate_kspace(images, csm, STD, seed=0).numpy(), csm[0].numpy()


def save(path, kspace, **arrays):
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        for key, array in arrays.items():
            file[key] = array
    return path


@pytest.fixture
def full(tmp_path, volume):
    return save(tmp_path / "full.h5", volume[0])


@pytest.fixture
def run(tmp_path, volume, capsys, weights_file):
    """Runner of `mriqf check`: exit status, rows of standard output, standard error, and the rows of its table."""
    np.save(tmp_path / "csm.npy", volume[1])
    predictor = weights_file()

    def check(*arguments):
        if "--method" not in arguments:
            arguments = (*arguments, "--method", "cg-sense")
        options = [
            "--weights",
            predictor,
            "--coil-maps",
            tmp_path / "csm.npy",
            "--csv",
            tmp_path / "out.csv",
            "--force",
        ]
        status = main([str(a) for a in ("check", *arguments, *(o for o in options if options[0] not in arguments))])
        printed = capsys.readouterr()
        rows = []
        if status != 2:
            with (tmp_path / "out.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
        lines = [dict(zip(PRINTED, line.split("\t"), strict=True)) for line in printed.out.splitlines()]
        return status, lines, printed.err, rows

    return check


def test_lines_and_table(run, full, volume, tmp_path):
    options = ["--acceleration", 2, "--folds", 4, "--noise-std", STD]
    status, lines, error, rows = run(full, *options)
    assert (status, error) == (0, "")
    mask = recon.masks.draw("random", (H, W), 2, 0.16, 0)
    placed = [[line[key] for key in ("input", "slice", "method", "acceleration")] for line in lines]
    assert placed == [[str(full), str(i), "cg-sense", "2.0000"] for i in range(2)]
    assert {line["note"] for line in lines} == {""}
    kspace, csm = (torch.from_numpy(x) for x in volume)
    sense = recon.Sense(mask, csm[None])
    for i, (line, row) in enumerate(zip(lines, rows, strict=True)):
        measured = mask * kspace[i : i + 1]
        held = recon.held_out_residual(recon.cg_sense, measured, sense, share=1 / 4, noise_std=STD)
        estimate = recon.sure(recon.cg_sense, measured, sense, STD)
        image = recon.cg_sense(measured, sense).abs()[0, 0].numpy()
        expected = [
            mriqf.score(image, tmp_path / "tiny.safetensors").value,
            held.residual.item(), held.missing.item(), estimate.nrmse.item(),
        ]  # fmt: skip
        keys = ("score", "held_out", "missing", "sure")
        np.testing.assert_allclose([float(line[k]) for k in keys], expected, atol=1e-3, rtol=1e-3)
        result = [float(row[k]) for k in keys]
        np.testing.assert_allclose(result, expected, rtol=1e-3)
        assert float(row["held_out_low"]) <= held.residual.item() <= float(row["held_out_high"])
        assert (row["noise"], float(row["noise_std"]), row["coil_maps"], row["lam"]) == (
            "given",
            STD,
            "csm.npy",
            "0.01",
        )
    assert run(full, *options)[1] == lines


def test_noise_is_found(run, full):
    status, lines, error, rows = run(full, "--method", "zero-filled", "--folds", 2)
    assert (status, error) == (0, "")
    for line, row in zip(lines, rows, strict=True):
        assert float(row["noise_std"]) == pytest.approx(STD, rel=0.1)
        assert row["noise"] == "corners"
        assert line["acceleration"] == "1.0000"
        assert float(line["sure"]) > 0
        assert float(row["missing"]) == 0


@pytest.mark.parametrize("method", ["l1-wavelet", "modl"])
def test_methods(run, full, modl_file, method):
    path = modl_file(unrolls=1, features=4)
    options = ["--method", method, "--acceleration", 2, "--mask", "gaussian", "--folds", 2]
    if method == "modl":
        options += ["--modl", path]
    status, lines, _, rows = run(full, *options, "--slices", 1)
    assert status == 0
    assert [line["slice"] for line in lines] == ["1"]
    assert all(float(lines[0][key]) >= 0 for key in ("score", "held_out", "missing", "sure"))
    assert rows[0]["modl"] == (str(path) if method == "modl" else "")


def test_what_cannot_be_had_is_empty_and_said(run, tmp_path, volume):
    few = np.zeros(W, bool)
    few[44:52] = few[10] = True
    status, lines, error, _ = run(save(tmp_path / "few.h5", volume[0][:1] * few))
    assert status == 0
    assert "is undersampled: reconstructed as it is" in error
    assert lines[0]["held_out"] == ""
    assert float(lines[0]["sure"]) > 0
    assert lines[0]["note"].startswith("held_out: mask samples 1 columns outside the kept centre, too few")
    low = np.zeros((H, W), bool)
    low[26:46, 33:63] = True
    low[26:46:2, 33:63:2] = False
    low[30:42, 42:54] = True
    _, lines, _, _ = run(save(tmp_path / "low.h5", np.where(low, volume[0][:1], 0), mask=low), "--folds", 2)
    assert float(lines[0]["held_out"]) > 0
    assert lines[0]["sure"] == ""
    assert lines[0]["note"].startswith("sure: ")


def test_rows_of_zeros_have_no_noise(run, tmp_path, volume):
    rows = np.zeros((H, 1), bool)
    rows[12:60] = True
    _, lines, _, _ = run(save(tmp_path / "padded.h5", volume[0][:1] * rows), "--folds", 2)
    assert [lines[0]["sure"], lines[0]["note"]] == [
        "",
        "sure: rows at the edges are zero, without noise: crop the read-out",
    ]


def test_bad_inputs_cost_a_line_each(run, tmp_path, full, volume):
    broken = volume[0].copy()
    broken[1, 0, 0, 0] = np.nan
    nan = save(tmp_path / "nan.h5", broken)
    status, lines, error, rows = run(tmp_path / "none.h5", nan, full, "--folds", 2, "--slices", 0)
    assert status == 1
    assert [line["input"] for line in lines] == [str(nan), str(full)]
    assert len(rows) == 2
    assert error.splitlines()[0].startswith(f"error: {tmp_path / 'none.h5'}: does not exist")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", 1], "--folds is 1: give 2 or more"),
        (["--noise-std", 0], "--noise-std is 0"),
        (["--mask", "random"], "not how much: give --acceleration"),
        (["--method", "zero-filled", "--lam", 0.1], "zero-filled takes none"),
        (["--method", "modl", "--modl", "qf-gray"], "--modl qf-gray holds no MoDL"),
        (["--weights", "none"], "weights 'none' not found"),
        (["--evidence", "qf-gray"], "no k-space predictor's"),
    ],
)
def test_wrong_usage(run, full, options, message):
    status, lines, error, _ = run(full, *options)
    assert (status, lines) == (2, [])
    assert message in error


def test_usage_without_input(run):
    status, _, error, _ = run()
    assert status == 2
    assert "no input given" in error


def test_tables_are_not_replaced(full, tmp_path, capsys):
    (tmp_path / "mine.csv").write_text("mine")
    assert main(["check", str(full), "--csv", str(tmp_path / "mine.csv")]) == 2
    assert "mine.csv exists" in capsys.readouterr().err
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_error_to_expect_stands_before_the_score(full, tmp_path, volume, capsys, calibrated_file, monkeypatch):
    """By the calibration beside the weights; an image of an unknown kind gets a reason instead of a score."""
    np.save(tmp_path / "csm.npy", volume[1])
    weights, _ = calibrated_file()
    options = ["check", str(full), "--method", "cg-sense", "--coil-maps", str(tmp_path / "csm.npy"), "--weights",
               str(weights), "--folds", "2", "--slices", "0", "--header"]  # fmt: skip
    image = recon.cg_sense(torch.from_numpy(volume[0][:1]), recon.Sense(torch.ones(W, dtype=torch.bool),
                           torch.from_numpy(volume[1])[None])).abs()[0, 0].numpy()  # fmt: skip
    known = mriqf.score(image, weights).slices[0]
    for limit in (1e9, 1e-9):  # how far what is known reaches
        far = dataclasses.replace(known.expected, reason="" if limit > 1 else "unlike calibration (distance 2.00 > 1)",
                                  distance=0.5 if limit > 1 else 2.0, nrmse=0.06 if limit > 1 else None)  # fmt: skip
        monkeypatch.setattr("mriqf.calibration.Calibration.expect", lambda *_, far=far, **__: far)
        capsys.readouterr()
        assert main([*options, *(["--csv", str(tmp_path / f"{limit}.csv")])]) == 0
        header, line = (text.split("\t") for text in capsys.readouterr().out.splitlines())
        row = dict(zip(header, line, strict=True))
        assert header.index("nrmse") < header.index("score")
        if limit > 1:
            assert (row["nrmse"], row["note"]) == ("0.0600", "")
            assert float(row["score"]) == pytest.approx(known.value, abs=0.01)
        else:
            assert (row["nrmse"], row["score"]) == ("", "")
            assert row["note"].startswith("score: unlike calibration (distance 2.00 > 1)")


def test_the_kspace_gives_the_number_and_the_image_stands_beside_it(run, full, tmp_path, error_file, kspace_file):
    """By `--evidence`; without, or with none, columns are as they were, and those of the image are empty."""
    weights, evidence = error_file(), kspace_file(calibrated=True)
    files = ["--coil-maps", tmp_path / "csm.npy", "--csv", tmp_path / "out.csv", "--force"]
    options = ["--weights", weights, "--folds", 2, "--slices", 0, *files, "--acceleration", 2]
    _, alone, _, _ = run(full, *options, "--evidence", "none", "--map-dir", tmp_path / "alone")
    status, lines, _, rows = run(full, *options, "--evidence", evidence, "--map-dir", tmp_path / "maps")
    maps = [nibabel.load(tmp_path / folder / "full_quality.nii.gz").get_fdata() for folder in ("alone", "maps")]
    assert all(result.shape == (W, H, 2) and np.isnan(result[..., 1]).all() for result in maps)
    assert all(0 <= result[..., 0].min() < result[..., 0].max() <= 100 for result in maps)
    assert not np.allclose(*(result[..., 0] for result in maps))
    assert status == 0
    assert (alone[0]["image_score"], alone[0]["image_nrmse"], alone[0]["nrmse"]) == ("", "", "")
    assert lines[0]["image_score"] == alone[0]["score"]
    assert all(lines[0][key] == alone[0][key] for key in ("held_out", "missing", "sure", "resolved"))
    low, middle, high = (float(lines[0][key]) for key in ("nrmse_low", "nrmse", "nrmse_high"))
    assert 0 < low < middle < high
    assert (rows[0]["evidence"], rows[0]["domain"]) == (str(evidence), "ok")
    assert lines[0]["score"] != alone[0]["score"]
    turned = save(tmp_path / "turned.h5", h5py.File(full)["kspace"][:].swapaxes(-1, -2))
    np.save(tmp_path / "csm.npy", np.load(tmp_path / "csm.npy").swapaxes(-1, -2))
    mask = recon.masks.draw("random", (H, W), 2, 0.16, 0).numpy()
    with h5py.File(turned, "r+") as file:
        file["kspace"][:] = file["kspace"][:] * mask[:, None]
    _, rotated, _, _ = run(turned, *options[:-2], "--evidence", evidence)
    assert float(rotated[0]["nrmse"]) == pytest.approx(middle, rel=0.02)


@pytest.mark.parametrize(("folds", "calls"), [(10, 1 + 2 + 9), (4, 1 + 2 + 4)])
def test_no_reconstruction_is_made_twice(run, full, tmp_path, error_file, kspace_file, monkeypatch, folds, calls):
    made, solver = [], recon.methods.SOLVERS["cg-sense"]
    monkeypatch.setitem(recon.methods.SOLVERS, "cg-sense", lambda *a, **k: made.append(1) or solver(*a, **k))
    options = ["--weights", error_file(), "--folds", folds, "--slices", 0, "--evidence", kspace_file(calibrated=True)]
    options += ["--coil-maps", tmp_path / "csm.npy", "--csv", tmp_path / "out.csv", "--force", "--acceleration", 2]
    assert run(full, *options)[0] == 0
    assert len(made) == calls


def test_the_kspace_may_refuse(run, full, tmp_path, error_file, kspace_file, monkeypatch):
    options = ["--weights", error_file(), "--folds", 2, "--slices", 0, "--evidence", kspace_file(calibrated=True)]
    options += ["--coil-maps", tmp_path / "csm.npy", "--csv", tmp_path / "out.csv", "--force"]
    far = mriqf.calibration.Expected(distance=3.0, reason="unlike calibration (distance 3.00 > 2)")
    monkeypatch.setattr("mriqf.calibration.Calibration.expect", lambda *_, **__: far)
    _, lines, _, _ = run(full, *options)
    assert (lines[0]["nrmse"], lines[0]["score"]) == ("", "")
    assert lines[0]["note"].startswith("score: unlike calibration (distance 3.00 > 2)")
    assert float(lines[0]["image_score"]) >= 0
    _, forced, _, _ = run(full, *options, "--force-score")
    assert float(forced[0]["score"]) >= 0


def test_what_fewer_lines_would_give(run, full, tmp_path, error_file, kspace_file):
    options = ["--weights", error_file(), "--folds", 2, "--slices", 1, "--evidence", kspace_file(calibrated=True)]
    options += ["--coil-maps", tmp_path / "csm.npy", "--csv", tmp_path / "out.csv", "--force", "--acceleration", 2]
    status, lines, _, rows = run(full, *options, "--what-if", 4, 1.5)
    assert status == 0 and [row["slice"] for row in rows] == ["1"] * 3
    assert float(lines[1]["acceleration"]) == pytest.approx(4)
    assert lines[1]["note"] == "what if R were 4" and lines[1]["held_out"] == ""
    assert float(lines[1]["nrmse"]) > 0 and lines[1]["nrmse"] != lines[0]["nrmse"]
    assert lines[2]["nrmse"] == "" and "cannot be had by leaving out samples" in lines[2]["note"]
    assert run(full, *options[:4], "--evidence", "none", "--what-if", 4)[0] == 2


def test_folders_are_searched(run, full, tmp_path):
    (tmp_path / "study" / "inner").mkdir(parents=True)
    raw = full.rename(tmp_path / "study" / "inner" / "raw.h5")
    (tmp_path / "study" / "notes.txt").write_text("")
    status, lines, error, _ = run(tmp_path / "study", "--folds", "2", "--slices", "0", "--method", "zero-filled")
    assert (status, [line["input"] for line in lines]) == (0, [str(raw)])
    assert error.splitlines() == [f"skipped: {tmp_path / 'study' / 'notes.txt'}: is of no format that is read"]


def test_slices_of_zeros_and_of_rows(run, tmp_path, volume):
    """Empty slices are named; phase encoding along rows gives what it gives along columns."""
    mask = recon.masks.random(W, 2, 0.16, 0).numpy()
    samples = np.concatenate([volume[0][:1] * mask, 0 * volume[0][:1]])
    options = ["--folds", 3, "--method", "zero-filled"]
    status, lines, _, rows = run(save(tmp_path / "a.h5", samples), *options, "--noise-std", STD)
    assert status == 0
    assert (lines[1]["score"], rows[1]["held_out"], lines[1]["note"]) == ("", "", "all zeros: nothing was measured")
    np.save(tmp_path / "csm.npy", volume[1].swapaxes(1, 2))  # the maps that `run` gives
    turned = save(tmp_path / "b.h5", samples[:1].swapaxes(2, 3))
    _, (line,), _, _ = run(turned, *options, "--noise-std", STD)
    for key in ("held_out", "missing", "sure", "acceleration"):
        assert float(line[key]) == pytest.approx(float(lines[0][key]), rel=0.02)
