"""Images made elsewhere: their scale, their place, what stands in for their changes."""

import numpy as np
import pytest
import torch
from properties import complex_normal, relative_error

from recon import Sense, birdcage, cg_sense, masks, simulate_kspace, zero_filled
from recon.evidence import gather
from recon.given import anchored, disagreement, find_place, fit_scale, with_phase

C, H, W = 6, 48, 64
CSM = birdcage(C, (H, W))
MASK = masks.random(W, 2, 0.15, seed=0)
TRUTH = torch.zeros(1, 1, H, W, dtype=torch.complex64)
TRUTH[..., 10:36, 8:50] = 1 + 0.5j
TRUTH[..., 16:24, 12:20] = 0.3
KSPACE = MASK * simulate_kspace(TRUTH, CSM, 0.0, seed=0)
SENSE = Sense(MASK, CSM)


@pytest.mark.parametrize("factor", [1e-6, 3.0, -2j])
def test_scale_and_phase_of_the_whole_are_found(factor):
    assert relative_error(fit_scale(factor * TRUTH, KSPACE, SENSE), TRUTH) < 1e-5
    assert disagreement(fit_scale(factor * TRUTH, KSPACE, SENSE), KSPACE, SENSE).item() < 1e-5


def test_disagreement_of_nothing_is_one_and_no_other_scale_has_less():
    assert disagreement(0 * TRUTH, KSPACE, SENSE).item() == pytest.approx(1)
    assert disagreement(TRUTH, 0 * KSPACE, SENSE).item() == 0
    wrong = TRUTH + 0.3 * complex_normal(1, 1, H, W, seed=1)
    best = fit_scale(wrong, KSPACE, SENSE)
    least = disagreement(best, KSPACE, SENSE).item()
    assert least > 0.05
    assert all(disagreement(f * best, KSPACE, SENSE).item() > least for f in (0.95, 1.05, 1 + 0.05j))


def test_a_magnitude_takes_the_phase_of_another_image():
    result = with_phase(TRUTH.abs(), 5 * TRUTH)
    assert relative_error(result, TRUTH) < 1e-5


def test_anchored_is_the_image_here_and_changes_as_the_other_does():
    other, sense = KSPACE * 1.3, Sense(masks.random(W, 3, 0.15, seed=1), CSM)
    method = anchored(TRUTH, KSPACE, SENSE, cg_sense)
    assert relative_error(method(KSPACE, SENSE), TRUTH) < 1e-5
    change = method(other, sense) - TRUTH
    assert relative_error(change, cg_sense(other, sense) - cg_sense(KSPACE, SENSE)) < 1e-4


def test_evidence_of_a_stand_in_for_itself_is_its_own():
    own = gather(cg_sense, KSPACE, SENSE)
    stood = gather(anchored(own.image, KSPACE, SENSE, cg_sense), KSPACE, SENSE, own.image)
    torch.testing.assert_close(stood.findings, own.findings, rtol=1e-2, atol=1e-4)
    elsewhere = gather(anchored(zero_filled(KSPACE, SENSE), KSPACE, SENSE, cg_sense), KSPACE, SENSE)
    assert elsewhere.findings[0, 3] > 3 * own.findings[0, 3]  # inconsistency is the image's own


SHAPES = [(40, 40), (40, 56)]


def picture(h, w):
    y, x = np.mgrid[:h, :w]
    image = ((y - 0.4 * h) / (0.3 * h)) ** 2 + ((x - 0.6 * w) / (0.2 * w)) ** 2 < 1
    return image + 0.5 * ((np.abs(y - 0.5 * h) < 4) & (x < 0.7 * w)) + 0.05 * np.random.default_rng(0).random((h, w))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("shift", [(0, 0), (1, -3)])
def test_the_cure_of_a_place_puts_it_right(shape, turns, mirrored, shift):
    reference = picture(*shape)
    image = np.rot90(np.roll(reference, shift, (0, 1)), turns)
    image = image[:, ::-1].copy() if mirrored else image.copy()
    place = find_place(torch.from_numpy(image), torch.from_numpy(7 * reference))
    mended = eval(place.cure or "image", {"image": image, "numpy": np})  # what a user is told to type
    np.testing.assert_allclose(mended, reference)
    assert (place.cure == "") == (turns == 0 and not mirrored and shift == (0, 0))


def test_a_poor_image_in_its_place_and_a_symmetric_one_are_left_alone():
    reference = picture(40, 40)
    aliased = reference + 0.8 * np.roll(reference, 20, 1) + 0.3 * np.random.default_rng(1).random((40, 40))
    assert find_place(torch.from_numpy(aliased), torch.from_numpy(reference)).cure == ""
    y, x = np.mgrid[:41, :41] - 20
    disc = torch.from_numpy((np.hypot(y, x) < 12).astype(float))
    assert find_place(disc, disc).cure == ""
