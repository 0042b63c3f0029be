"""`mriqf recon` as it is typed."""

import errno
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

import recon
import recon.methods
import recon.pipeline
import recon.weights
from mriqf import weights
from mriqf.cli import main
from mriqf.commands.recon import PRINTED
from mriqf.commands.recon_check import NUMBERS
from mriqf.io import read
from mriqf.io.partial import PartialImages

H, W = 72, 96


@pytest.fixture(scope="session")
def volume(disc):
    """Fully sampled k-space of two slices and four coils, (s, c, h, w), and the complex images."""
    from scipy.ndimage import gaussian_filter

    images = torch.from_numpy(gaussian_filter(disc(2, H, W, background=0), (0, 1, 1)))[:, None].to(torch.complex64)
    images = images * recon.smooth_phase((H, W), seed=0, std=0.3)
    y, x = torch.meshgrid(torch.linspace(-1, 1, H), torch.linspace(-1, 1, W), indexing="ij")
    corners = [(a, b) for a in (-1, 1) for b in (-1, 1)]
    csm = torch.stack([torch.exp(-((y - a) ** 2 + (x - b) ** 2) / 3) for a, b in corners])[None].to(torch.complex64)
    csm = csm / recon.rss(csm)
    return recon.fft2c(csm * images).numpy(), images[:, 0].numpy()


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
def run(tmp_path, capsys):
    """Runner of `mriqf recon`: exit status, fields of standard output, standard error, and what was written."""

    def reconstruct(source, *options, out=None):
        out = out or tmp_path / "out.h5"
        if "--method" not in options:
            options = (*options, "--method", "cg-sense")
        if "--check" not in options:
            options = (*options, "--no-check")  # three times as fast
        status = main(["recon", str(source), "--out", str(out), *map(str, options)])
        printed = capsys.readouterr()
        written = None
        if status == 0:
            with h5py.File(out) as file:
                written = {key: np.asarray(value) for key, value in file.items()} | dict(file.attrs)
        return status, [line.split("\t") for line in printed.out.splitlines()], printed.err, written

    return reconstruct


def nrmse(image, truth):
    return np.linalg.norm(image - np.abs(truth)) / np.linalg.norm(truth)


def test_fully_sampled_data_give_the_image(run, full, volume):
    status, lines, error, written = run(full, "--method", "zero-filled")
    assert (status, error) == (0, "")
    assert [line[:4] for line in lines] == [[str(full), str(i), "zero-filled", "1.0000"] for i in range(2)]
    assert all(float(line[4]) >= 0 and len(line) == len(PRINTED) for line in lines)
    assert written["reconstruction"].dtype == np.float32
    assert nrmse(written["reconstruction"], volume[1]) < 0.01
    assert written["mask"].all()
    assert (written["method"], written["effective_acceleration"], written["source"]) == ("zero-filled", 1, "full.h5")
    assert not {"mask_family", "acceleration", "seed", "weights", "lam", "reconstruction_complex"} & written.keys()


@pytest.mark.parametrize("method", ["zero-filled", "cg-sense", "l1-wavelet", "tv"])
def test_undersampling_in_retrospect(run, full, volume, method):
    options = ["--method", method, "--mask", "random", "--acceleration", 2, "--seed", 3]
    status, lines, error, written = run(full, *options, "--complex")
    assert (status, error) == (0, "")
    expected = recon.masks.draw("random", (H, W), 2, 0.16, 3).numpy()
    np.testing.assert_array_equal(written["mask"], expected)
    assert {line[3] for line in lines} == {f"{W / expected.sum():.4f}"}
    assert written["effective_acceleration"] == W / expected.sum()
    assert (written["mask_family"], written["acceleration"], written["seed"]) == ("random", 2, 3)
    assert written["center_fraction"] == pytest.approx(0.16)
    assert ("lam" in written) == (method != "zero-filled")
    np.testing.assert_allclose(np.abs(written["reconstruction_complex"]), written["reconstruction"], rtol=1e-5)
    assert nrmse(written["reconstruction"], volume[1]) < (0.3 if method == "zero-filled" else 0.12)


