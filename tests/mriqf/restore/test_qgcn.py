"""QGCN: the paper's layers, and what each branch sees."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mriqf.restore import QGCN, QGCNConfig
from mriqf.restore.qgcn import SMALL

TINY = replace(SMALL, channels=1, width=6, blocks=1, global_width=2)


def build(config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = QGCN(config)
        nn.init.normal_(model.last.weight, std=0.1)
    return model.requires_grad_(False)


def convolution(n_in, n_out, kernel=3):
    return n_in * n_out * kernel**2 + n_out


@pytest.mark.parametrize("channels", [1, 3])
def test_the_papers_layers(channels):
    with torch.device("meta"):
        model = QGCN(QGCNConfig(channels))
    assert model.whole is not None
    table = [
        (layer.out_channels, layer.kernel_size[0], layer.stride[0], int(layer.padding[0]))
        for layer in model.whole
        if isinstance(layer, nn.Conv2d)
    ]
    assert table == [(32 * k, *rest) for k in (1, 2, 4, 8) for rest in ((4, 2, 1), (3, 1, 1))]
    assert [layer.out_features for layer in model.whole if isinstance(layer, nn.Linear)] == [1024, 64]
    maps = {1: 1, 3: 2}[channels]
    restoration = convolution(channels + maps, 64) + convolution(64, 64) + 128 * convolution(64, 64)
    restoration += convolution(128, 64) + convolution(64, 256) + convolution(64, channels)
    sizes = [(channels, 32), (32, 64), (64, 128), (128, 256)]
    whole = sum(convolution(n_in, n_out, 4) + convolution(n_out, n_out) for n_in, n_out in sizes)
    whole += (256 * 7 * 7 + 1) * 1024 + 1025 * 64
    assert sum(p.numel() for p in model.parameters()) == restoration + whole


def test_without_the_branch_or_the_tables():
    with torch.device("meta"):
        qcn, edsr = (QGCN(QGCNConfig(global_branch=False, quantisation=q)) for q in (True, False))
    assert qcn.whole is None
    difference = sum(p.numel() for p in qcn.parameters()) - sum(p.numel() for p in edsr.parameters())
    assert difference == 2 * 64 * 9


def test_the_global_branch_sees_what_is_far_away():
    image = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    other = image.clone()
    other[..., 64:, 64:] = 0
    steps = torch.full((1, 1, 8, 8), 20.0)
    for config, far in ((TINY, True), (replace(TINY, global_branch=False), False)):
        model = build(config)
        corner = (model(image, steps) - model(other, steps))[..., :32, :32].abs().max()
        assert (corner > 1e-5) == far


def test_tables_lie_on_the_blocks():
    # One step of the table is changed: with the global branch out, what changes repeats with the blocks.
    model = build(replace(TINY, global_branch=False))
    image = torch.full((1, 1, 64, 64), 0.5)
    steps = torch.full((1, 1, 8, 8), 20.0)
    one = steps.clone()
    one[..., 3, 5] = 200
    change = (model(image, one) - model(image, steps))[0, 0, 16:48, 16:48]
    assert change.std() > 1e-6
    assert torch.allclose(change[:8, :8], change[8:16, 16:24], atol=1e-6)


def test_published_output_is_the_image_itself():
    image = torch.rand(1, 1, 16, 16)
    steps = torch.full((1, 1, 8, 8), 20.0)
    model = build(replace(TINY, residual=False))
    nn.init.zeros_(model.last.weight)
    assert torch.equal(model(image, steps), torch.zeros_like(image))


def test_the_global_branch_is_awake_at_first():
    # With Gaussian weights of 0.01 it gave the same for any image, and got gradients of 1e-15.
    model = QGCN(replace(SMALL, channels=1, blocks=1))
    assert model.whole is not None
    result = model.whole(torch.rand(4, 1, 112, 112) * torch.tensor([0.1, 0.4, 0.7, 1])[:, None, None, None])
    assert result.std(0).mean() > 1e-3
