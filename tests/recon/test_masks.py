import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recon import effective_acceleration, masks

repeatable = settings(deadline=None, derandomize=True, max_examples=200)
widths, seeds, fractions = st.integers(1, 400), st.integers(0, 2**32 - 1), st.floats(0.0, 0.5)


def center(mask: torch.Tensor, center_fraction: float) -> torch.Tensor:
    n = round(len(mask) * center_fraction)
    start = (len(mask) - n + 1) // 2
    return mask[start : start + n]


@repeatable
@given(widths, st.floats(1.0, 16.0), fractions, seeds)
def test_random_has_exact_count_and_center(width, acceleration, center_fraction, seed):
    n_sampled = round(width / acceleration)
    assume(acceleration <= width and round(width * center_fraction) <= n_sampled)
    mask = masks.random(width, acceleration, center_fraction, seed)
    assert mask.dtype == torch.bool
    assert mask.shape == (width,)
    assert mask.sum() == n_sampled
    assert center(mask, center_fraction).all()
    assert abs(width / effective_acceleration(mask) - width / acceleration) <= 0.5 + 1e-9


@repeatable
@given(widths, st.integers(1, 16), fractions, seeds)
def test_equispaced_has_spacing_and_center(width, acceleration, center_fraction, seed):
    assume(acceleration <= width)
    mask = masks.equispaced(width, acceleration, center_fraction, seed)
    assert mask.shape == (width,)
    assert center(mask, center_fraction).all()
    assert any(mask[offset::acceleration].all() for offset in range(acceleration))
    regular = masks.equispaced(width, acceleration, 0.0, seed)
    assert (regular & ~mask).sum() == 0
    assert set(regular.nonzero().flatten().diff().tolist()) <= {acceleration}
    assert effective_acceleration(mask) <= effective_acceleration(regular)


@pytest.mark.parametrize("width", [9, 10])
@pytest.mark.parametrize("n_center", [1, 2, 3, 4])
def test_center_holds_zero_frequency(width, n_center):
    mask = masks.random(width, width / n_center, n_center / width, seed=0)
    assert mask.sum() == n_center
    assert mask[width // 2]


def test_effective_acceleration_of_common_settings():
    assert effective_acceleration(masks.random(320, 8, 0.04, seed=0)) == 8
    equispaced = [effective_acceleration(masks.equispaced(320, 8, 0.04, seed)) for seed in range(8)]
    assert sum(equispaced) / 8 == pytest.approx(6.2, abs=0.15)  # what fastMRI's equispaced masks have as well


def test_effective_acceleration_of_a_plane():
    plane = torch.zeros(4, 6, dtype=torch.bool)
    plane[1:3, 1:4] = True
    assert effective_acceleration(plane) == 4
    with pytest.raises(ValueError, match="samples nothing"):
        effective_acceleration(torch.zeros(4, dtype=torch.bool))


@pytest.mark.parametrize("draw", [masks.random, masks.equispaced])
def test_seed_decides(draw):
    assert torch.equal(draw(320, 4, 0.08, 3), draw(320, 4, 0.08, 3))
    assert len({tuple(draw(320, 4, 0.08, seed).tolist()) for seed in range(20)}) > 1
    state = torch.get_rng_state()
    draw(320, 4, 0.08, 3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("draw", [masks.random, masks.equispaced])
def test_no_acceleration_samples_all(draw):
    assert draw(33, 1, 0.1, seed=0).all()


@pytest.mark.parametrize("draw", [masks.random, masks.equispaced])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 0.0), "width=0 .* use width >= 1"),
        ((32, 0.5, 0.0), r"acceleration=0.5 .* \[1, 32\]"),
        ((32, 33, 0.0), r"acceleration=33 .* \[1, 32\]"),
        ((32, float("nan"), 0.0), "acceleration=nan"),
        ((32, 4, -0.1), r"center_fraction=-0.1 .* \[0, 1\]"),
        ((32, 4, 24.0), r"center_fraction=24.0 .* \[0, 1\]"),
    ],
)
def test_bad_arguments(draw, arguments, message):
    with pytest.raises(ValueError, match=message):
        draw(*arguments, seed=0)


def test_center_over_budget():
    with pytest.raises(ValueError, match=r"takes 16 columns .* only 12 of 100: use center_fraction <= 0.12"):
        masks.random(100, 8, 0.16, seed=0)


def test_equispaced_needs_whole_spacing():
    with pytest.raises(ValueError, match=r"acceleration=2.5 .* masks.random"):
        masks.equispaced(100, 2.5, 0.0, seed=0)
