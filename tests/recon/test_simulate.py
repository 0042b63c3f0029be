from dataclasses import replace

import numpy as np
import pytest
import torch
from properties import relative_error

from recon import effective_acceleration
from recon.scale import image_scale
from recon.simulate import KNOWN_MAPS, measure, simulate

RNG = np.random.default_rng(0)
SLICES = [np.pad(RNG.random((40, 56)), 12).astype(np.float32) for _ in range(3)]  # 64×80 with an empty margin


def draw(seed=0, n=2, pixels=1600, slices=SLICES, **config):
    return simulate(slices, np.random.default_rng(seed), n, pixels, replace(KNOWN_MAPS, **config))


def test_same_generator_same_problem():
    a, b, c = draw(1), draw(1), draw(2)
    assert torch.equal(a.kspace, b.kspace)
    assert torch.equal(a.sense.mask, b.sense.mask)
    assert a.kspace.shape != c.kspace.shape or not torch.equal(a.kspace, c.kspace)


@pytest.mark.parametrize("family", ["random", "equispaced", "gaussian", "poisson"])
def test_kspace_is_the_targets(family):
    for seed in range(4):
        problem = draw(seed, families=(family,), noise_std=(1e-9, 1e-8), support=0.5)
        b, _, h, w = problem.target.shape
        assert b == 2
        assert (h == w == 40) if family == "poisson" else w in (64, 80)
        assert problem.sense.separable == (family != "poisson")
        assert relative_error(problem.sense(problem.target), problem.sense.mask * problem.kspace) < 1e-5
        assert 1.7 < effective_acceleration(problem.sense.mask) < 9


def test_noise_has_the_level_asked_for():
    for std in (0.01, 0.1):
        problem = draw(3, families=("random",), noise_std=(std, std))
        noise = problem.kspace - type(problem.sense)(torch.ones_like(problem.sense.mask), problem.sense.csm)(
            problem.target
        )
        assert noise.real.std().item() == pytest.approx(std, rel=0.05)
        assert noise.imag.std().item() == pytest.approx(std, rel=0.05)


def test_maps_end_at_the_objects_border():
    whole, cut = (draw(5, support=p, pixels=10**6, families=("random",)) for p in (0.0, 1.0))
    energy = whole.sense.csm.abs().square().sum(1)
    torch.testing.assert_close(energy, torch.ones_like(energy))
    energy = cut.sense.csm.abs().square().sum(1)
    assert ((energy - 1).abs() < 1e-5).logical_or(energy == 0).all()
    assert 0.2 < (energy == 0).float().mean() < 0.8
    assert (cut.target[energy[:, None] == 0] == 0).all()


def test_estimated_maps_are_near_the_true_ones():
    """As good as an image of noise-free, full k-space shows, and not better."""
    for seed in range(3):
        problem = draw(seed, estimated=1.0, pixels=10**6, families=("random",), noise_std=(0.001, 0.002))
        sense = type(problem.sense)(torch.ones_like(problem.sense.mask), problem.sense.csm)
        image = sense.adjoint(problem.kspace)
        assert 1e-3 < relative_error(image, problem.target) < 0.1
        assert relative_error(sense(problem.target), problem.kspace) < 0.5
        energy = problem.sense.csm.abs().square().sum(1)
        assert ((energy - 1).abs() < 1e-5).logical_or(energy == 0).all()


def test_parts_hold_some_of_the_object():
    for seed in range(6):
        problem = draw(seed, pixels=400, families=("random", "poisson"), support=1.0)
        assert (problem.target.abs().amax((1, 2, 3)) > 0.1).all()


def test_targets_have_unit_scale():
    problem = draw(7, pixels=10**6, support=0.0, families=("random",))
    torch.testing.assert_close(image_scale(problem.target), torch.ones(2, 1, 1, 1))


def test_inexact_maps_are_near_the_true_ones():
    for seed in range(3):
        problem = draw(seed, inexact=1.0, support=0.0, pixels=10**6, families=("random",), noise_std=(1e-9, 1e-8))
        error = relative_error(problem.sense(problem.target), problem.sense.mask * problem.kspace)
        assert 1e-3 < error < 0.2
        energy = problem.sense.csm.abs().square().sum(1)
        torch.testing.assert_close(energy, torch.ones_like(energy))


def test_one_coil_and_missing_columns():
    problem = draw(single_coil=1.0, partial_fourier=1.0, families=("random",))
    assert problem.kspace.shape[1] == 1
    assert (problem.sense.csm == 1).all()
    assert not problem.sense.mask[..., -1].any()


def test_complex_images_keep_their_phase():
    turned = [image * np.exp(1j * np.linspace(0, 9, image.shape[1])).astype(np.complex64) for image in SLICES]
    settings = {"phase_std": 0.0, "families": ("random",), "support": 0.0, "pixels": 10**6}
    plain, complex_ = draw(**settings), draw(slices=turned, **settings)
    torch.testing.assert_close(plain.target.abs(), complex_.target.abs())
    assert plain.target.imag.abs().max() < 1e-5
    assert complex_.target.imag.abs().max() > 0.1


def test_measure_is_one_whole_slice():
    problem = measure(SLICES[0], "random", 4, seed=1, noise_std=0.0)
    assert problem.target.shape == (1, 1, 64, 80)
    assert problem.kspace.shape == (1, 8, 64, 80)
    truth = torch.from_numpy(SLICES[0])[None, None]
    assert relative_error(problem.target.abs(), truth / image_scale(truth)) < 1e-5
    assert effective_acceleration(problem.sense.mask) == 4
    scaled = measure(1e-6 * SLICES[0], "random", 4, seed=1, noise_std=0.0)
    assert relative_error(scaled.kspace, problem.kspace) < 1e-5
    result = measure(SLICES[0], "random", 2, seed=1, center_fraction=0.2, estimated=True)
    assert not torch.equal(result.sense.csm, problem.sense.csm)
    assert relative_error(result.sense.adjoint(result.kspace).abs(), problem.target.abs()) < 0.6
