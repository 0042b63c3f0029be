"""The network of the deep image prior: the published one's weights, any size, and nothing remembered."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mriqf.restore.dip import DIP, DIPConfig

TINY = DIPConfig(width=4, scales=3, skips=2, noise_channels=5)


def build(**config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DIP(replace(TINY, **config))


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_weights_of_the_published_network_but_for_biases_that_normalising_takes_out():
    model = build(width=128, scales=5, skips=4, noise_channels=32)
    unneeded = sum(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d) and m.bias is None)
    skips = 5 * (2 * 4 + 2 * 132) + 4 * (32 + 4 * 128)  # of norms, and of convolutions
    down = 9 * 128 * (32 + 4 * 128) + 5 * 9 * 128**2 + 5 * 4 * 128
    up = 5 * (9 * 132 * 128 + 128**2 + 4 * 128)
    assert sum(p.numel() for p in model.parameters()) == skips + down + up + 3 * 128 + 3 == 2_217_831 - unneeded


@pytest.mark.parametrize("skips", [0, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("start", ["noise", "image"])
def test_any_size_in_and_an_image_out(skips, channels, start):
    model = build(skips=skips, channels=channels, start=start)
    assert len(model.skip) == (3 if skips else 0)
    for size in ((1, 1), (8, 8), (33, 41), (7, 90)):
        output = model(noise(1, model.config.seen, *size))
        assert output.shape == (1, channels, *size)
        assert 0 < output.min() <= output.max() < 1


@pytest.mark.parametrize("skips", [0, 3])
def test_every_weight_learns(skips):
    model = build(skips=skips)
    model(noise(1, 5, 32, 32)).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, key


def test_normalised_by_the_image_alone_whether_training_or_not():
    model, seen = build(), noise(1, 5, 32, 32)
    before = model(seen)
    model(100 * noise(1, 5, 16, 16))
    assert torch.equal(model(seen), before)
    assert torch.equal(model.eval()(seen), before)
    assert not list(model.buffers())


@pytest.mark.parametrize("skips", [0, 3])
def test_skips_alone_bring_detail_past_the_coarsest_scale(skips):
    model, seen = build(skips=skips), noise(1, 5, 32, 32)
    with torch.no_grad():  # nothing comes up from the coarser scales
        for k in range(3):
            model.get_parameter(f"up.{k}.1.weight")[:, skips:] = 0
    output = model(seen)
    assert (output.std((2, 3)).max() > 1e-3) == (skips > 0)


def test_half_precision_costs_little():
    model, seen = build(), noise(1, 5, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(seen)
    assert output.dtype == torch.float32
    assert (output - model(seen)).abs().mean() < 0.02


@pytest.mark.parametrize("wrong", [{"width": 0}, {"scales": 0}, {"skips": -1}, {"noise_channels": 0}])
def test_bad_configurations(wrong):
    with pytest.raises(ValueError, match="has no network: use"):
        build(**wrong)


@pytest.mark.usefixtures("unchecked")
def test_two_images_have_two_priors():
    with pytest.raises(ValueError, match=r"input is \(2, 5, 8, 8\): a deep image prior is fitted to one image"):
        build()(noise(2, 5, 8, 8))
