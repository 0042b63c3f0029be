import numpy as np
import pytest
import torch
from properties import check_batch_invariant, complex_normal, relative_error

from recon import Sense, cg_sense, espirit, fft2c, ifft2c, masks, rss, simulate_kspace, smooth_phase, surface_coils


def scan(shape=(48, 48), n_coils=4, seed=0, noise_std=0.01):
    """Image of an ellipse that leaves a margin, its maps, and its full k-space."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    image = ((y / 0.75) ** 2 + (x / 0.65) ** 2 < 1) * (0.7 + 0.3 * torch.sin(9 * x + 5 * y))
    image, csm = image * smooth_phase(shape, seed, std=0.5), surface_coils(n_coils, shape, seed)
    return image, csm, simulate_kspace(image, csm, noise_std, seed)


def outside_span(csm, image, true_csm):
    """Part of the coil images that lies outside the span of the maps: what a reconstruction with them must lose."""
    coil_images = true_csm * image
    return relative_error(csm * (csm.conj() * coil_images).sum(1, keepdim=True), coil_images)


@pytest.mark.parametrize("shape", [(48, 48), (47, 53), (64, 40)])
def test_espirit_finds_the_maps(shape):
    image, csm, kspace = scan(shape)
    mask = masks.random(shape[1], 2, 0.4, seed=0)
    result = espirit(mask * kspace)
    assert result.shape == csm.shape
    assert result.dtype == torch.complex64
    assert outside_span(result, image, csm) < 0.06
    assert outside_span(result.roll(1, dims=1), image, csm) > 0.3  # the measure tells wrong maps
    energy = rss(result)
    assert ((energy - 1).abs().minimum(energy) < 1e-5).all()  # 1 or 0
    assert (energy[image.abs() > 0.1] > 0.5).float().mean() > 0.99
    assert energy[..., 0, 0] == 0


def test_espirit_phase_is_smooth():
    # Relative to one coil the phase would wind about that coil's zeros.
    image, _, kspace = scan((64, 64), n_coils=8, noise_std=0.001)
    csm = espirit(kspace)
    inside = image[0, 0, 20:44, 20:44].abs() > 0
    combined = (csm.conj() * ifft2c(kspace)).sum(1)[0, 20:44, 20:44]
    assert inside.all()
    for axis in (0, 1):
        n = combined.shape[axis]
        assert (combined.narrow(axis, 1, n - 1) / combined.narrow(axis, 0, n - 1)).angle().abs().max() < 0.7


def test_espirit_properties():
    kspace = torch.cat([masks.random(40, 2, 0.4, seed=0) * scan((36, 40), seed=seed)[2] for seed in range(2)])
    check_batch_invariant(espirit, kspace, rtol=1e-4)
    expected = espirit(kspace)
    for scale in (1e-7, 1e3):
        assert relative_error(espirit(scale * kspace), expected) < 1e-4
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert torch.equal(espirit(kspace), expected)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002


def test_espirit_is_silent(capfd):
    espirit(scan((24, 24))[2])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dead", [0, 2])
def test_espirit_of_a_dead_coil(dead):
    image, csm, kspace = scan()
    csm[:, dead] = 0
    kspace[:, dead] = 0
    result = espirit(kspace)
    assert result.isfinite().all()
    assert result[:, dead].abs().max() < 1e-3
    assert outside_span(result, image, csm) < 0.06


@pytest.mark.parametrize(("n_calib", "bound"), [(7, 0.1), (9, 0.06), (12, 0.05)])
def test_espirit_of_few_lines(n_calib, bound):
    """Kernels shrink with the calibration: of large ones, 7 lines would leave no maps at all."""
    image, _, kspace = scan()
    csm = espirit(kspace, n_calib)
    sense = Sense(torch.ones(kspace.shape[-1], dtype=torch.bool), csm)
    assert relative_error(sense.adjoint(kspace).abs(), image.abs()) < bound


def test_espirit_crop():
    kspace = scan()[2]
    areas = [(rss(espirit(kspace, crop=crop)) > 0.5).sum() for crop in (0, 0.7, 0.95)]
    assert areas[0] == 48 * 48
    assert areas[0] > areas[1] > areas[2]


@pytest.mark.parametrize(("shape", "n_coils"), [((64, 48), 4), ((47, 53), 8)])
def test_espirit_is_sigpys(shape, n_coils):
    """Maps computed at every third pixel and interpolated span what SigPy's span, computed at every pixel."""
    from sigpy.mri.app import EspiritCalib

    image, csm, kspace = scan(shape, n_coils)
    expected = torch.from_numpy(EspiritCalib(kspace[0].numpy(), 24, 0.05, 5, 0.8, 100, show_pbar=False).run())[None]
    result = espirit(kspace, 24)
    both = (rss(expected) > 0.5) & (rss(result) > 0.5)
    assert both.float().mean() > 0.97 * (rss(expected) > 0.5).float().mean()
    along = (expected.conj() * result).sum(1, keepdim=True)[both].abs()
    assert along.median() > 0.999
    assert along.quantile(0.05) > 0.99
    lost = [outside_span(maps, image, csm) for maps in (result, expected)]
    assert lost[0] < 1.1 * lost[1]


