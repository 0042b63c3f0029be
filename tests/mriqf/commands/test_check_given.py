"""`mriqf check` of images made elsewhere, and of programs of the user's own."""

import csv
import sys
import tempfile
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import torch

import recon
from mriqf.cli import main
from mriqf.commands.check import PRINTED

C, H, W = 4, 72, 96
MASK = recon.masks.random(W, 2, 0.16, 0).numpy()

PROGRAM = """
import sys, h5py, numpy as np, torch, recon
with h5py.File(sys.argv[1]) as file:
    kspace, mask, csm = (torch.from_numpy(file[key][:]) for key in ("kspace", "mask", "csm"))
assert not (kspace * ~mask).any() and kspace.any()
image = recon.cg_sense(kspace, recon.Sense(mask, csm))[0, 0].numpy()
"""
"""A user's program: what it writes is added."""


@pytest.fixture(scope="module")
def kspace(disc):
    """Undersampled k-space of two slices, (s, c, h, w), and maps."""
    from scipy.ndimage import gaussian_filter

    images = gaussian_filter(disc(2, H, W, background=0), (0, 1, 1))
    images[:, 20:30, 30:40] *= 0.2  # nothing that a mirror leaves alone
    images[:, 44:48, 50:80] *= 1.8
    csm = recon.surface_coils(C, (H, W), seed=0)
    images = torch.from_numpy(images)[:, None] * recon.smooth_phase((H, W), seed=0, std=0.4)
    return MASK * recon.simulate_kspace(images, csm, 2.0, seed=0).numpy(), csm[0].numpy()


@pytest.fixture
def files(tmp_path, kspace):
    """Paths of k-space, and the complex images of CG-SENSE."""
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"], file["mask"] = kspace[0], MASK
    np.save(tmp_path / "csm.npy", kspace[1])
    sense = recon.Sense(torch.from_numpy(MASK), torch.from_numpy(kspace[1])[None])
    return tmp_path / "k.h5", recon.cg_sense(torch.from_numpy(kspace[0]), sense)[:, 0].numpy()


@pytest.fixture
def run(tmp_path, files, capsys, error_file, kspace_file):
    """Runner of `mriqf check`: status, rows of standard output and of the table, standard error."""
    weights, evidence = error_file(), kspace_file(calibrated=True)

    def check(*options, evidence=evidence):
        table = tmp_path / "out.csv"
        status = main([str(a) for a in (
            "check", files[0], *options, "--weights", weights, "--evidence", evidence, "--coil-maps",
            tmp_path / "csm.npy", "--csv", table, "--force",
        )])  # fmt: skip
        printed = capsys.readouterr()
        lines = [dict(zip(PRINTED, line.split("\t"), strict=True)) for line in printed.out.splitlines()]
        rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
        return status, lines, rows, printed.err

    return check


def nifti(path, image):
    nibabel.save(nibabel.Nifti1Image(image.transpose(2, 1, 0), np.eye(4)), path)


def fastmri(path, image):
    with h5py.File(path, "w") as file:
        file["reconstruction"], file["reconstruction_complex"] = np.abs(image).astype(np.float32), image


@pytest.mark.parametrize("kind", ["complex.npy", "complex.h5", "magnitude.npy", "magnitude.nii.gz"])
def test_an_image_of_our_own_is_told_what_its_method_is(run, files, tmp_path, kind):
    """CG-SENSE's image, in another unit and phase, beside the same by `--method`."""
    path, image = tmp_path / kind, files[1]
    image = (0.01j * image if kind.startswith("complex") else 0.01 * np.abs(image)).astype(image.dtype)
    if kind.startswith("magnitude"):
        image = np.abs(image).astype(np.float32)
    writers = {".npy": np.save, ".h5": fastmri, ".gz": nifti}
    writers[path.suffix](path, image)
    status, lines, rows, error = run("--image", path)
    assert status == 0
    assert ("holds magnitudes: their phase is that of cg-sense" in error) == kind.startswith("magnitude")
    _, own, _, _ = run("--method", "cg-sense")
    for line, row, mine in zip(lines, rows, own, strict=True):
        assert (line["method"], row["stand_in"], Path(row["image"])) == ("image", "cg-sense", path)
        assert (line["held_out"], line["missing"], line["sure"], line["note"]) == ("", "", "", "")
        # The best scale agrees better with the data than that of a regularised image.
        assert float(line["inconsistency"]) == pytest.approx(float(mine["inconsistency"]), abs=0.006)
        for key in ("nrmse", "score", "image_score"):
            assert float(line[key]) == pytest.approx(float(mine[key]), rel=0.08)


