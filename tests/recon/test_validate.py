import pytest
import torch
from properties import complex_normal, relative_error

from recon import Sense, birdcage, cg_sense, held_out_residual, masks, simulate_kspace, smooth_phase, zero_filled

C, H, W = 8, 24, 40
CSM = birdcage(C, (H, W))
COLUMNS = masks.random(W, 2, 0.1, seed=0)
POINTS = torch.rand(H, W, generator=torch.Generator().manual_seed(0)) < 0.5


def phantom():
    image = torch.zeros(1, 1, H, W)
    image[..., 6:18, 8:30] = 1
    image[..., 10:14, 12:18] = 0.4
    return image * smooth_phase((H, W), seed=0)


TRUTH = phantom()
KSPACE = simulate_kspace(TRUTH, CSM, 0.0, seed=0)
GRAIN = complex_normal(1, 1, H, W, seed=3)
WHITE = simulate_kspace(GRAIN, CSM, 0.0, seed=0)


def recorded(method, seen):
    def run(kspace, sense):
        seen.append((kspace, sense.mask.expand(-1, 1, H, W)))
        return method(kspace, sense)

    return run


@pytest.mark.parametrize("mask", [COLUMNS, POINTS])
def test_closed_forms(mask):
    # A method that always returns a multiple of the truth errs by the same share everywhere.
    sense = Sense(mask, CSM)
    for factor, expected in ((1.0, 0.0), (0.0, 1.0), (0.7, 0.3), (1 + 1j, 1.0)):
        held_out = held_out_residual(lambda *_, f=factor: f * TRUTH, KSPACE, sense)
        assert held_out.residual.item() == pytest.approx(expected, abs=1e-5)
        assert held_out.folds.shape == (1, 10)
        torch.testing.assert_close(held_out.folds, torch.full_like(held_out.folds, expected), atol=1e-5, rtol=1e-5)


def test_images_that_are_there_are_not_made_again():
    sense, first, seen = Sense(COLUMNS, CSM), [], []
    whole = held_out_residual(recorded(cg_sense, first), KSPACE, sense, folds=3)
    known = [cg_sense(kspace, Sense(mask[:, :, :1], CSM)) for kspace, mask in first[:2]]
    again = held_out_residual(recorded(cg_sense, seen), KSPACE, sense, folds=3, known=known)
    assert len(seen) == 1
    torch.testing.assert_close(again.folds, whole.folds, rtol=1e-4, atol=1e-6)
    held_out_residual(recorded(cg_sense, seen), KSPACE, sense, folds=1, known=known)
    assert len(seen) == 1


@pytest.mark.parametrize("mask", [COLUMNS, POINTS])
@pytest.mark.parametrize("folds", [None, 3])
def test_each_sample_is_held_out_once(mask, folds):
    seen, sense = [], Sense(mask, CSM)
    held_out_residual(recorded(zero_filled, seen), WHITE, sense, folds=folds)
    assert len(seen) == (folds or 10)
    full = sense.mask.expand(1, 1, H, W)
    held = torch.stack([full & ~kept for _, kept in seen])
    assert all((kept <= full).all() for _, kept in seen)
    assert held.sum(0).max() == 1
    center = torch.zeros(H, W, dtype=torch.bool)
    rows, columns = (slice(0, H) if mask.ndim == 1 else slice(11, 13)), slice(19, 22)  # 8 % about the zero frequency
    center[rows, columns] = True
    assert not (held.any(0) & center).any()
    assert torch.equal(held.any(0), full & ~center) == (folds is None)
    counts = held.flatten(1).sum(1)
    assert counts.max() - counts.min() <= (H if mask.ndim == 1 else 1)
    if mask.ndim == 1:
        assert torch.equal(held.any(-2), held.all(-2))  # whole columns
    for kspace, kept in seen:
        assert torch.equal(kspace, WHITE * kept) or (kspace * ~full).abs().max() > 0
        assert not (kspace * (full & ~kept)).any()  # the method never sees what it is tested on


def test_noiseless_data_that_determine_the_image_leave_nothing():
    sense = Sense(torch.ones(W, dtype=torch.bool), CSM)
    held_out = held_out_residual(lambda y, s: cg_sense(y, s, lam=1e-6, max_iter=300), KSPACE, sense)
    assert held_out.residual.item() < 0.01
    assert held_out.missing.item() == 0


