import pytest
import torch
from properties import check_batch_invariant, check_homogeneous, complex_normal, phantom, relative_error

from recon import Sense, Stacked, birdcage, cg_sense, held_out_residual, masks, simulate_kspace, zero_filled
from recon.methods import choose
from recon.stacked import fitted, simplex_minimum
from recon.validate import central

B, C, H, W = 3, 6, 32, 48
CSM = birdcage(C, (H, W))
SENSE = Sense(masks.random(W, 2, 0.2, seed=0), CSM)
STACK = Stacked([zero_filled, cg_sense])


def test_unit_and_batch():
    kspace = complex_normal(B, C, H, W)
    check_homogeneous(lambda y: STACK(y, SENSE), kspace)
    check_batch_invariant(lambda y: STACK(y, SENSE), kspace)
    assert torch.equal(STACK(kspace, SENSE), STACK(kspace * SENSE.mask, SENSE))
    assert torch.equal(STACK(kspace.numpy(), SENSE), STACK(kspace, SENSE))


def test_weights_follow_the_data():
    kspace = simulate_kspace(phantom(H, W), CSM, noise_std=1e-3, seed=0)
    weights = STACK.weights(kspace, SENSE)
    assert weights.shape == (1, 2)
    assert weights.sum().item() == pytest.approx(1)
    assert weights[0, 1] > 0.9  # CG-SENSE unfolds
    useless = Stacked([cg_sense, lambda y, sense: 3 * sense.adjoint(y)])
    assert relative_error(useless(kspace, SENSE), cg_sense(kspace, SENSE)) < 0.05


@pytest.mark.parametrize("family", ["random", "equispaced", "poisson"])
def test_held_out_lines_are_foretold_at_least_as_well(family):
    sense = Sense(masks.draw(family, (H, W), 3, 0.16, 0), CSM)
    kspace = simulate_kspace(phantom(H, W), CSM, noise_std=0.02, seed=0)

    def smooth(y, sense):
        return cg_sense(y, sense, lam=0.3)

    plane = sense.mask[:, :, :1] if sense.separable else sense.mask
    groups = min(10, int((plane & ~central(plane.shape[2:], 0.08)).sum()))
    one = {"share": 1 / groups, "folds": 1}
    stack = Stacked([cg_sense, smooth])
    same = stack.fitted(kspace, sense)
    errors = [held_out_residual(method, kspace, sense, **one).residual.item() for method in (cg_sense, smooth, same)]
    assert errors[2] <= min(errors[:2]) + 1e-6


def test_a_fitted_stack_keeps_its_weights():
    kspace = simulate_kspace(phantom(H, W), CSM, noise_std=0.02, seed=0)
    same = fitted(STACK, kspace, SENSE)
    assert torch.equal(same(kspace, SENSE), STACK(kspace, SENSE))
    assert fitted(cg_sense, kspace, SENSE) is cg_sense
    weights = STACK.weights(kspace, SENSE)[0]
    other = complex_normal(1, C, H, W)
    expected = weights[0] * zero_filled(other, SENSE) + weights[1] * cg_sense(other, SENSE)
    assert relative_error(same(other, SENSE), expected) < 1e-6


def test_too_few_lines_give_equal_weights():
    mask = torch.zeros(W, dtype=torch.bool)
    mask[W // 2 - 1 : W // 2 + 1] = True
    kspace = complex_normal(1, C, H, W)
    assert STACK.weights(kspace, Sense(mask, CSM)).tolist() == [[0.5, 0.5]]
    assert STACK(torch.zeros_like(kspace), SENSE).abs().max() == 0
    with pytest.raises(ValueError, match="give one or more"):
        Stacked([])


def test_two_sets_of_maps():
    csm = torch.stack([CSM[0], CSM[0].flip(-1)])[None] / 2**0.5
    sense = Sense(masks.random(W, 2, 0.2, seed=0), csm)
    assert STACK(complex_normal(1, C, H, W), sense).shape == (1, 2, H, W)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_simplex_minimum_is_the_least_on_the_simplex(n):
    x = torch.randn(5, n, 7, dtype=torch.double, generator=torch.Generator().manual_seed(n)) + torch.arange(n)[:, None]
    gram = x @ x.mT
    w = simplex_minimum(gram)
    assert (w >= 0).all()
    assert torch.allclose(w.sum(-1), torch.ones(5, dtype=torch.double))
    value = torch.einsum("bi, bij, bj -> b", w, gram, w)
    others = torch.distributions.Dirichlet(torch.ones(n)).sample((2000,)).double()
    assert (value[:, None] <= torch.einsum("ki, bij, kj -> bk", others, gram, others) * (1 + 1e-6)).all()
    alike = torch.ones(1, n, n, dtype=torch.double)
    assert simplex_minimum(alike).sum().item() == pytest.approx(1)


def test_by_name():
    assert isinstance(choose("stacked"), Stacked)
    with pytest.raises(ValueError, match="takes none"):
        choose("stacked", lam=0.1)


def test_masks_of_a_batch_do_not_influence_each_other():
    masks_ = torch.stack([masks.random(W, r, 0.1, seed=0) for r in (2, 6)]).reshape(2, 1, 1, W)
    kspace = simulate_kspace(phantom(H, W), CSM, noise_std=0.02, seed=0).expand(2, -1, -1, -1)
    together = STACK(kspace, Sense(masks_, CSM))
    for k in range(2):
        alone = STACK(kspace[k : k + 1], Sense(masks_[k : k + 1], CSM))
        assert relative_error(together[k : k + 1], alone) < 1e-4