def test_an_image_that_disagrees_with_its_data_is_told_so(run, files, tmp_path):
    wrong = files[1].copy()
    wrong[1, 30:50, 40:60] = 0
    np.save(tmp_path / "a.npy", wrong)
    _, lines, rows, _ = run("--image", tmp_path / "a.npy", "--map-dir", tmp_path)
    assert lines[0]["note"] == ""
    assert "disagrees with its own data: it misses " in lines[1]["note"]
    assert float(lines[1]["inconsistency"]) > 0.1 > 3 * float(lines[0]["inconsistency"])
    sense = recon.Sense(torch.from_numpy(MASK), torch.from_numpy(np.load(tmp_path / "csm.npy"))[None])
    with h5py.File(files[0]) as file:
        y = torch.from_numpy(file["kspace"][1:])
    x = torch.from_numpy(wrong[1:, None])
    predicted = sense(x)
    factor = (predicted.conj() * y).sum() / predicted.abs().square().sum()
    off = ((factor * predicted - y).norm() / y.norm()).item()
    assert float(rows[1]["inconsistency"]) == pytest.approx(off, rel=1e-3)


def test_slices_that_were_chosen(run, files, tmp_path):
    np.save(tmp_path / "a.npy", files[1][1])
    status, lines, _, _ = run("--image", tmp_path / "a.npy", "--slices", 1)
    assert (status, [line["slice"] for line in lines], lines[0]["note"]) == (0, ["1"], "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :-2], "is 70 × 96, its k-space gives 72 × 96: export it at that size"),
        (lambda x: x[[0, 1, 1]], "holds 3 images, the k-space 2 slices: give as many, or choose slices by --slices"),
        (lambda x: x[:, :, ::-1], "slice 0 does not lie as its k-space does: save image[:, ::-1] in its place"),
        (lambda x: x[:, ::-1, ::-1], "slice 0 does not lie as its k-space does: save numpy.rot90(image, 2)"),
        (lambda x: x.swapaxes(1, 2), "does not lie as its k-space does: save numpy.rot90(image[:, ::-1], "),
        (lambda x: np.roll(x, 5, 2), "save numpy.roll(image, (0, -5), (0, 1)) in its place"),
        (lambda x: np.where(x == x.max(), np.nan, x), "holds NaN or infinite values"),
        (lambda x: np.stack([x.real.astype(np.float32)] * 3, 1), "holds colours: save magnitudes or complex values"),
    ],
)
def test_images_that_do_not_fit(run, files, tmp_path, change, message):
    np.save(tmp_path / "a.npy", change(files[1]))
    status, _, _, error = run("--image", tmp_path / "a.npy")
    assert status == 1
    assert message in error and error.count("error: ") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image", "a.npy", "--what-if", 4], "--what-if makes reconstructions again"),
        (["--image", "a.npy", "--folds", 4], "--folds makes reconstructions again"),
        (["--image", "a.npy", "--command", "true {in} {out}"], "give one"),
        (["--method", "tv", "--command", "true {in} {out}"], "give one"),
        (["--command", "true {in}"], "--command has no {in} or no {out}"),
        (["--command", "no-such-program {in} {out}"], "'no-such-program' is no program that can be run"),
        (["--command", "'true {in} {out}"], "close its quotes"),
        (["--command", "true {in} {out}", "--timeout", 0], "--timeout is 0"),
        (["--command", "true {in} {out}", "--lam", 0.1], "write options of the program into --command"),
    ],
)
def test_wrong_usage(run, options, message):
    status, lines, _, error = run(*options)
    assert (status, lines) == (2, [])
    assert message in error


