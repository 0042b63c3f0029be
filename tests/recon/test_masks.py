import sys
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recon import effective_acceleration, masks

repeatable = settings(deadline=None, derandomize=True, max_examples=200)
widths, seeds, fractions = st.integers(1, 400), st.integers(0, 2**32 - 1), st.floats(0.0, 0.5)

needs_fastmri = pytest.mark.skipif(find_spec("fastmri") is None, reason="fastmri is not installed")


def center(mask: torch.Tensor, center_fraction: float) -> torch.Tensor:
    n = round(len(mask) * center_fraction)
    start = (len(mask) - n + 1) // 2
    return mask[start : start + n]


@repeatable
@given(st.sampled_from([masks.random, masks.gaussian]), widths, st.floats(1.0, 16.0), fractions, seeds)
def test_exact_count_and_center(draw, width, acceleration, center_fraction, seed):
    n_sampled = round(width / acceleration)
    assume(acceleration <= width and round(width * center_fraction) <= n_sampled)
    mask = draw(width, acceleration, center_fraction, seed)
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


@pytest.mark.parametrize("draw", [masks.random, masks.equispaced, masks.gaussian])
def test_seed_decides(draw):
    assert torch.equal(draw(320, 4, 0.08, 3), draw(320, 4, 0.08, 3))
    assert len({tuple(draw(320, 4, 0.08, seed).tolist()) for seed in range(20)}) > 1
    state = torch.get_rng_state()
    draw(320, 4, 0.08, 3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("draw", [masks.random, masks.equispaced, masks.gaussian])
def test_no_acceleration_samples_all(draw):
    assert draw(33, 1, 0.1, seed=0).all()


@pytest.mark.parametrize("draw", [masks.random, masks.equispaced, masks.gaussian])
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


@pytest.mark.parametrize("draw", [masks.random, masks.gaussian])
def test_center_over_budget(draw):
    with pytest.raises(ValueError, match=r"takes 16 columns .* only 12 of 100: use center_fraction <= 0.12"):
        draw(100, 8, 0.16, seed=0)


def test_equispaced_needs_whole_spacing():
    with pytest.raises(ValueError, match=r"acceleration=2.5 .* masks.random"):
        masks.equispaced(100, 2.5, 0.0, seed=0)


def test_gaussian_density_falls_from_the_center():
    drawn = torch.stack([masks.gaussian(120, 4, 0.0, seed) for seed in range(300)]).float().mean(0)
    rings = [drawn[60 - r : 70 - r].mean() + drawn[50 + r : 60 + r].mean() for r in (10, 20, 30, 40, 50)]
    assert all(inner > outer for inner, outer in pairwise(rings))
    assert drawn.mean() == pytest.approx(0.25)
    assert abs(drawn[1:60].sum() - drawn[61:].sum()) < 1  # as many on either side of the zero frequency


def test_gaussian_std():
    wide = torch.stack([masks.gaussian(100, 4, 0.0, seed, std=1e3) for seed in range(400)]).float().mean(0)
    assert (wide - 0.25).abs().max() < 5 * (0.25 * 0.75 / 400) ** 0.5  # uniform, within five standard errors
    narrow = masks.gaussian(100, 4, 0.0, seed=0, std=1e-4)  # weights that underflow: the nearest columns
    assert narrow.nonzero().flatten().tolist() == list(range(38, 63))
    with pytest.raises(ValueError, match=r"std=0 .* use std > 0"):
        masks.gaussian(100, 4, 0.0, seed=0, std=0)


@settings(repeatable, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(1.0, 20.0), fractions, seeds)
def test_poisson_has_exact_count_and_center(height, width, acceleration, center_fraction, seed):
    n_sampled, sides = round(height * width / acceleration), [round(n * center_fraction) for n in (height, width)]
    assume(acceleration <= height * width and sides[0] * sides[1] <= n_sampled)
    mask = masks.poisson((height, width), acceleration, center_fraction, seed)
    assert mask.dtype == torch.bool
    assert mask.shape == (height, width)
    assert mask.sum() == n_sampled
    for axis, n in enumerate(mask.shape):
        mask = mask.narrow(axis, (n - sides[axis] + 1) // 2, sides[axis])
    assert mask.all()


def test_poisson_follows_the_seed():
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - SigPy's is the one at stake
    draws = [masks.poisson((48, 40), 5, 0.1, seed) for seed in (3, 3, 4, 2**40)]
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert torch.equal(draws[0], draws[1])
    assert len({tuple(mask.flatten().tolist()) for mask in draws}) == 3


@pytest.mark.parametrize("acceleration", [4, 8])
def test_poisson_distance_grows(acceleration):
    points = masks.poisson((128, 128), acceleration, 0.0, seed=0).nonzero().double()
    nearest = torch.cdist(points, points).fill_diagonal_(torch.inf).min(1).values
    radius = torch.linalg.vector_norm(points - 64, dim=1)
    uniform = masks.random(128 * 128, acceleration, 0.0, seed=0).reshape(128, 128).nonzero().double()
    inner, middle, outer = (nearest[(radius >= a) & (radius < a + 25)] for a in (0, 25, 50))
    assert inner.mean() < middle.mean() < outer.mean()
    # Points of a disc keep their distance; points drawn freely are neighbours somewhere.
    free = torch.cdist(uniform, uniform).fill_diagonal_(torch.inf).min(1).values
    assert (outer <= 1).double().mean() < 0.25 * (free <= 1).double().mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 8), 1, 0.0), r"shape=\(0, 8\) has no points"),
        (((8, 8), 0.5, 0.0), r"acceleration=0.5 .* \[1, 64\]"),
        (((8, 8), 65, 0.0), r"acceleration=65 .* \[1, 64\]"),
        (((8, 8), 4, 1.5), "center_fraction=1.5"),
        (((8, 8), 4, 0.75), r"takes 36 points .* only 16 of 64: use center_fraction <= 0.5"),
    ],
)
def test_poisson_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        masks.poisson(*arguments, seed=0)


