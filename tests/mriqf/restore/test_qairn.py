"""QAIRN: FBCNN's trunk, and gates that are shares of the skip."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from mriqf.restore import QAIRN, QAIRNConfig
from mriqf.restore.qairn import SMALL

TINY = replace(SMALL, widths=(4, 4, 6, 8), blocks=1)


def build(config=TINY):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = QAIRN(config)
        nn.init.normal_(model.last.weight, std=0.1)
    return model.requires_grad_(False)


def images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_fbcnns_trunk():
    with torch.device("meta"):
        model = QAIRN(QAIRNConfig(attention=False))
    widths = (64, 128, 256, 512)
    blocks = [2 * (9 * w * w + w) for w in widths]
    pairs = list(itertools.pairwise(widths))
    expected = 3 * 64 * 9 + 64 + 64 * 3 * 9 + 3  # head and tail
    expected += sum(4 * fine * coarse + coarse + 4 * fine * coarse + fine for fine, coarse in pairs)
    expected += sum(8 * b for b in blocks)
    assert sum(p.numel() for p in model.parameters()) == expected == 51_531_523


def test_maps_are_gates_at_their_scales():
    model = build()
    assert model.attention is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in model.attention.parameters():
            nn.init.normal_(parameter)
    restored, maps = model.forward_with_maps(images(2, 3, 37, 50))
    assert torch.equal(restored, model(images(2, 3, 37, 50)))
    assert [m.shape for m in maps] == [(2, 1, 37, 50), (2, 1, 19, 25), (2, 1, 10, 13)]
    for gate in maps:
        assert 0 <= gate.min() < gate.max() <= 1


@pytest.mark.parametrize("gate", [0, 1])
def test_a_gate_is_the_share_of_the_skip(gate):
    model, image = build(), images(1, 3, 32, 32)
    assert model.attention is not None
    first = model.attention[0].body
    nn.init.zeros_(first[-2].weight)
    nn.init.constant_(first[-2].bias, 200 * gate - 100)
    skip = model.head(image)
    skips = [skip]
    for down in model.down:
        skips.append(down(skips[-1]))
    x = skips[-1] + model.body(skips[-1])
    for n in (2, 1):
        x = model.up[n](x)
        share = model.attention[n](skips[n], x)
        x = share * skips[n] + (1 - share) * x
    expected = image + model.last(skip if gate else model.up[0](x))
    assert torch.allclose(model(image), expected, atol=1e-5)


def test_skips_without_attention_are_added():
    model, image = build(replace(TINY, attention=False)), images(1, 3, 16, 16)
    assert model.attention is None
    for up in model.up:  # a decoder that says nothing: the first skip alone goes on
        for parameter in up.parameters():
            nn.init.zeros_(parameter)
    assert torch.allclose(model(image), image + model.last(model.head(image)), atol=1e-6)
    with pytest.raises(ValueError, match="has no maps: use one with attention=True"):
        model.forward_with_maps(image)


def test_the_image_itself_when_nothing_is_added():
    model, image = build(replace(TINY, residual=False)), images(1, 3, 21, 16)
    nn.init.zeros_(model.last.weight)
    nn.init.constant_(model.last.bias, 0.25)
    assert torch.equal(model(image), torch.full_like(image, 0.25))


def test_edges_are_repeated_to_fill_up():
    model, image = build(), images(1, 3, 20, 27)
    full = functional.pad(image, (0, 5, 0, 12), mode="replicate")
    assert torch.allclose(model(image), model(full)[..., :20, :27], atol=1e-6)