def test_missing_image(run, tmp_path):
    status, lines, _, error = run("--image", tmp_path / "none.h5")
    assert (status, lines) == (1, [])
    assert f"{tmp_path / 'none.h5'}: does not exist" in error


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Writer of a user's program; gives its command. Temporary folders are made where the test can see them."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def write(end, start=PROGRAM, out="{out.npy}"):
        path = tmp_path / "program.py"
        path.write_text(start + end)
        return f"{sys.executable} {path} {{in}} {out}"

    yield write
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.end_to_end
@pytest.mark.parametrize("out", ["{out.npy}", "{out}"])
def test_a_program_is_told_what_its_method_is(run, program, out):
    """CG-SENSE by a program, which writes complex or magnitude images in a unit of its own."""
    end = {
        "{out.npy}": "np.save(sys.argv[2], 100 * image)",
        "{out}": "h5py.File(sys.argv[2], 'w')['reconstruction'] = 100 * abs(image)",
    }[out]
    status, lines, rows, error = run("--command", program(end, out=out), "--slices", 0)
    assert (status, error.count("error")) == (0, 0)
    _, own, _, _ = run("--method", "cg-sense", "--slices", 0)
    assert (lines[0]["method"], rows[0]["modl"]) == ("command", "")
    for key in ("inconsistency", "nrmse", "held_out", "missing"):  # at the best scale, not that of a regularised image
        assert float(lines[0][key]) == pytest.approx(float(own[0][key]), rel=0.1, abs=0.006)


@pytest.mark.end_to_end
def test_a_program_sees_rows_as_they_were_measured(run, program, files, tmp_path):
    _, columns, _, _ = run("--method", "cg-sense", "--slices", 0)
    with h5py.File(files[0], "r+") as file:
        turned = file["kspace"][:].swapaxes(2, 3)
        del file["kspace"], file["mask"]
        file["kspace"] = turned
    np.save(tmp_path / "csm.npy", np.load(tmp_path / "csm.npy").swapaxes(1, 2))
    end = f"assert kspace.shape[2:] == {(W, H)}\nnp.save(sys.argv[2], image)"
    status, lines, _, _ = run("--command", program(end), "--slices", 0)
    assert status == 0
    assert float(lines[0]["held_out"]) == pytest.approx(float(columns[0]["held_out"]), rel=0.02)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys; sys.exit('no licence')", "ended with status 1 (no licence): try it on one slice by itself"),
        ("import time; time.sleep(30)", "took more than 1 s: raise --timeout"),
        ("", "the command wrote no out.npy: let it write its image to {out}"),
        ("import sys, numpy as np; np.save(sys.argv[2], np.ones((4, 5)))",
         "the command's out.npy: is 1 of 4 × 5, not one image of 72 × 96: write one of the size of its k-space"),
        ("import sys; open(sys.argv[2], 'w').write('text')", "the command's out.npy: its format is not known"),
    ],
)  # fmt: skip
def test_programs_that_fail(run, program, text, message):
    status, lines, _, error = run("--command", program(text, start=""), "--timeout", 1 if "sleep" in text else 60)
    assert (status, lines) == (1, [])
    assert message in error and "slice 0" in error
    assert len([line for line in error.splitlines() if line.startswith("error")]) == 1


def test_bart_pairs(kspace, tmp_path):
    """Files written for BART are read back the same."""
    from mriqf.commands.external import _write
    from mriqf.io import read_kspace

    files = {f"{stem}.cfl": tmp_path / stem for stem in ("in", "maps")}
    _write(files, kspace[0][0], MASK, kspace[1], set(files))
    np.testing.assert_array_equal(read_kspace(str(tmp_path / "in")).read_slice(0), kspace[0][0])
    np.testing.assert_array_equal(read_kspace(str(tmp_path / "maps")).read_slice(0), kspace[1])