def test_few_columns_are_calibrated_on_with_all_their_rows():
    image, csm, kspace = scan((64, 64), 8)
    mask = torch.zeros(64, dtype=torch.bool)
    mask[29:36] = True
    assert outside_span(espirit(mask * kspace), image, csm) < outside_span(espirit(mask * kspace, 7), image, csm)


def folded(shape=(48, 64), n_coils=8):
    """K-space of an object that is wider than the field of view, the folded coil images, and the object's size."""
    image, csm, _ = scan(shape, n_coils)
    wide = csm * image
    n = shape[1] // 4
    coil_images = wide[..., n : 3 * n].clone()
    coil_images[..., :n] += wide[..., 3 * n :]
    coil_images[..., n:] += wide[..., :n]
    return fft2c(coil_images)


def test_two_sets_of_maps_explain_a_folded_object():
    kspace = folded()
    mask = torch.ones(kspace.shape[-1], dtype=torch.bool)
    left = {}
    for n_sets in (1, 2):
        csm = espirit(kspace, n_sets=n_sets)
        sense = Sense(mask, csm)
        image = cg_sense(kspace, sense, lam=1e-3, max_iter=200)
        assert image.shape[1] == n_sets
        left[n_sets] = relative_error(sense(image), kspace)
    assert left[2] < 0.4 * left[1]
    assert left[2] < 0.06


def test_sets_are_orthonormal():
    csm = espirit(folded(), n_sets=2)
    assert (csm[:, 0].conj() * csm[:, 1]).sum(1).abs().max() < 0.02
    for k in (0, 1):
        energy = rss(csm[:, k])
        assert ((energy - 1).abs().minimum(energy) < 0.02).all()  # 1 or 0
    both = (rss(csm[:, 1]) > 0.5)[0, 0]
    inside = both[1:, 1:] & both[:-1, 1:] & both[1:, :-1]
    for k in (0, 1):  # smooth where there are two, though their eigenvalues are equal
        steps = [csm[0, k].diff(dim=axis).norm(dim=0) for axis in (1, 2)]
        assert torch.stack([steps[0][:, 1:], steps[1][1:]])[:, inside].median() < 0.1
    alone = espirit(scan((48, 64), 8)[2], n_sets=2)  # a field of view that is large enough
    assert (rss(alone[:, 1]) > 0.5).float().mean() < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_calib": 20}, "fully sampled on 24 x 8 central points.* n_calib=20 x 20 .* n_calib <= 24 x 8"),
        ({"n_calib": 3}, "n_calib=3 x 3 with kernels of 3 x 3: use kernel_width < n_calib"),
        ({"kernel_width": 8}, "n_calib=24 x 8 with kernels of 8 x 8: use kernel_width < n_calib"),
        ({"n_sets": 5}, "n_sets=5 is out of range"),
        ({"crop": 1.5}, "crop=1.5"),
    ],
)
def test_espirit_bad_arguments(arguments, message):
    mask = torch.zeros(32, dtype=torch.bool)
    mask[12:20] = True
    with pytest.raises(ValueError, match=message):
        espirit(mask * complex_normal(1, 4, 24, 32), **arguments)


def test_espirit_without_calibration():
    kspace = masks.equispaced(32, 4, 0.0, seed=0) * complex_normal(1, 4, 24, 32)
    with pytest.raises(ValueError, match="mask with more central lines"):
        espirit(kspace)