@pytest.mark.filterwarnings("ignore::recon.solve.NotConverged")
@pytest.mark.parametrize(
    ("method", "given", "taken", "other", "says"),
    [
        ("varnet", (), "varnet", "modl-knee", "--modl modl-knee holds no VarNet: choose one, such as varnet"),
        ("stacked", ("--modl", "modl-knee"), "modl-knee", "qf-mri", "holds no MoDL"),
    ],
)
def test_methods_say_which_network_they_took(run, full, volume, method, given, taken, other, says):
    status, _, error, written = run(full, "--method", method, "--acceleration", 2, *given)
    assert (status, error) == (0, "")
    assert (written["method"], written["weights"]) == (method, taken)
    assert nrmse(written["reconstruction"], volume[1]) < 0.12
    status, _, error, _ = run(full, "--method", method, "--modl", other, "--force")
    assert status == 2
    assert says in error


def test_seed_draws_the_mask(run, full):
    options = ["--method", "zero-filled", "--acceleration", 4, "--force"]
    first, again, other = (run(full, *options, "--seed", seed)[3] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["reconstruction"], again["reconstruction"])
    assert (first["mask"] != other["mask"]).any()
    assert first["mask_family"] == "random"


def test_points(run, full):
    _, lines, _, written = run(full, "--method", "cg-sense", "--mask", "poisson", "--acceleration", 2)
    assert written["mask"].shape == (H, W)
    assert float(lines[0][3]) == pytest.approx(H * W / written["mask"].sum(), abs=1e-4)


@pytest.mark.parametrize("own", [True, False])
def test_undersampled_data_are_reconstructed_as_they_are(run, tmp_path, volume, own):
    mask = recon.masks.random(W, 3, 0.12, 0).numpy()
    path = save(tmp_path / "under.h5", volume[0] * mask, **({"mask": mask.astype(np.float32)} if own else {}))
    status, lines, error, written = run(path)
    assert status == 0
    assert "under.h5: is undersampled: reconstructed as it is" in error
    np.testing.assert_array_equal(written["mask"], mask)
    assert {line[3] for line in lines} == {f"{W / mask.sum():.4f}"}
    assert "acceleration" not in written
    assert nrmse(written["reconstruction"], volume[1]) < 0.2
    status, lines, error, _ = run(path, "--acceleration", 4, "--force")
    assert (status, lines) == (2, [])
    assert f"under.h5 is undersampled already, {'by its own mask' if own else 'where it is zero'} (3.00 times)" in error


def test_own_mask_of_full_data_is_applied(run, tmp_path, volume):
    mask = recon.masks.random(W, 3, 0.12, 0).numpy()
    path = save(tmp_path / "a.h5", volume[0], mask=mask)
    zeros = save(tmp_path / "b.h5", volume[0] * mask)
    one, two = (run(p, "--method", "zero-filled", "--force")[3]["reconstruction"] for p in (path, zeros))
    np.testing.assert_array_equal(one, two)


def test_padding_is_no_undersampling(run, tmp_path, volume):
    padded = np.pad(volume[0], [(0, 0)] * 3 + [(8, 8)])
    status, lines, error, written = run(save(tmp_path / "a.h5", padded), "--acceleration", 2)
    assert status == 0
    assert "a.h5: 16 of 112 columns at the edges are zero: padding, not in the mask" in error
    assert not written["mask"][:8].any()
    assert not written["mask"][-8:].any()
    assert float(lines[0][3]) == pytest.approx(W / written["mask"].sum(), abs=1e-4)  # not 112 over it


def test_single_coil(run, tmp_path, volume):
    kspace = recon.fft2c(torch.from_numpy(volume[1])).numpy()
    status, _, _, written = run(save(tmp_path / "a.h5", kspace))
    assert status == 0
    assert written["coil_maps"] == "ones"
    assert nrmse(written["reconstruction"] * 1.01, volume[1]) < 1e-3  # lam = 0.01 shrinks by as much


def test_given_coil_maps(run, tmp_path, volume):
    kspace, images = volume
    csm = recon.ifft2c(torch.from_numpy(kspace)).numpy()  # any multiple of the maps, pixel by pixel
    full = save(tmp_path / "a.h5", kspace)
    np.save(tmp_path / "csm.npy", csm)
    status, _, _, written = run(full, "--coil-maps", tmp_path / "csm.npy", "--method", "zero-filled")
    assert status == 0
    assert written["coil_maps"] == "csm.npy"
    np.testing.assert_allclose(written["reconstruction"], np.abs(images), atol=1e-2)
    np.save(tmp_path / "csm.npy", csm[:, :2])
    status, _, error, _ = run(full, "--coil-maps", tmp_path / "csm.npy", "--force")
    assert status == 1
    assert (
        f"csm.npy: coil maps (2, 2, {H}, {W}) of complex64 do not fit k-space: save complex (2, 4, {H}, {W})" in error
    )


