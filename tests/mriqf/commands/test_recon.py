"""`mriqf recon` as it is typed."""

import h5py
import numpy as np
import pytest
import torch

import recon
from mriqf import weights
from mriqf.cli import main
from mriqf.io import read

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
    assert all(float(line[4]) >= 0 and len(line) == 5 for line in lines)
    assert written["reconstruction"].dtype == np.float32
    assert nrmse(written["reconstruction"], volume[1]) < 0.01
    assert written["mask"].all()
    assert (written["method"], written["effective_acceleration"], written["source"]) == ("zero-filled", 1, "full.h5")
    assert not {"mask_family", "acceleration", "seed", "weights", "lam", "reconstruction_complex"} & written.keys()


@pytest.mark.parametrize("method", ["zero-filled", "cg-sense", "l1-wavelet"])
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
        (["--method", "modl", "--weights", "none"], "weights 'none' not found"),
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
        (full, ["--acceleration", 4, "--center-fraction", 0], "full.h5: slice 0: kspace (1, 4, 72, 96)"),
        (save(tmp_path / "a.h5", np.ones((2, 4, 8, 8), np.float32)), [], "real numbers are no k-space"),
    ):
        status, lines, error, _ = run(source, *options)
        assert (status, lines) == (1, [])
        assert message in error
        assert len(error.splitlines()) == 1


def test_modl(run, full, modl_file):
    path = modl_file(unrolls=2, features=4)
    status, _, _, written = run(full, "--method", "modl", "--weights", path, "--acceleration", 2)
    assert status == 0
    model = recon.fast(weights.load(path))
    with h5py.File(full) as file:
        kspace = torch.from_numpy(file["kspace"][:1]) * torch.from_numpy(written["mask"])
    expected = model(kspace, recon.Sense(torch.from_numpy(written["mask"]), recon.espirit(kspace)))
    np.testing.assert_allclose(written["reconstruction"][:1], expected.abs()[:, 0], rtol=1e-4)
    assert (written["method"], written["weights"]) == ("modl", str(path))
    status, _, error, _ = run(full, "--method", "modl", "--weights", "qf-gray", "--force")
    assert status == 2
    assert "--weights qf-gray holds no MoDL" in error


def test_warnings_are_one_line_each(run, full, monkeypatch):
    def slow(kspace, sense, lam):  # noqa: ARG001
        import warnings

        warnings.warn("not converged:\nresidual 0.1", UserWarning, stacklevel=2)
        return sense.adjoint(kspace)

    monkeypatch.setattr(recon, "cg_sense", slow)
    status, _, error, _ = run(full)
    assert status == 0
    assert error.splitlines() == [f"warning: {full}: slice {i}: not converged: residual 0.1" for i in range(2)]
