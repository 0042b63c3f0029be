"""Groups of degraded images: labelled by their true errors, worse with the level, the same for the same seed."""

import math

import numpy as np
import pytest
import torch

from mriqf.training.groups.degrade import FAMILIES, DegradeConfig, draw_group
from mriqf.training.groups.labels import CELL, cell_errors
from mriqf.training.groups.targets import Target, shapes


@pytest.fixture(scope="module")
def target():
    image = shapes((144, 136), np.random.default_rng(1))
    return Target(image / image[image > 0.1].square().mean().sqrt(), 0.0, "shapes", "shapes")


def group(target, family, seed=0, **options):
    given = {"second": 0.0, "interpolated": 0.0, "noiseless": 1.0, "n_coils": (2, 4), "kinds": (0.0, 1.0, 0.0)}
    config = DegradeConfig(families=(family,), **given | options)
    return draw_group(target, np.random.default_rng(seed), config)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"learned"}))
def test_every_family_gives_images_with_finite_labels(target, family):
    examples = group(target, family)
    assert len(examples) == 4
    for example in examples:
        h, w = example.image.shape
        assert example.image.isfinite().all() and (example.image >= 0).all()
        assert example.total.shape == example.excess.shape == (-(-h // CELL), -(-w // CELL))
        assert 0 <= example.nrmse < 2 and example.family == family
        known = example.excess[example.excess >= 0]
        assert known.numel() > 20
        assert known.mean().sqrt().item() == pytest.approx(example.nrmse, rel=0.35, abs=0.003)


@pytest.mark.parametrize("family", ["noise", "jpeg", "blur", "over-smoothing", "ghost"])
def test_errors_grow_with_the_level(target, family):
    pairs = [(e.level, e.nrmse) for seed in range(4) for e in group(target, family, seed)]
    levels, errors = np.array(pairs).T
    low, high = (np.median(errors[part]) for part in (levels < 0.35, levels > 0.65))
    assert high > 2 * low


def test_undersampling_is_named(target):
    for example in group(target, "cg-sense", 1):
        assert 1 <= example.acceleration < 14 and example.method == "cg-sense"
    assert all(math.isnan(e.acceleration) for e in group(target, "noise"))


def test_interpolation_is_no_error(target):
    errors = [e.nrmse for seed in range(3) for e in group(target, "interpolated", seed)]
    assert np.median(errors) < 0.02


def test_learned_reconstructions_are_drawn_from_what_is_given(target):
    def network(kspace, sense):
        return sense.adjoint(kspace)

    config = DegradeConfig(families=("learned",), kinds=(0.0, 1.0, 0.0), second=0.0, interpolated=0.0)
    examples = draw_group(target, np.random.default_rng(0), config, [("mine", network)])
    assert {e.method for e in examples} == {"mine"}


def test_the_same_seed_gives_the_same_group(target):
    one, two = (draw_group(target, np.random.default_rng(7), DegradeConfig()) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.image, b.image) and torch.equal(a.excess, b.excess)


def test_scaling_the_target_scales_nothing_but_the_image(target):
    (one, *_), (two, *_) = (
        group(Target(target.image, 0.0, "a", "a"), "blur", 2, noiseless=1.0),
        group(Target(target.image.clone(), 0.0, "a", "a"), "blur", 2, noiseless=1.0),
    )
    assert one.nrmse == two.nrmse


def test_cells_average_over_the_object_alone():
    inside = torch.zeros(1, 1, 48, 40, dtype=torch.bool)
    inside[..., 8:40, 8:32] = True
    squares = torch.where(inside, 0.04, 9.0)  # what lies outside does not leak in
    cells = cell_errors(squares, inside)
    assert cells.shape == (6, 5)
    assert torch.allclose(cells[1:5, 1:4], torch.tensor(0.04), rtol=1e-4)
    assert (cells[0] == -1).all() and (cells[:, 0] == -1).all()
