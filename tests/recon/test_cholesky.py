import pytest
import torch
from properties import check_finite_gradient, check_homogeneous, check_linear, complex_normal, relative_error

from recon import Sense, birdcage, cg, factorise, masks, surface_coils

SHAPE = (14, 18)
COLUMNS = masks.random(SHAPE[1], 2, 0.2, seed=0)


@pytest.mark.parametrize("shape", [SHAPE, (5, 17), (1, 8)])
@pytest.mark.parametrize("lam", [1e-4, 0.05, 10.0])
def test_solves_exactly(shape, lam):
    sense = Sense(masks.random(shape[1], 2, 0.2, seed=0), surface_coils(3, shape, 0).to(torch.complex128))
    b = complex_normal(3, 1, *shape, dtype=torch.complex128)
    x = factorise(sense, lam)(b)
    assert relative_error(sense.gram(x) + lam * x, b) < 1e-11


def test_maps_and_masks_for_each_sample():
    csm = torch.cat([birdcage(4, SHAPE), surface_coils(4, SHAPE, 1)])
    mask = torch.stack([COLUMNS, masks.random(SHAPE[1], 3, 0.2, seed=1)])[:, None, None]
    sense, b = Sense(mask, csm), complex_normal(2, 1, *SHAPE)
    x = factorise(sense, 0.05)(b)
    assert relative_error(x, cg(lambda v: sense.gram(v) + 0.05 * v, b, 300)) < 1e-5


def test_properties():
    solve = factorise(Sense(COLUMNS, birdcage(4, SHAPE)), 0.05)
    b = complex_normal(2, 1, *SHAPE)
    check_linear(solve, b, complex_normal(2, 1, *SHAPE, seed=1))
    check_homogeneous(solve, b)
    check_finite_gradient(solve, b)


def test_refusals():
    with pytest.raises(ValueError, match="use lam > 0"):
        factorise(Sense(COLUMNS, birdcage(4, SHAPE)), 0.0)
    plane = complex_normal(*SHAPE).real > 0
    with pytest.raises(ValueError, match=r"does not take whole columns, so rows couple: use recon\.cg"):
        factorise(Sense(plane, birdcage(4, SHAPE)), 0.05)
