"""QAIRN: FBCNN's trunk, and gates that are shares of the skip."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from mriqf import score, weights
from mriqf.cli import main
from mriqf.predictors.base import load_predictor
from mriqf.predictors.inference import for_inference, predict_map
from mriqf.restore import QAIRN, QAIRNConfig
from mriqf.restore.qairn import SMALL
from mriqf.scoring.pooling import minkowski

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
    model, image = build(replace(TINY, residual=True)), images(1, 3, 32, 32)
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
    model, image = build(replace(TINY, attention=False, residual=True)), images(1, 3, 16, 16)
    assert model.attention is None
    for up in model.up:  # a decoder that says nothing: the first skip alone goes on
        for parameter in up.parameters():
            nn.init.zeros_(parameter)
    assert torch.allclose(model(image), image + model.last(model.head(image)), atol=1e-6)
    with pytest.raises(ValueError, match="has no maps: use one with attention=True"):
        model.forward_with_maps(image)


def test_the_image_itself_when_nothing_is_added():
    model, image = build(), images(1, 3, 21, 16)
    nn.init.zeros_(model.last.weight)
    nn.init.constant_(model.last.bias, 0.25)
    assert torch.equal(model(image), torch.full_like(image, 0.25))


def test_edges_are_repeated_to_fill_up():
    model, image = build(), images(1, 3, 20, 27)
    full = functional.pad(image, (0, 5, 0, 12), mode="replicate")
    assert torch.allclose(model(image), model(full)[..., :20, :27], atol=1e-6)


@pytest.fixture
def file(tmp_path):
    """Writer of QAIRN weights whose gates differ from place to place; gives the path."""

    def write(channels=3, attention=True, residual=False):
        model = build(replace(TINY, channels=channels, attention=attention, residual=residual))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            for parameter in model.attention.parameters() if model.attention is not None else ():
                nn.init.normal_(parameter, std=0.5)
        path = tmp_path / "qairn.safetensors"
        card = {"network": "qairn", "config": weights.config_dict(model.config)}
        weights.write(path, model.state_dict(), card, force=True)
        return path

    return write


def test_score_is_the_minkowski_mean_of_the_gates_at_half_the_resolution(file, texture):
    path, pixels = file(), texture(48, 70, channels=3)
    pixels[0, 0], pixels[-1, -1] = 0, 255  # the whole range: normalising changes nothing
    image = torch.tensor(pixels).permute(2, 0, 1)[None] / 255
    model = load_predictor(path)
    assert torch.allclose(
        predict_map(for_inference(model), image), 100 * weights.load(path).forward_with_maps(image)[1][1]
    )
    for pool, exponent in (("foreground", 1), ("minkowski:-2", -2)):
        result = score(image.numpy(), path, pool=pool, mask=np.ones((48, 70)))
        normalised = torch.from_numpy(result.slices[0].image[None])
        gates = 100 * weights.load(path).forward_with_maps(normalised)[1][1]
        assert result.value == pytest.approx(minkowski(gates[0, 0].double(), exponent).item(), rel=1e-5)
        assert gates.std() > 0.1
        assert result.slices[0].map.shape == (48, 70)


def test_command_scores_a_picture(file, texture, tmp_path, capsys):
    Image.fromarray(texture(32, 40, channels=3)).save(tmp_path / "a.png")
    assert main(["score", str(tmp_path / "a.png"), "--weights", str(file())]) == 0
    row = capsys.readouterr().out.rstrip("\n").split("\t")
    assert 0 < float(row[6]) < 100
    assert "JPEG quality" in row and "foreground" in row
    assert main(["score", str(tmp_path / "a.png"), "--weights", str(file(attention=False))]) == 2
    assert "is a QAIRN without attention, which scores nothing" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "a.png"), "--weights", str(file(residual=True))]) == 2
    assert "with residual=True, whose gates do not follow quality" in capsys.readouterr().err
