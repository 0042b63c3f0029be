"""Evidence: finite whatever was measured, free of units, the same for a sample alone and in a batch."""

import numpy as np
import pytest
import torch
from properties import complex_normal, relative_error

from recon import (
    Sense,
    birdcage,
    cg_sense,
    fft2c,
    held_out_residual,
    l1_wavelet,
    masks,
    simulate_kspace,
    sure,
    zero_filled,
)
from recon.evidence import (
    BOUNDS,
    CHANNELS,
    FINDINGS,
    GROUPS,
    _centre,
    _continued,
    expected_missing,
    gather,
    outermost_noise,
    side_lobe,
)
from recon.validate import risk

C, H, W = 6, 48, 64
CSM = birdcage(C, (H, W))
COLUMNS = masks.random(W, 2, 0.15, seed=0)
POINTS = torch.rand(H, W, generator=torch.Generator().manual_seed(0)) < 0.5
STD = 0.02


def phantom(seed=0):
    image = torch.zeros(1, 1, H, W, dtype=torch.complex64)
    image[..., 10:36, 8 : 50 + seed] = 1
    image[..., 16:24, 20:30] = 0.4
    return image


KSPACE = simulate_kspace(phantom(), CSM, STD, seed=0)


def named(evidence, k=0):
    return dict(zip(FINDINGS, evidence.findings[k].tolist(), strict=True))


def few_lines(n):
    mask = torch.zeros(W, dtype=torch.bool)
    mask[30:35] = mask[:n] = True
    return mask


@pytest.mark.parametrize("mask", [COLUMNS, POINTS])
@pytest.mark.parametrize(
    ("method", "factor"),
    [(zero_filled, 1e-7), (cg_sense, 1e5), (cg_sense, 1j), (l1_wavelet, 1e-5)],  # the noise of a probe does not turn
)
def test_scale_changes_nothing(method, mask, factor):
    sense = Sense(mask, CSM)
    one, other = gather(method, mask * KSPACE, sense), gather(method, factor * mask * KSPACE, sense)
    torch.testing.assert_close(other.findings, one.findings, rtol=0.02, atol=1e-4)
    for a, b in zip(one.channels[0], other.channels[0], strict=True):
        assert relative_error(b / abs(factor), a) < 0.03


