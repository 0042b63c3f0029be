"""The adversarial stage: DCGAN's layers, relativistic losses in closed form, textures told apart, weights between."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mriqf.training.adversarial import (
    Discriminator,
    DiscriminatorConfig,
    OrientedEnergy,
    adversarial_loss,
    discriminator_loss,
    generator_loss,
    interpolate,
    texture_loss,
)

TINY = DiscriminatorConfig(channels=1, width=4, layers=3)


def build(config=TINY, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Discriminator(config)


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def grating(angle, period=6.0, phase=0.0, size=48):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    wave = torch.sin(2 * math.pi / period * (x * math.cos(angle) + y * math.sin(angle)) + phase)
    return (0.5 + 0.2 * wave)[None, None]


def test_dcgans_layers():
    with torch.device("meta"):
        model = Discriminator()
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in layers] == [
        (3, 64, 4, 2), (64, 128, 4, 2), (128, 256, 4, 2), (256, 512, 4, 2), (512, 1, 4, 1),
    ]  # fmt: skip
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 3


def test_one_logit_an_image():
    model = build().eval()
    many = images(3, 1, 32, 40)
    assert model(many).shape == (3,)
    assert torch.allclose(model(many)[1:2], model(many[1:2]), atol=1e-6)
    with pytest.raises(ValueError, match="needs at least 32×32"):
        model(images(1, 1, 31, 40))
    with pytest.raises(ValueError, match="has no network: use channels"):
        Discriminator(DiscriminatorConfig(layers=0))


def test_relativistic_losses():
    real, restored = torch.tensor([1.0, 3.0, -0.5]), torch.tensor([0.2, -2.0, 1.5])
    one, zero = torch.ones(3), torch.zeros(3)
    bce = functional.binary_cross_entropy_with_logits
    expected = bce(real - restored.mean(), one) + bce(restored - real.mean(), zero)
    assert torch.allclose(discriminator_loss(real, restored), expected)
    expected = bce(restored - real.mean(), one) + bce(real - restored.mean(), zero)
    assert torch.allclose(adversarial_loss(real, restored), expected)
    assert discriminator_loss(zero, zero).item() == pytest.approx(math.log(4))
    assert discriminator_loss(real + 5, restored) < discriminator_loss(real, restored)
    assert adversarial_loss(real, restored + 5) < adversarial_loss(real, restored)
    far = torch.tensor([1e4])
    assert discriminator_loss(-far, far).isfinite()


def test_a_discriminator_learns():
    model = build()
    sharp, flat = images(8, 1, 32, 32), functional.avg_pool2d(images(8, 1, 32, 32, seed=1), 5, 1, 2)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(10):
        optimiser.zero_grad()
        loss = discriminator_loss(model(sharp), model(flat))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_oriented_energy_tells_orientation_and_neither_brightness_nor_phase():
    bank = OrientedEnergy(orientations=4, periods=(6.0,))
    inner = (..., slice(6, -6), slice(6, -6))
    for k in range(4):
        found = bank(grating(math.pi * k / 4))[inner].mean((0, 2, 3))
        assert found.argmax() == k
        assert found[k] > 5 * found[(k + 2) % 4]
    image = grating(0.3)
    assert torch.allclose(bank(image), bank(image + 0.3), atol=1e-3)
    shifted = bank(grating(0.3, phase=1.0))[inner]
    assert (shifted - bank(image)[inner]).abs().mean() < 0.1 * shifted.amax()
    assert bank(images(2, 3, 31, 20)).shape == (2, 12, 16, 10)
    assert not list(bank.parameters())


def test_texture_and_the_generators_loss():
    truth, bank = images(2, 1, 32, 32), OrientedEnergy()
    blurred = functional.avg_pool2d(truth, 3, 1, 1).requires_grad_()
    assert texture_loss(truth, truth, bank) == 0
    logits = torch.tensor([0.5, 1.0]), torch.tensor([-0.2, 0.1])
    loss = generator_loss(blurred, truth, logits=logits, features=bank)
    texture, l1 = texture_loss(blurred, truth, bank), functional.l1_loss(blurred, truth)
    assert torch.allclose(loss, texture + 5e-3 * adversarial_loss(*logits) + 1e-2 * l1)
    loss.backward()
    assert blurred.grad is not None
    assert blurred.grad.isfinite().all()
    assert generator_loss(truth, truth, logits=logits, features=bank, gamma=0) == 0


def test_weights_between():
    a, b = (build(seed=seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(v, a[k]) for k, v in interpolate(a, b, 0).items())
    assert all(torch.allclose(v, b[k]) for k, v in interpolate(a, b, 1).items())
    between = interpolate(a, b, 0.7)
    assert torch.allclose(between["last.weight"], 0.3 * a["last.weight"] + 0.7 * b["last.weight"])
    build().load_state_dict(between)
    with pytest.raises(ValueError, match="different networks"):
        interpolate(a, build(DiscriminatorConfig(1, 8, 3)).state_dict(), 0.5)