def test_crop_and_slices(run, tmp_path, volume):
    path = save(tmp_path / "a.h5", volume[0], reconstruction_rss=np.ones((2, 32, 40), np.float32))
    status, lines, _, written = run(path, "--slices", 1, "--method", "zero-filled")
    assert status == 0
    assert [line[1] for line in lines] == ["1"]
    assert written["reconstruction"].shape == (1, 32, 40)
    assert list(written["slices"]) == [1]
    assert nrmse(written["reconstruction"][0], volume[1][1, 20:52, 28:68]) < 0.01


def test_score_reads_it(run, full, tmp_path, capsys, weights_file):
    run(full, "--acceleration", 2)
    volume = read(tmp_path / "out.h5")
    assert (volume.n_slices, volume.shape) == (2, (H, W))
    assert main(["score", str(tmp_path / "out.h5"), "--weights", str(weights_file())]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_nothing_is_replaced_or_left_half_written(run, tmp_path, volume, full):
    (tmp_path / "out.h5").write_text("mine")
    status, lines, error, _ = run(full)
    assert (status, lines) == (2, [])
    assert "out.h5 exists" in error
    assert run(full, "--force")[0] == 0
    broken = volume[0].copy()
    broken[1, 0, 0, 0] = np.nan
    status, _, error, _ = run(save(tmp_path / "nan.h5", broken), out=tmp_path / "new.h5")
    assert status == 1
    assert "nan.h5: slice 1 (4, 72, 96) holds NaN" in error
    assert len(error.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full.h5", "nan.h5", "out.h5"]


def test_k_space_is_never_replaced(run, full):
    before = full.read_bytes()
    status, _, error, _ = run(full, "--force", out=full)
    assert status == 2
    assert "is the k-space itself" in error
    assert full.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mask", "random"], "not how much: give --acceleration"),
        (["--center-fraction", 0.1], "not how much: give --acceleration"),
        (["--mask", "spiral", "--acceleration", 4], "--mask is 'spiral': choose random, equispaced"),
        (["--acceleration", 0.5], "acceleration=0.5"),
        (["--method", "zero-filled", "--lam", 0.1], "zero-filled takes none"),
        (["--lam", -1], "give 0 or more"),
        (["--method", "grappa"], "grappa"),
        (["--slices", "a"], "--slices is 'a'"),
        (["--device", "tpu"], "--device is 'tpu'"),
        (["--method", "modl", "--modl", "none"], "weights 'none' not found: shipped for reconstruction are "),
        (["--method", "tv", "--modl", "modl-knee"], "--modl is modl-knee, but tv takes none"),
        (["--coils", 0], "--coils is 0"),
        (["--map-sets", 3], "--map-sets is 3"),
        (["--map-sets", 2, "--complex"], "leave --complex out"),
        (["--partial-fourier", "margosian"], "margosian"),
    ],
)
def test_wrong_usage(run, full, tmp_path, options, message):
    status, lines, error, _ = run(full, *options)
    assert (status, lines) == (2, [])
    assert message in error
    assert not (tmp_path / "out.h5").exists()


def test_failing_input(run, tmp_path, full):
    for source, options, message in (
        (tmp_path / "none.h5", [], "none.h5: does not exist"),
        (full, ["--slices", "5:"], "selects none of its 2 slices"),
        (
            full,
            ["--acceleration", 4, "--center-fraction", 0],
            "central points, too few to estimate coil maps from: use a mask with more central lines (12 are good",
        ),
        (save(tmp_path / "a.h5", np.ones((2, 4, 8, 8), np.float32)), [], "real numbers are no k-space"),
    ):
        status, lines, error, _ = run(source, *options)
        assert (status, lines) == (1, [])
        assert message in error
        assert len(error.splitlines()) == 1