def test_poisson_without_sigpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sigpy.mri", None)
    with pytest.raises(
        ImportError, match=r"needs (sigpy: pip install sigpy|fastmri .*: pip install --no-deps fastmri)"
    ):
        masks.poisson((8, 8), 2, 0.0, seed=0)


@needs_fastmri
@pytest.mark.parametrize("seed", [0, 7, tuple(map(ord, "file1000001.h5"))])
@pytest.mark.parametrize(("acceleration", "center_fraction"), [(4, 0.08), (8, 0.04)])
def test_fastmri_columns_are_fastmris(acceleration, center_fraction, seed):
    from fastmri.data import subsample

    functions = {
        "random": subsample.RandomMaskFunc,
        "equispaced": subsample.EquiSpacedMaskFunc,
        "equispaced_fraction": subsample.EquispacedMaskFractionFunc,
        "magic": subsample.MagicMaskFunc,
        "magic_fraction": subsample.MagicMaskFractionFunc,
    }
    for kind, function in functions.items():
        expected, _ = function([center_fraction], [acceleration])((16, 320, 368, 2), seed=seed)
        mask = masks.fastmri(kind, 368, acceleration, center_fraction, seed)
        assert mask.dtype == torch.bool
        assert torch.equal(mask, expected[0, 0, :, 0] == 1)


@needs_fastmri
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("random", 32, 1, 1.0), "random mask fails .* use a lower, whole acceleration"),
        (("equispaced", 32, 2.5, 0.1), "equispaced mask fails .* use a lower, whole acceleration"),
        (("equispaced_fraction", 320, 8, 0.125), "center_fraction=0.125 .* center_fraction < 0.125"),
        (("magic_fraction", 320, 8, 0.25), "magic_fraction mask fails .* center_fraction < 0.125"),
        (("magic", 32, 0.5, 0.1), "acceleration=0.5 is out of range"),
        (("magik", 32, 4, 0.1), "kind='magik' is unknown: did you mean magic"),
    ],
)
def test_fastmri_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        masks.fastmri(*arguments, seed=0)


def test_fastmri_without_fastmri(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastmri.data.subsample", None)
    with pytest.raises(
        ImportError, match=r"needs (sigpy: pip install sigpy|fastmri .*: pip install --no-deps fastmri)"
    ):
        masks.fastmri("random", 32, 4, 0.1, seed=0)


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=needs_fastmri) if "fastmri" in name else name for name in masks.FAMILIES]
)
def test_draw_by_name(family):
    mask = masks.draw(family, (40, 64), 4, 0.1, 3)
    assert mask.shape == ((40, 64) if family == "poisson" else (64,))
    if family.startswith("fastmri-"):
        expected = masks.fastmri(family.removeprefix("fastmri-"), 64, 4, 0.1, 3)
    else:
        expected = getattr(masks, family)((40, 64) if family == "poisson" else 64, 4, 0.1, 3)
    assert torch.equal(mask, expected)
    if not family.startswith("fastmri-"):
        assert masks.draw(family, (12, 10), 1, 0.1, 0).all()


def test_draw_unknown_family():
    with pytest.raises(ValueError, match=r"family='poison' is unknown: did you mean poisson.* random, equispaced"):
        masks.draw("poison", (8, 8), 2, 0.1, 0)
    with pytest.raises(ValueError, match="family='x' is unknown: use one of"):
        masks.draw("x", (8, 8), 2, 0.1, 0)


@pytest.mark.parametrize("shape", [(60,), (40, 60)])
@pytest.mark.parametrize("acceleration", [1.5, 3, 7])
def test_thinning_leaves_so_many_of_the_same_samples(shape, acceleration):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.8
    mask[..., 25:35] = True
    result = masks.thin(mask, acceleration, seed=1)
    assert result.shape == mask.shape and (result <= mask).all()
    assert result.sum() == round(mask.numel() / acceleration)
    assert torch.equal(result, masks.thin(mask, acceleration, seed=1))
    if len(shape) == 1:
        width = round(60 * 0.32 / acceleration)
        assert result[30 - width // 2 : 30 + (width - 1) // 2].all()  # the centre stays


def test_thinning_takes_whole_lines_and_no_more_than_there_are():
    columns = (torch.arange(60) % 2 == 0).expand(40, 60)
    assert (masks.thin(columns, 4, 0) == masks.thin(columns[0], 4, 0)).all()
    assert torch.equal(masks.thin(columns.T, 4, 0), masks.thin(columns, 4, 0).T)
    with pytest.raises(ValueError, match=r"acceleration=1.5 cannot be had .* of 2.00: use a higher one"):
        masks.thin(columns, 1.5, 0)
