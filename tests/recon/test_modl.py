from dataclasses import replace

import numpy as np
import pytest
import torch
from properties import (
    check_batch_invariant,
    check_finite_gradient,
    check_homogeneous,
    complex_normal,
    relative_error,
)
from torch import nn

from recon import MoDL, MoDLConfig, Sense, VarNet, VarNetConfig, birdcage, for_inference, masks

B, C, H, W = 3, 4, 24, 32
SMALL = MoDLConfig(unrolls=3, features=8)
SENSE = Sense(masks.random(W, 2, 0.25, seed=0), birdcage(C, (H, W)))


def network(config=SMALL):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MoDL(config).eval()
        for layer in model.denoiser.body:
            if isinstance(layer, nn.BatchNorm2d):  # as training leaves them
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 2)
                nn.init.uniform_(layer.weight, 0.1, 0.5)
    return model


def kspace(seed=0):
    return SENSE(complex_normal(B, 1, H, W, seed=seed))


def test_the_papers_network():
    model = MoDL()
    layers = [layer for layer in model.denoiser.body if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in layers] == [
        (2, 64, (3, 3)), (64, 64, (3, 3)), (64, 64, (3, 3)), (64, 64, (3, 3)), (64, 2, (3, 3))
    ]  # fmt: skip
    assert model.lam.item() == pytest.approx(0.05)
    assert isinstance(model.denoiser.body[-1], nn.BatchNorm2d)  # no rectifier behind the last
    # Shared weights: as many parameters whatever the number of unrolls.
    assert sum(p.numel() for p in model.parameters()) == sum(
        p.numel() for p in MoDL(MoDLConfig(unrolls=1)).parameters()
    )


def test_with_an_identity_denoiser_it_is_proximal_iteration():
    # One uniform coil without mask: x ← (Aᴴ y + lam x) / (1 + lam) leaves x = Aᴴ y where it is; with a denoiser that
    # halves, x_K is a geometric series.
    sense = Sense(torch.ones(W, dtype=torch.bool), torch.ones(1, 1, H, W, dtype=torch.complex64))
    y = complex_normal(B, 1, H, W)
    model = MoDL(MoDLConfig(unrolls=4, lam=0.5)).eval()
    model.denoiser = nn.Identity()
    assert relative_error(model(y, sense), sense.adjoint(y)) < 1e-4
    model.denoiser = Halve()
    expected = sense.adjoint(y)
    for _ in range(4):
        expected = (sense.adjoint(y) + 0.5 * expected / 2) / 1.5
    assert relative_error(model(y, sense), expected) < 1e-4


class Halve(nn.Module):
    def forward(self, x):
        return x / 2


def test_denoiser_comes_before_data_consistency():
    # After a last data consistency, the measured samples are nearly fulfilled whatever the denoiser does.
    model = MoDL(MoDLConfig(unrolls=1, lam=1e-4, cg_iter=100, cg_tol=1e-6)).eval()
    model.denoiser = Halve()
    sense = Sense(SENSE.mask, birdcage(1, (H, W)))
    y = sense(complex_normal(B, 1, H, W))
    assert relative_error(sense(model(y, sense)), y) < 1e-3


def test_properties():
    model = network()
    check_homogeneous(lambda y: model(y, SENSE), kspace(), rtol=1e-4)
    check_batch_invariant(lambda y: model(y, SENSE), kspace(), rtol=1e-5)
    check_finite_gradient(lambda y: model(y, SENSE), kspace())


def test_zero_data_gives_zero_with_a_denoiser_without_bias():
    model = network()
    model.denoiser = Halve()
    assert (model(torch.zeros(1, C, H, W, dtype=torch.complex64), SENSE) == 0).all()