def test_modl(run, full, modl_file):
    path = modl_file(unrolls=2, features=4)
    status, _, _, written = run(full, "--method", "modl", "--modl", path, "--acceleration", 2)
    assert status == 0
    model = recon.for_inference(weights.load(path))
    with h5py.File(full) as file:
        kspace = torch.from_numpy(file["kspace"][:1]) * torch.from_numpy(written["mask"])
    expected = model(kspace, recon.Sense(torch.from_numpy(written["mask"]), recon.espirit(kspace)))
    expected = expected.abs()[:, 0].numpy()  # of one slice: half precision rounds otherwise in a batch
    assert np.linalg.norm(written["reconstruction"][:1] - expected) < 1e-3 * np.linalg.norm(expected)
    assert (written["method"], written["weights"]) == ("modl", str(path))
    status, _, error, _ = run(full, "--method", "modl", "--weights", "qf-gray", "--force")
    assert status == 2
    assert "--modl qf-gray holds no MoDL" in error


def test_warnings_are_one_line_each(run, full, monkeypatch):
    def slow(kspace, sense, lam):  # noqa: ARG001 (as methods are called)
        import warnings

        warnings.warn("not converged:\nresidual 0.1", UserWarning, stacklevel=2)
        return sense.adjoint(kspace)

    monkeypatch.setitem(recon.methods.SOLVERS, "cg-sense", slow)
    status, _, error, _ = run(full)
    assert status == 0
    assert error.splitlines() == [f"warning: {full}: slices 0 to 1: not converged: residual 0.1"]


def test_weights_are_those_of_the_methods_name(run, full, tmp_path, modl_file, monkeypatch):
    path = modl_file(unrolls=1, features=4)
    monkeypatch.setattr(weights, "FOLDERS", (tmp_path,))
    written = run(full, "--method", "modl", "--slices", 0, "--force")[3]
    assert written["weights"] == "modl"
    given = run(full, "--method", "modl", "--weights", path, "--slices", 0, "--force")[3]
    np.testing.assert_array_equal(written["reconstruction"], given["reconstruction"])


def test_many_slices_are_what_each_is(run, tmp_path, volume):
    """Batches change nothing, and slices keep one scale."""
    factors = np.array([1, 3, 0.1, 1, 2, 5], np.float32)
    path = save(tmp_path / "a.h5", np.concatenate([volume[0]] * 3) * factors[:, None, None, None])
    whole = run(path)[3]["reconstruction"]
    for i, factor in enumerate(factors):
        alone = factor * whole[i % 2] / factors[i % 2]
        np.testing.assert_allclose(whole[i], alone, rtol=1e-3, atol=1e-3 * alone.max())
    lone = run(path, "--slices", 4, "--force")[3]["reconstruction"]
    np.testing.assert_allclose(whole[4:5], lone, rtol=1e-3, atol=1e-4 * whole.max())


