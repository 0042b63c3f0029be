"""An image restored in parts is the image restored at once."""

from dataclasses import replace

import pytest
import torch

from mriqf.jpeg import compress, tables
from mriqf.restore import (
    ARCNN,
    QAIRN,
    QGAC,
    QGCN,
    SRCNN,
    ARCNNConfig,
    QAIRNConfig,
    QGACConfig,
    QGCNConfig,
    SRCNNConfig,
    restore,
)

NETWORKS = {
    "arcnn": (ARCNN, ARCNNConfig(3, 8)),
    "srcnn": (SRCNN, SRCNNConfig(3, 8, 5)),
    "qgcn": (QGCN, QGCNConfig(width=8, blocks=2, global_width=2)),
    "qairn": (QAIRN, QAIRNConfig(widths=(4, 4, 8, 8), blocks=1, residual=False)),
    "qgac": (QGAC, QGACConfig(width=8, growth=4, frequency_width=64, chroma_width=4, manifold=4)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_parts_give_the_whole(name, channels, texture):
    torch.manual_seed(0)
    network, config = NETWORKS[name]
    model = network(replace(config, channels=channels)).eval()
    for parameter in model.parameters():  # also of layers that start with nothing
        torch.nn.init.normal_(parameter, std=0.1)
    size = (147, 203) if name != "qgac" else (347, 203)
    image = torch.from_numpy(texture(seed=1)).float() / 255
    rows, columns = (torch.arange(n) % m for n, m in zip(size, image.shape, strict=True))
    images = compress(image[rows][:, columns].expand(1, channels, -1, -1).clamp(0, 1), 20)
    whole = restore(model, images, tables(20, channels)[None])
    parts = restore(model, images, tables(20, channels)[None], tile=48)
    assert (whole - images).abs().max() > 0.01
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_is_near(name, texture):
    torch.manual_seed(0)
    network, config = NETWORKS[name]
    model = network(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    image = torch.from_numpy(texture(64, 48)).float() / 255
    images = compress(image.expand(1, 3, -1, -1), 20)
    whole, half = (restore(model, images, tables(20, 3)[None], half=half) for half in (False, True))
    assert half.dtype == torch.float32
    assert 0 < (half - whole).abs().max() < 0.03 * (whole - images).abs().max()


def test_reach_is_what_a_pixel_depends_on():
    for network, config in (NETWORKS[name] for name in ("arcnn", "srcnn", "qairn")):
        torch.manual_seed(0)
        model, side = network(replace(config, channels=1)).eval(), 16 * 17
        image = torch.rand(1, 1, side, 16, requires_grad=True)
        model(image)[0, 0, side // 2].sum().backward()
        assert image.grad is not None
        seen = image.grad[0, 0].abs().sum(1).nonzero()[:, 0]
        farthest = int((seen - side // 2).abs().max())
        assert farthest <= model.halo
        assert farthest >= 0.4 * model.halo


def test_tile_is_a_multiple_of_the_grid():
    with pytest.raises(ValueError, match="tile is 40"):
        restore(SRCNN(SRCNNConfig()), torch.zeros(1, 1, 64, 64), tile=40)