def test_gradients_are_those_of_finite_differences():
    shape = (8, 8)
    model = network(MoDLConfig(unrolls=2, layers=2, features=3, cg_iter=100, cg_tol=1e-13)).double()
    for parameter in model.parameters():
        parameter.requires_grad_()
    sense = Sense(masks.random(8, 2, 0.25, seed=0), birdcage(2, shape).to(torch.complex128))
    y = sense(complex_normal(1, 1, *shape, dtype=torch.complex128))
    aty = sense.adjoint(y)

    def loss(*values):
        names = [name for name, _ in model.named_parameters()]
        image = torch.func.functional_call(
            Unrolled(model), {f"model.{n}": v for n, v in zip(names, values, strict=True)}, (aty, sense)
        )
        return image.abs().square().sum()

    values = tuple(p.detach().clone().requires_grad_() for p in model.parameters())
    assert torch.autograd.gradcheck(loss, values, atol=1e-4, rtol=1e-3)


class Unrolled(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, aty, sense):
        return self.model.unroll(aty, sense, 2)


def test_checkpointing_changes_memory_only():
    gradients, saved = [], []
    for checkpointing in (False, True):
        model = network()
        model.checkpointing = checkpointing
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            loss = model(kspace(), SENSE).abs().square().sum()
        loss.backward()
        gradients.append([p.grad for p in model.parameters()])
        saved.append(sum(sizes))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
    assert saved[1] < 0.3 * saved[0]


@pytest.mark.parametrize("cg_iter", [2, 20])
def test_memory_does_not_grow_with_solver_steps(cg_iter):
    def saved(cg_iter, unrolls):
        model = network(MoDLConfig(unrolls=unrolls, features=8, cg_iter=cg_iter, cg_tol=1e-9))
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            model(kspace(), SENSE)
        return sum(sizes)

    assert saved(cg_iter, 1) == saved(1, 1)
    steps = [saved(cg_iter, k) for k in (1, 2, 3)]
    assert steps[2] - steps[1] == steps[1] - steps[0] > 0  # linear in the unrolls


def test_fast_gives_the_same_image():
    model = network()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    quick = for_inference(model)
    assert relative_error(quick(kspace(), SENSE), model(kspace(), SENSE)) < 5e-3
    assert not any(isinstance(m, nn.BatchNorm2d) for m in quick.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with pytest.raises(ValueError, match=r"training mode: call eval\(\) first"):
        for_inference(MoDL(SMALL))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"unrolls": 0}, "unrolls >= 1"), ({"layers": 1}, "layers >= 2"), ({"lam": 0.0}, "lam=0.0 .* use lam > 0")],
)
def test_bad_configuration(change, message):
    with pytest.raises(ValueError, match=message):
        MoDL(MoDLConfig(**change))


@pytest.mark.parametrize(
    ("kind", "config"), [(MoDL, MoDLConfig(unrolls=2, features=4)), (VarNet, VarNetConfig(cascades=2, features=4))]
)
def test_last_data_consistency_follows_the_noise(kind, config):
    """Images of little noise come closer to their data; scale and neighbours do not matter."""
    from recon.simulate import measure

    image = np.hypot(*np.mgrid[-1:1:48j, -1:1:40j]) < 0.7
    torch.manual_seed(0)
    plain = kind(config).eval().requires_grad_(False)
    for parameter in plain.parameters():  # a network that does something
        nn.init.normal_(parameter, std=0.1)
    last = kind(replace(config, last_lam=(0.04, 1.2))).eval().requires_grad_(False)
    last.load_state_dict(plain.state_dict())
    moved, residuals = [], []
    for noise_std in (1e-4, 0.1):
        problem = measure(image.astype(np.float32), "random", 2, 0, noise_std=noise_std)
        y, sense = problem.kspace, problem.sense
        one, two = plain(y, sense), last(y, sense)
        moved.append((one - two).norm() / one.norm())
        residuals.append([(sense(x) - y * sense.mask).norm().item() for x in (one, two)])
        both = last(torch.cat([y, 3 * y]), sense)
        assert relative_error(both, torch.cat([two, 3 * two])) < 1e-4
    assert moved[0] > 3 * moved[1]
    assert residuals[0][1] < residuals[0][0]
    with pytest.raises(ValueError, match="last_lam"):
        kind(replace(config, last_lam=(0.0, 1.0)))
