import pickle

import pytest
import torch
from properties import check_adjoint, check_finite_gradient, check_gram, check_linear, complex_normal

from recon import Sense, birdcage, masks

B, C, H, W = 3, 4, 12, 16
CSM = birdcage(C, (H, W))


def draws(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.4


MASKS = {
    "columns": masks.random(W, 2, 0.25, seed=0),
    "plane": draws(H, W),
    "plane per sample": draws(B, 1, H, W),
    "columns per sample": draws(B, 1, 1, W),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("csm", [CSM, CSM * complex_normal(B, 1, 1, 1).sgn()], ids=["shared", "per sample"])
def test_properties(mask, csm):
    sense = Sense(mask, csm)
    x, y = complex_normal(B, 1, H, W, seed=1), complex_normal(B, C, H, W, seed=2)
    check_adjoint(sense, sense.adjoint, x, y)
    check_linear(sense, x, complex_normal(B, 1, H, W, seed=3))
    check_linear(sense.adjoint, y, complex_normal(B, C, H, W, seed=4))
    check_gram(sense.gram, sense, sense.adjoint, x)
    check_finite_gradient(sense, x)


@pytest.mark.parametrize("name", ["columns", "plane"])
def test_norm_at_most_one(name):
    basis = torch.eye(H * W, dtype=torch.complex64).reshape(-1, 1, H, W)
    gram = Sense(MASKS[name], CSM).gram(basis).flatten(1)
    eigenvalues = torch.linalg.eigvalsh(gram.to(torch.complex128))
    assert eigenvalues.min() > -1e-6
    assert 0.9 < eigenvalues.max() < 1 + 1e-6


def test_columns_are_the_last_axis():
    kspace = Sense(MASKS["columns"], CSM)(complex_normal(1, 1, H, W))
    assert torch.equal((kspace != 0).all((0, 1, 2)), MASKS["columns"])
    assert torch.equal((kspace != 0).any((0, 1, 2)), MASKS["columns"])


def test_full_sampling_is_an_isometry():
    sense, x = Sense(torch.ones(W, dtype=torch.bool), CSM), complex_normal(B, 1, H, W)
    torch.testing.assert_close(sense.gram(x), x)


def test_moves_and_pickles():
    sense, x = Sense(MASKS["columns"], CSM), complex_normal(1, 1, H, W)
    assert set(sense.state_dict()) == {"mask", "csm"}
    copy = pickle.loads(pickle.dumps(sense))
    assert torch.equal(copy(x), sense(x))
    assert torch.equal(copy.gram(x), sense.gram(x))


@pytest.mark.parametrize("shape", [(12, 16), (11, 15), (12, 15), (1, 7)])
def test_gram_needs_no_shifts(shape):
    # Odd sides are where centring goes wrong.
    csm = birdcage(3, shape)
    columns = masks.random(shape[1], 2, 0.2, seed=1)
    for mask, separable in ((columns, True), (columns.expand(shape), True), (draws(*shape), shape[0] == 1)):
        sense = Sense(mask, csm)
        assert sense.separable == separable
        check_gram(sense.gram, sense, sense.adjoint, complex_normal(2, 1, *shape))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("mask", "csm", "message"),
    [
        (MASKS["columns"].float(), CSM, "mask is torch.float32, must be bool .* mask != 0"),
        (MASKS["columns"], torch.view_as_real(CSM), "csm is torch.float32 .* torch.view_as_complex"),
        (MASKS["columns"], CSM.abs(), r"csm is torch.float32 .* csm.to\(torch.complex64\)"),
        (MASKS["columns"], CSM[0], r"csm has shape \(4, 12, 16\).* csm\[None\]"),
        (MASKS["columns"], 0 * CSM, r"csm of shape \(1, 4, 12, 16\) is zero everywhere: estimate"),
        (MASKS["columns"], CSM * float("nan"), "csm of shape .* holds NaN or infinite values: estimate"),
        (MASKS["columns"][1:], CSM, r"mask has shape \(15,\).* use \(16,\), \(12, 16\) or \(b, 1, 12, 16\)"),
        (torch.ones(H, dtype=torch.bool), CSM, r"mask has shape \(12,\)"),
        (draws(C, H, W), CSM, r"mask has shape \(4, 12, 16\)"),
        (draws(1, C, H, W), CSM, r"mask has shape \(1, 4, 12, 16\)"),
        (draws(2, 1, H, W), CSM.expand(3, -1, -1, -1), r"mask has shape \(2, 1, 12, 16\)"),
        (draws(1, 1, 1, H, W), CSM, r"mask has shape \(1, 1, 1, 12, 16\)"),
    ],
)
def test_bad_construction(mask, csm, message):
    with pytest.raises(ValueError, match=message):
        Sense(mask, csm)


@pytest.mark.usefixtures("unchecked")
def test_bad_inputs():
    sense, kspace = Sense(MASKS["columns"], CSM), complex_normal(1, C, H, W)
    with pytest.raises(ValueError, match=r"kspace is torch.float32 .* torch.view_as_complex"):
        sense.adjoint(torch.view_as_real(kspace))
    with pytest.raises(ValueError, match=r"kspace has shape \(1, 1, 12, 16\)"):
        sense.adjoint(kspace[:, :1])
    with pytest.raises(ValueError, match=r"image has shape \(1, 4, 12, 16\)"):
        sense(kspace)
    with pytest.raises(ValueError, match=r"image is torch.float32"):
        sense(torch.ones(1, 1, H, W))
