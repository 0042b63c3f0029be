"""Properties that QGCN, QGAC and QAIRN share: sizes in and out, no crosstalk, gradients, half precision, learning."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from mriqf import weights
from mriqf.jpeg import compress, quantization_table
from mriqf.restore import ARCNN, QAIRN, QGAC, QGCN, SRCNN, ARCNNConfig, SRCNNConfig, qairn, qgac, qgcn

NETWORKS = {"qgcn": (QGCN, qgcn.SMALL), "qgac": (QGAC, qgac.SMALL), "qairn": (QAIRN, qairn.SMALL)}
TINY = {
    "qgcn": {"width": 6, "blocks": 1, "global_width": 2},
    "qgac": {"width": 6, "growth": 4, "frequency_width": 64, "chroma_width": 4, "manifold": 4},
    "qairn": {"widths": (4, 4, 6, 8), "blocks": 1},
}
GUIDED = ["qgcn", "qgac"]
ADDED = {"qairn": {"residual": True}}  # the others give what is added to the image anyway


def build(name, seed=0, **config):
    network, small = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network(replace(small, **config))


def tiny(name, channels=3, **config):
    return build(name, channels=channels, **TINY[name], **config).eval().requires_grad_(False)


def smooth(b, ch, h, w, seed=0):
    """As photographs are: far more brightness than detail."""
    coarse = torch.rand(b, ch, -(-h // 8), -(-w // 8), generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(coarse, (h, w), mode="bilinear")


def tables(batch, channels, quality=10):
    kinds = ("luma",) if channels == 1 else ("luma", "chroma")
    return torch.stack([quantization_table(quality, kind) for kind in kinds]).float().expand(batch, -1, -1, -1)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_an_untrained_network_gives_back_its_input(name, channels):
    model = tiny(name, channels, **ADDED.get(name, {}))
    for shape in ((1, channels, 33, 41), (2, channels, 7, 18), (1, channels, 1, 1)):
        image = smooth(*shape)
        restored = model(image, tables(shape[0], channels))
        assert restored.shape == shape
        colour = 0.3 if name == "qgac" and channels == 3 else 0  # chroma was averaged over 2×2 pixels
        assert (restored - image).abs().mean() < 0.02 + colour


@pytest.mark.parametrize("name", NETWORKS)
def test_images_of_a_batch_do_not_see_each_other(name):
    model = tiny(name)
    images = smooth(3, 3, 24, 20)
    steps = torch.cat([tables(1, 3, quality) for quality in (5, 40, 90)])
    together = model(images, steps)
    for k in range(3):
        assert torch.allclose(together[k : k + 1], model(images[k : k + 1], steps[k : k + 1]), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_weight_of_a_small_network_learns_and_there_are_below_a_million(name, channels):
    model = build(name, channels=channels)
    assert 3e5 < sum(p.numel() for p in model.parameters()) < 1e6
    model(smooth(2, channels, 32, 32), tables(2, channels)).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_costs_less_than_a_grey_level(name):
    model, image = tiny(name), smooth(1, 3, 32, 32)
    exact = model(image, tables(1, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(image, tables(1, 3))
    assert output.dtype == torch.float32
    assert (output - exact).abs().max() < 1 / 255


@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks_learn(name):
    detail = 0.3 * torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    truth = (0.7 * smooth(2, 1, 32, 32) + functional.avg_pool2d(detail, 3, 1, 1)).clamp(0, 1)
    images = compress(truth, 5)
    steps = tables(2, 1, 5)
    model = build(name, channels=1, **ADDED.get(name, {}))
    optimiser = torch.optim.Adam(model.parameters(), {"qgcn": 3e-4, "qgac": 2e-3, "qairn": 1e-3}[name])
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = functional.mse_loss(model(images, steps), truth)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * functional.mse_loss(images, truth).item()


@pytest.mark.parametrize("name", GUIDED)
def test_tables_count(name):
    model, image = build(name).requires_grad_(False), smooth(1, 3, 32, 32)
    coarse, fine = (model(image, tables(1, 3, quality)) for quality in (5, 95))
    assert (coarse - fine).abs().max() > 1e-5
    only_chroma = torch.cat((tables(1, 3, 5)[:, :1], tables(1, 3, 95)[:, 1:]), 1)
    assert (model(image, only_chroma) - coarse).abs().max() > 1e-6


@pytest.mark.parametrize("name", GUIDED)
@pytest.mark.usefixtures("unchecked")
def test_tables_that_do_not_belong_to_the_images(name):
    model, image = tiny(name), smooth(2, 3, 16, 16)
    for wrong in (None, tables(2, 1), tables(1, 3)):
        with pytest.raises(ValueError, match="for 2 images of 3 channels: give the quantisation tables"):
            model(image, wrong)


def test_blind_networks_take_tables_and_ignore_them():
    image = smooth(1, 3, 16, 16)
    for model in (tiny("qairn"), ARCNN(ARCNNConfig(3, 8)), SRCNN(SRCNNConfig(3, 8)), tiny("qgcn", quantisation=False)):
        assert torch.equal(model(image), model(image, tables(1, 3)))


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_come_back(name, tmp_path):
    model = tiny(name)
    card = {"network": name, "config": weights.config_dict(model.config)}
    weights.write(tmp_path / "a.safetensors", model.state_dict(), card)
    loaded = weights.load(tmp_path / "a.safetensors")
    assert loaded.config == model.config
    image = smooth(1, 3, 24, 24)
    assert torch.equal(loaded(image, tables(1, 3)), model(image, tables(1, 3)))


@pytest.mark.parametrize(("name", "wrong"), [
    ("qgcn", {"channels": 2}), ("qgcn", {"blocks": 0}), ("qgcn", {"global_width": 0}),
    ("qgac", {"channels": 2}), ("qgac", {"frequency_width": 100}), ("qgac", {"growth": 0}),
    ("qgac", {"block_net": False, "frequency_net": False}),
    ("qairn", {"widths": (3, 8, 8, 8)}), ("qairn", {"blocks": 0}),
])  # fmt: skip
def test_bad_configurations(name, wrong):
    with pytest.raises(ValueError, match="has no network: use"):
        build(name, **wrong)