def test_slices_of_zeros_are_skipped(run, tmp_path, volume):
    samples = volume[0][[0, 0, 1]]
    samples[1] = 0
    path = save(tmp_path / "a.h5", samples)
    status, lines, error, written = run(path)
    assert (status, [line[1] for line in lines]) == (0, ["0", "2"])
    assert error.splitlines() == [f"{path}: slice 1 is all zeros: skipped, its image is empty"]
    assert not written["reconstruction"][1].any()
    assert written["state"].tolist() == [1, 2, 1]
    assert nrmse(written["reconstruction"][[0, 2]] * 1.01, volume[1]) < 0.02
    status, _, error, _ = run(save(tmp_path / "b.h5", 0 * samples), "--force")
    assert status == 1
    assert "b.h5: slice 2 (4, 72, 96) is all zeros" in error


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("fill", ["none", "pocs", "homodyne"])
def test_partial_fourier_is_recognised(run, tmp_path, volume, axis, fill):
    n = (W, H)[axis + 1]
    kept = np.ones((1, W) if axis == -1 else (H, 1), bool)
    kept.reshape(-1)[: n * 3 // 8] = False
    path = save(tmp_path / "a.h5", volume[0] * kept)
    status, lines, error, written = run(path, "--partial-fourier", fill, "--method", "zero-filled")
    assert status == 0
    what = "columns" if axis == -1 else "rows"
    assert f"{n * 3 // 8} of {n} {what} on one side were not measured (partial Fourier)" in error
    assert ("--partial-fourier pocs or homodyne fill them" in error) == (fill == "none")
    np.testing.assert_array_equal(np.broadcast_to(written["mask"], (H, W)), np.broadcast_to(kept, (H, W)))
    assert float(lines[0][3]) == pytest.approx(8 / 5, abs=1e-3)
    assert nrmse(written["reconstruction"], volume[1]) < (0.2 if fill == "none" else 0.1)
    status, _, error, _ = run(save(tmp_path / "b.h5", volume[0]), "--partial-fourier", "pocs", "--force")
    assert "both sides of k-space were measured: nothing for --partial-fourier pocs to fill" in error


@pytest.mark.parametrize("turned", [False, True])
def test_regular_pattern_with_central_lines(run, tmp_path, volume, turned):
    """Along columns or rows, as GRAPPA scans have it."""
    mask = np.zeros(W, bool)
    mask[::2] = mask[36:60] = True
    kspace = volume[0] * mask
    if turned:
        kspace = kspace.swapaxes(2, 3)
    status, lines, _, written = run(save(tmp_path / "a.h5", kspace))
    images = written["reconstruction"].swapaxes(1, 2) if turned else written["reconstruction"]
    assert status == 0
    assert float(lines[0][3]) == pytest.approx(W / mask.sum(), abs=1e-3)
    assert nrmse(images * 1.01, volume[1]) < 0.05


def test_separate_calibration_lines(run, tmp_path, volume):
    mask = np.zeros(W, bool)
    mask[::2] = True
    path = save(tmp_path / "a.h5", volume[0] * mask, calibration=volume[0][..., 24:48, 36:60])
    status, _, _, written = run(path)
    assert status == 0
    assert nrmse(written["reconstruction"] * 1.01, volume[1]) < 0.05
    np.savez(tmp_path / "a.npz", kspace=volume[0] * mask, calibration=volume[0][..., 24:48, 36:60])
    again = run(tmp_path / "a.npz", "--force")[3]["reconstruction"]
    np.testing.assert_allclose(again, written["reconstruction"], rtol=1e-4, atol=1e-3)
    np.savez(tmp_path / "b.npz", kspace=volume[0] * mask, calibration=volume[0][:1])
    assert (
        "calibration of shape (1, 4, 72, 96) and complex64 does not fit 2 slices of 4 coils"
        in run(tmp_path / "b.npz", "--force")[2]
    )


def test_read_out_oversampling_is_removed_before(run, tmp_path, volume, monkeypatch):
    """Also of given maps and of calibration lines."""
    seen = []
    kspace = np.zeros((2, 4, 2 * H, W), np.complex64)  # twice the field of view along the read-out
    images = np.pad(recon.ifft2c(torch.from_numpy(volume[0])).numpy(), ((0, 0), (0, 0), (H // 2, H // 2), (0, 0)))
    kspace = recon.fft2c(torch.from_numpy(images)).numpy()
    mask = np.zeros(W, bool)
    mask[::2] = mask[36:60] = True

    def watched(kspace, sense, lam):
        seen.append(tuple(kspace.shape))
        return recon.cg_sense(kspace, sense, lam)

    monkeypatch.setitem(recon.methods.SOLVERS, "cg-sense", watched)
    target = np.ones((2, H, W), np.float32)
    csm = tmp_path / "csm.npy"
    np.save(csm, np.where(np.abs(images) > 0, images, 1))
    few = {"calibration": kspace[..., 30 + H // 2 - 24 : 90 + H // 2 - 24, 36:60]}
    for name, options, extra in (("a", [], {}), ("b", ["--coil-maps", csm], {}), ("c", [], few)):
        path = save(tmp_path / f"{name}.h5", kspace * mask, reconstruction_rss=target, **extra)
        status, _, error, written = run(path, *options, "--force")
        assert status == 0, error
        assert nrmse(written["reconstruction"] * 1.01, volume[1]) < 0.05, name
    assert set(seen) == {(2, 4, H, W)}


def test_noise_makes_coils_independent(run, tmp_path, volume):
    rng = np.random.default_rng(0)
    noise = (rng.normal(size=(4, 3000)) + 1j * rng.normal(size=(4, 3000))).astype(np.complex64)
    mixing = np.eye(4, dtype=np.complex64)
    mixing[3] = 30  # a broken coil with the noise of all others
    grain = rng.normal(size=(2, 2, *volume[0].shape)).astype(np.float32)
    one, two = volume[0] + np.einsum("vc, rschw -> rsvhw", mixing, grain[0] + 1j * grain[1])
    repeated = np.concatenate([one, two])
    plain, white = (
        run(save(tmp_path / f"{name}.h5", repeated, **extra), "--force")[3]
        for name, extra in (("plain", {}), ("white", {"noise": mixing @ noise}))
    )
    assert (bool(plain["prewhitened"]), bool(white["prewhitened"])) == (False, True)
    assert noise_of(white["reconstruction"]) < 0.5 * noise_of(plain["reconstruction"])
    status, _, said, _ = run(save(tmp_path / "bad.h5", one, noise=noise[:2]), "--force")
    assert status == 1
    assert "bad.h5: noise of shape (2, 3000) and complex64 does not fit 4 coils" in said


def noise_of(images):
    """Relative difference of two repetitions."""
    return np.linalg.norm(images[:2] - images[2:]) / np.linalg.norm(images[:2] + images[2:])


def test_coils_are_compressed(run, tmp_path, volume, monkeypatch):
    seen = []
    csm = recon.surface_coils(16, (H, W), seed=0)
    path = save(tmp_path / "a.h5", recon.fft2c(csm * torch.from_numpy(volume[1])[:, None]).numpy())
    watched = recon.methods.SOLVERS["zero-filled"]
    monkeypatch.setitem(recon.methods.SOLVERS, "zero-filled", lambda k, s: seen.append(k.shape[1]) or watched(k, s))
    for options, n_coils in (([], 12), (["--coils", 6], 6), (["--coils", 40], 16)):
        written = run(path, "--method", "zero-filled", *options, "--force")[3]
        assert (seen.pop(), written["coils"]) == (n_coils, n_coils)
        assert nrmse(written["reconstruction"], volume[1]) < 0.05


def test_maps_are_estimated_once_a_position(run, tmp_path, volume, monkeypatch):
    """Repetitions of two positions in a BART pair, whose slices come one repetition after the other."""
    seen, espirit = [], recon.pipeline.espirit

    def counted(kspace, **options):
        seen.append(len(kspace))
        return espirit(kspace, **options)

    monkeypatch.setattr(recon.pipeline, "espirit", counted)
    repetitions = np.stack([volume[0], volume[0] * 1.5, volume[0]])  # (t, s, c, h, w)
    dims = [H, W, 1, 4, *[1] * 6, 3, 1, 1, 2, 1, 1]
    (tmp_path / "a.hdr").write_text("# Dimensions\n" + " ".join(map(str, dims)) + "\n")
    np.moveaxis(repetitions, (3, 4, 2, 0, 1), range(5)).astype("<c8").ravel(order="F").tofile(tmp_path / "a.cfl")
    status, lines, _, written = run(tmp_path / "a.cfl")
    assert (status, seen) == (0, [1, 1])
    assert [line[1] for line in lines] == ["0", "1", "2", "3", "4", "5"] or len(lines) == 6
    result = written["reconstruction"].reshape(2, 3, H, W)
    np.testing.assert_allclose(result[:, 1], 1.5 * result[:, 0], rtol=1e-3, atol=1e-3)
    assert nrmse(result[:, 0] * 1.01, volume[1]) < 0.02


def test_two_sets_of_maps(run, full, volume):
    status, _, _, written = run(full, "--map-sets", 2)
    assert status == 0
    assert written["map_sets"] == 2
    assert nrmse(written["reconstruction"], volume[1]) < 0.1


def test_the_error_to_expect_is_written_beside_the_image(run, full, tmp_path, capsys):
    """As `mriqf check` says it of each slice."""
    status, lines, error, written = run(full, "--acceleration", 3, "--check")
    assert (status, error) == (0, "")
    assert main(["check", str(full), "--acceleration", "3", "--method", "cg-sense", "--header"]) == 0
    header, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert (written["check"], written["score_unit"]) == ("kspace, qf-mri", "100 - 20 log2(NRMSE / 1 %)")
    assert written["quality_map"].shape == written["reconstruction"].shape
    for i, (line, texts) in enumerate(zip(lines, rows, strict=True)):
        other = dict(zip(header, texts, strict=True))
        mine = dict(zip(PRINTED, line, strict=True))
        for key in NUMBERS:
            if other[key] == "":  # a picture that the calibration does not know
                assert mine[key] == "" and np.isnan(written[key][i])
            else:
                assert float(mine[key]) == pytest.approx(float(other[key]), rel=0.02)
                assert written[key][i] == pytest.approx(float(other[key]), rel=0.02)
        assert 0 <= written["quality_map"][i].min() < written["quality_map"][i].max() <= 100
    _, lines, _, without = run(full, "--acceleration", 3, out=tmp_path / "without.h5")
    assert set(written) - set(without) == {"nrmse", "nrmse_low", "nrmse_high", "score", "quality_map"} | {
        "check", "score_unit",
    }  # fmt: skip
    np.testing.assert_array_equal(written["reconstruction"], without["reconstruction"])
    assert lines[0][5:] == [""] * 4


@pytest.mark.parametrize("options", [("--partial-fourier", "homodyne"), ("--map-sets", 2), ("--method", "zero-filled")])
def test_what_is_checked_is_what_is_written(run, tmp_path, volume, options):
    mask = recon.masks.draw("random", (H, W), 2, 0.16, 0).numpy()
    mask[W - 20 :] = False
    samples = (volume[0] * mask).swapaxes(2, 3)  # phase encoding along rows
    path = save(tmp_path / "a.h5", np.concatenate([samples, 0 * samples[:1]]))
    status, lines, _, written = run(path, *options, "--check")
    assert status == 0 and len(lines) == 2
    assert np.isfinite(written["quality_map"][:2]).all() and np.isnan(written["quality_map"][2]).all()
    assert np.isnan(written["nrmse"][2])


def test_images_that_are_too_small_for_a_score_are_reconstructed(run, tmp_path):
    kspace = recon.simulate_kspace(
        torch.ones(1, 1, 24, 28) + 0j, recon.surface_coils(3, (24, 28), seed=0), 0.01, seed=0
    )
    status, lines, error, written = run(save(tmp_path / "a.h5", kspace.numpy()), "--check")
    assert status == 0
    assert "slice 0: no error to expect: " in error
    assert lines[0][5:] == [""] * 4 and np.isnan(written["score"]).all() and written["reconstruction"].any()


@pytest.mark.end_to_end
def test_a_killed_run_loses_nothing(tmp_path, volume):
    path = save(tmp_path / "a.h5", np.concatenate([volume[0]] * 12))
    command = [
        sys.executable,
        "-m",
        "mriqf",
        "recon",
        str(path),
        "--method",
        "l1-wavelet",
        "--acceleration",
        "2",
        "--no-check",
        "--out",
    ]
    with subprocess.Popen([*command, str(tmp_path / "b.h5")], stdout=subprocess.PIPE, text=True) as process:
        finished = [process.stdout.readline().split("\t")[1] for _ in range(6)]  # in the middle of a batch's rows
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5.partial"]
    with h5py.File(tmp_path / "b.h5.partial") as file:
        state, kept = np.asarray(file["state"]), np.asarray(file["reconstruction"])
    assert state[[int(index) for index in finished]].all()
    assert not state.all()
    again = subprocess.run([*command, str(tmp_path / "b.h5")], capture_output=True, text=True, check=True)
    assert f"b.h5.partial: goes on behind {state.sum()} of 24 slices" in again.stderr
    assert [int(line.split("\t")[1]) for line in again.stdout.splitlines()] == np.flatnonzero(state == 0).tolist()
    subprocess.run([*command, str(tmp_path / "c.h5")], capture_output=True, check=True)
    with h5py.File(tmp_path / "b.h5") as one, h5py.File(tmp_path / "c.h5") as two:
        np.testing.assert_array_equal(one["reconstruction"][state > 0], kept[state > 0])
        np.testing.assert_allclose(one["reconstruction"], two["reconstruction"], rtol=1e-4, atol=1e-3)
        assert set(one) == set(two)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5", "c.h5"]


def test_full_disk_keeps_what_is_finished(run, tmp_path, volume, monkeypatch):
    path = save(tmp_path / "a.h5", np.concatenate([volume[0]] * 4))
    write, written = PartialImages.write, []

    def full_disk(self, i, *image):
        if i == 5 and not written:
            written.append(i)
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, i, *image)

    monkeypatch.setattr(PartialImages, "write", full_disk)
    status, lines, error, _ = run(path)
    assert (status, len(lines)) == (1, 4)
    first, last = error.splitlines()
    assert first.endswith("out.h5.partial: keeps 5 of 8 slices: the same command goes on with the others")
    assert last.endswith("out.h5: no room is left on the disk: make some")
    status, lines, error, written = run(path)
    assert (status, [line[1] for line in lines]) == (0, ["5", "6", "7"])
    assert nrmse(written["reconstruction"] * 1.01, np.concatenate([volume[1]] * 4)) < 0.02
    status, _, error, _ = run(path)
    assert (status, "exists" in error) == (2, True)