@pytest.mark.parametrize("method", [zero_filled, cg_sense])
def test_a_sample_does_not_depend_on_its_batch(method):
    kspace = torch.cat((KSPACE, simulate_kspace(phantom(8), CSM, 0.1, seed=1)))
    planes = torch.stack((COLUMNS, masks.random(W, 3, 0.1, seed=4)))[:, None, None]
    together = gather(method, planes * kspace, Sense(planes, CSM), folds=2)
    for k in range(2):
        alone = gather(method, planes[k] * kspace[k : k + 1], Sense(planes[k : k + 1], CSM), folds=2)
        torch.testing.assert_close(together.findings[k : k + 1], alone.findings, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(together.channels[k : k + 1], alone.channels, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "mask",
    [
        few_lines(0),
        few_lines(1),
        few_lines(3),
        torch.ones(W, dtype=torch.bool),
        torch.zeros(W, dtype=torch.bool),
        POINTS,
    ],
    ids=["none outside", "one outside", "three outside", "all", "nothing", "points"],
)
@pytest.mark.parametrize("data", ["noisy", "noiseless", "noise", "zeros"])
def test_everything_is_finite(mask, data):
    kspace = {
        "noisy": KSPACE, "noiseless": fft2c(CSM * phantom()), "noise": complex_normal(1, C, H, W, seed=1),
        "zeros": torch.zeros_like(KSPACE),
    }[data]  # fmt: skip
    evidence = gather(zero_filled, mask * kspace, Sense(mask, CSM))
    assert evidence.findings.shape == (1, len(FINDINGS)) and evidence.channels.shape == (1, len(CHANNELS), H, W)
    assert evidence.findings.isfinite().all() and evidence.channels.isfinite().all() and (evidence.channels >= 0).all()
    assert (evidence.findings >= BOUNDS[0] * 0.999).all() and (evidence.findings <= BOUNDS[1]).all()


def test_it_is_what_the_checks_measure():
    sense, measured = Sense(COLUMNS, CSM), COLUMNS * KSPACE
    result = named(gather(cg_sense, measured, sense, folds=3, seed=2))
    noise = outermost_noise(measured, sense.mask)
    held = held_out_residual(cg_sense, measured, sense, folds=3, seed=2)
    assert result["held_out"] == pytest.approx(held.residual.item(), rel=1e-4)
    noiseless = held_out_residual(cg_sense, measured, sense, folds=3, seed=2, noise_std=noise)
    assert result["missing"] == pytest.approx(noiseless.missing.item(), rel=1e-4)
    stein = sure(cg_sense, measured, sense, noise, seed=2, epsilon=1.0)
    assert result["sure"] == pytest.approx(stein.nrmse.item(), rel=1e-3)


def test_its_fold_and_divergence_serve_the_checks():
    sense, measured, calls = Sense(COLUMNS, CSM), COLUMNS * KSPACE, []

    def counted(kspace, operator):
        calls.append(operator)
        return cg_sense(kspace, operator)

    result, std = gather(counted, measured, sense, seed=2), torch.tensor([STD])
    once = len(calls)
    held = held_out_residual(counted, measured, sense, seed=2, known=result.folds)
    assert len(calls) - once == GROUPS - 1
    assert held.residual.item() == pytest.approx(held_out_residual(cg_sense, measured, sense, seed=2).residual.item())
    stein = risk(measured, sense(result.image), sense, std, result.divergence)
    assert stein.nrmse.item() == pytest.approx(sure(cg_sense, measured, sense, STD, seed=2).nrmse.item(), rel=1e-2)


def test_three_reconstructions_and_two_of_an_image_that_is_there():
    sense, measured, calls = Sense(COLUMNS, CSM), COLUMNS * KSPACE, []

    def counted(kspace, operator):
        calls.append(operator)
        return cg_sense(kspace, operator)

    first = gather(counted, measured, sense)
    assert len(calls) == 3
    again = gather(counted, measured, sense, first.image)
    assert len(calls) == 5
    assert torch.equal(again.findings, first.findings) and torch.equal(again.channels, first.channels)
    with pytest.raises(ValueError, match="folds=11 is out of range: use 1 to 10"):
        gather(counted, measured, sense, folds=11)


def test_noise_is_that_of_the_outermost_samples():
    for mask in (COLUMNS, POINTS, torch.ones(W, dtype=torch.bool)):
        sense = Sense(mask, CSM)
        kspace = simulate_kspace(torch.zeros(1, 1, H, W, dtype=torch.complex64), CSM, STD, seed=3)
        assert outermost_noise(mask * kspace, sense.mask).item() == pytest.approx(STD, rel=0.15)
    padded = kspace.clone()
    padded[..., :4] = padded[..., -4:] = 0  # not noise
    everything = torch.ones(1, 1, H, W, dtype=torch.bool)
    assert outermost_noise(padded, everything).item() == pytest.approx(STD, rel=0.15)


def test_noise_gain_of_a_full_measurement_is_one():
    full = Sense(torch.ones(W, dtype=torch.bool), CSM)
    assert named(gather(zero_filled, KSPACE, full))["noise_gain"] == pytest.approx(1, rel=0.05)
    half = named(gather(zero_filled, COLUMNS * KSPACE, Sense(COLUMNS, CSM)))["noise_gain"]
    assert half == pytest.approx(0.5**0.5, rel=0.05)
    assert named(gather(cg_sense, COLUMNS * KSPACE, Sense(COLUMNS, CSM)))["noise_gain"] > half


def test_expected_energy_of_a_white_spectrum_is_the_share_of_its_samples():
    white, sense = fft2c(CSM * complex_normal(1, 1, H, W, seed=2)), Sense(COLUMNS, CSM)
    share, energy = expected_missing(COLUMNS * white, sense.mask, torch.zeros(1))
    assert share.item() == pytest.approx(0.5**0.5, rel=0.03)
    true = (~COLUMNS * white).abs().square().sum().sqrt().item()
    assert energy.item() == pytest.approx(true, rel=0.03)
    noisy = white + simulate_kspace(torch.zeros(1, 1, H, W, dtype=torch.complex64), CSM, 0.5, seed=1)
    _, without = expected_missing(COLUMNS * noisy, sense.mask, torch.tensor([0.5]))
    assert without.item() == pytest.approx(true, rel=0.1)


def test_a_profile_goes_on_as_it_falls():
    place = np.arange(30) + 0.5
    power, known = place**-3.0, np.arange(30) < 20
    known[8:11] = False
    np.testing.assert_allclose(_continued(np.where(known, power, 0), known), power, rtol=0.05)


def test_side_lobes():
    regular = torch.arange(W) % 4 == 0
    assert side_lobe(regular[None, None, None]).item() == pytest.approx(1)  # copies as strong as the image
    assert side_lobe(torch.ones(1, 1, 1, W, dtype=torch.bool)).item() < 1e-9
    assert side_lobe(POINTS[None, None]).item() < 0.1


def test_centre_counts_columns_without_a_gap():
    mask = few_lines(4)
    assert _centre(mask[None, None, None]).item() == pytest.approx(5 / W)
    mask[W // 2] = False
    assert _centre(mask[None, None, None]).item() == 0


def test_wrong_maps_show_as_a_mismatch():
    sense, other = Sense(COLUMNS, CSM), Sense(COLUMNS, CSM.roll(1, 1))
    right, wrong = (named(gather(zero_filled, COLUMNS * KSPACE, s))["mismatch"] for s in (sense, other))
    assert right < 0.5 * wrong


def test_two_sets_of_maps():
    sets = torch.stack((CSM, CSM.flip(1)), 1) / 2**0.5
    sense = Sense(COLUMNS, sets)
    evidence = gather(zero_filled, COLUMNS * KSPACE, sense)
    assert evidence.image.shape == (1, 2, H, W) and evidence.channels.shape == (1, len(CHANNELS), H, W)
    assert evidence.findings.isfinite().all()