@pytest.mark.parametrize("method", [zero_filled, cg_sense])
def test_it_is_the_error_of_what_was_foretold(method):
    # Of one fold, by hand.
    sense, seen = Sense(COLUMNS, CSM), []
    held_out = held_out_residual(recorded(method, seen), KSPACE, sense, folds=1, seed=4)
    _, kept = seen[0]
    held = Sense(sense.mask & ~kept, CSM)
    expected = relative_error(held(method(KSPACE, Sense(kept, CSM))), held.mask * KSPACE)
    assert held_out.residual.item() == pytest.approx(expected, rel=1e-5)
    assert held_out.folds.item() == pytest.approx(expected, rel=1e-5)


def test_missing_is_the_error_of_the_image():
    # Of a white spectrum, held-out samples are like any others: the error of what is missing is that of the image.
    sense = Sense(COLUMNS, CSM)
    for factor in (0.0, 0.7):
        held_out = held_out_residual(lambda *_, f=factor: f * GRAIN, WHITE, sense)
        assert held_out.missing.item() == pytest.approx((1 - factor) * 0.5**0.5, rel=0.05)  # half of k-space


def test_noise_is_taken_off():
    noise_std = 0.05
    for mask in (COLUMNS, POINTS):
        sense = Sense(mask, CSM)
        kspace = simulate_kspace(GRAIN, CSM, noise_std, seed=1)

        def method(*_):
            return 0.8 * GRAIN

        assert held_out_residual(method, kspace, sense).residual.item() > 0.25
        free = held_out_residual(method, kspace, sense, noise_std=noise_std)
        assert free.residual.item() == pytest.approx(0.2, rel=0.05)
        per_sample = held_out_residual(method, kspace, sense, noise_std=torch.tensor([noise_std]))
        assert torch.equal(per_sample.residual, free.residual)
        assert held_out_residual(method, kspace, sense, noise_std=0.2).residual.item() == 0
        assert held_out_residual(method, kspace, sense, noise_std=9.0).residual.isnan().all()


@pytest.mark.parametrize("scale", [1e-7, 1e4, 1j])
def test_unit_of_the_data_changes_nothing(scale):
    sense = Sense(COLUMNS, CSM)
    result, scaled = (
        held_out_residual(cg_sense, s * KSPACE, sense, folds=3, noise_std=0.001 * abs(s)) for s in (1, scale)
    )
    torch.testing.assert_close(scaled.folds, result.folds, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scaled.missing, result.missing, rtol=1e-4, atol=1e-5)


def test_seed():
    sense, state = Sense(COLUMNS, CSM), torch.get_rng_state()
    first, again, other = (held_out_residual(zero_filled, KSPACE, sense, seed=seed).folds for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_batch():
    kspace = torch.cat([KSPACE, 100 * WHITE])
    planes = torch.stack([masks.random(W, 2, 0.1, seed=s) for s in (0, 1)])[:, None, None]
    together = held_out_residual(cg_sense, kspace, Sense(planes, CSM), folds=2)
    shared = held_out_residual(cg_sense, kspace, Sense(planes[:1], CSM), folds=2)
    for i in range(2):
        alone = held_out_residual(cg_sense, kspace[i : i + 1], Sense(planes[i : i + 1], CSM), folds=2)
        torch.testing.assert_close(together.folds[i : i + 1], alone.folds, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.missing[i : i + 1], alone.missing, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shared.folds[0], together.folds[0], rtol=1e-4, atol=1e-5)


def test_it_ranks_methods():
    sense = Sense(torch.ones(W, dtype=torch.bool), CSM)  # gaps of a line or two, which coils fill
    methods = [lambda y, s, lam=lam: cg_sense(y, s, lam, max_iter=300) for lam in (1e-4, 1e-2)] + [zero_filled]
    kspace = simulate_kspace(TRUTH, CSM, 0.001, seed=0)
    results = [held_out_residual(method, kspace, sense).residual.item() for method in methods]
    assert results == sorted(results)
    assert results[0] < 0.1 * results[-1]


def test_bad_arguments():
    sense = Sense(COLUMNS, CSM)
    for options, message in (
        ({"share": 0}, r"share=0 .* use 0 < share <= 0.5"),
        ({"share": 0.6}, r"share=0.6"),
        ({"keep_center": 1}, r"keep_center=1 .* 0 <= keep_center < 1"),
        ({"folds": 11}, r"folds=11 is out of range: use 1 to 10 for share=0.1"),
        ({"folds": 0}, r"folds=0"),
        ({"share": 0.01}, r"mask samples 1\d columns outside the kept centre, too few to hold 1/100 of them out: use"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            held_out_residual(zero_filled, KSPACE, sense, **options)
        assert "\n" not in str(caught.value)
    few = torch.zeros(H, W, dtype=torch.bool)
    few[11:13, 19:22] = True
    few[0, 0] = True
    with pytest.raises(ValueError, match=r"mask samples 1 points"):
        held_out_residual(zero_filled, KSPACE, Sense(few, CSM))
