import pytest
import torch
from properties import complex_normal, relative_error

from recon import Sense, birdcage, cg, masks, surface_coils
from recon.coils import virtual_coils

SHAPE = (40, 48)
MASKS = {"columns": masks.random(SHAPE[1], 3, 0.1, seed=0), "plane": complex_normal(*SHAPE).real > 0.5}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_same_normal_operator_with_fewer_coils(mask):
    sense = Sense(mask, birdcage(12, SHAPE))
    x = complex_normal(2, 1, *SHAPE)
    numbers = []
    for tol in (1e-6, 1e-4, 1e-2):
        fewer = virtual_coils(sense, tol)
        assert relative_error(fewer.gram(x), sense.gram(x)) < tol
        numbers.append(fewer.csm.shape[1])
    assert 12 >= numbers[0] >= numbers[1] > numbers[2]
    assert not sense.separable or numbers[1] <= 8  # few for each block of rows


@pytest.mark.parametrize("csm", [birdcage(12, SHAPE), surface_coils(8, SHAPE, 0), surface_coils(15, SHAPE, 1)])
def test_same_solution(csm):
    sense = Sense(MASKS["columns"], csm)
    b = sense.gram(complex_normal(1, 1, *SHAPE))
    exact, fewer = (cg(lambda x, a=a: a.gram(x) + 0.05 * x, b, 300) for a in (sense, virtual_coils(sense)))
    assert relative_error(fewer, exact) < 5e-4


def test_nothing_to_leave_out():
    sense = Sense(MASKS["columns"], birdcage(2, SHAPE))
    assert virtual_coils(sense, 1e-9) is sense
    single = Sense(MASKS["columns"], torch.ones(1, 1, *SHAPE, dtype=torch.complex64))
    assert virtual_coils(single) is single


def test_maps_for_each_sample_and_empty_maps():
    csm = torch.cat([birdcage(8, SHAPE), torch.zeros(1, 8, *SHAPE)])  # nothing is left of the second
    fewer = virtual_coils(Sense(MASKS["columns"], csm))
    x = complex_normal(2, 1, *SHAPE)
    assert relative_error(fewer.gram(x), Sense(MASKS["columns"], csm).gram(x)) < 1e-3
    assert (fewer.gram(x)[1] == 0).all()
