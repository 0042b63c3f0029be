"""AR-CNN and SRCNN: the papers' layers, sizes in and out, what one pixel reaches, and that they learn."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mriqf import weights
from mriqf.restore import ARCNN, SRCNN, ARCNNConfig, SRCNNConfig

NETWORKS = {"arcnn": (ARCNN, ARCNNConfig), "srcnn": (SRCNN, SRCNNConfig)}


def build(name, seed=0, **config):
    network, configuration = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network(configuration(**config)).eval().requires_grad_(False)


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def smooth(*shape, seed=0):
    """As photographs are: far more brightness than detail."""
    b, ch, h, w = shape
    return functional.interpolate(images(b, ch, h // 8, w // 8, seed=seed), (h, w), mode="bilinear")


def layers(model):
    return [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0])
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d)
    ]


def test_the_papers_layers():
    assert layers(ARCNN()) == [(1, 64, 9), (64, 32, 7), (32, 16, 1), (16, 1, 5)]
    assert layers(SRCNN()) == [(1, 64, 9), (64, 32, 1), (32, 1, 5)]
    assert layers(SRCNN(SRCNNConfig(kernel=5))) == [(1, 64, 9), (64, 32, 5), (32, 1, 5)]
    # As the paper counts them: 8 032 weights without biases.
    assert sum(p.numel() for p in SRCNN().parameters() if p.ndim > 1) == 8032


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("residual", [False, True])
def test_sizes_stay_and_a_pixel_reaches_its_field(name, residual):
    model = build(name, channels=3, width=8, residual=residual)
    for shape in ((2, 3, 40, 36), (1, 3, 33, 41)):
        assert model(images(*shape)).shape == shape
    nn.init.normal_(model.last.weight)
    image = images(1, 3, 48, 48)
    other = image.clone()
    other[0, 1, 24, 24] += 1
    reached = (model(other) - model(image)).abs().amax((0, 1)) > 1e-5
    rows = reached.any(1).nonzero().flatten()
    field = {"arcnn": 9 + 7 + 5 - 2, "srcnn": 9 + 5 - 1}[name]
    assert (rows.min(), rows.max()) == (24 - field // 2, 24 + field // 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_residual_network_begins_at_its_input(name):
    image = smooth(1, 1, 32, 32)
    assert (build(name, residual=True)(image) - image).abs().mean() < 0.01
    assert (build(name, residual=False)(image) - image).abs().max() > 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_added_does_not_depend_on_brightness_at_first(name):
    image = 0.5 * images(1, 3, 40, 40)
    model = build(name, channels=3, width=8, residual=True)
    added, brighter = (model(x) - x for x in (image, image + 0.3))
    assert added.abs().max() > 1e-4
    assert torch.allclose(added, brighter, atol=1e-5)  # at the border too


@pytest.mark.parametrize("name", NETWORKS)
def test_residual_networks_learn(name):
    # From usual weights and rectifiers, features die in the first steps, and the output stays the input.
    sharp = functional.interpolate(images(4, 1, 8, 8), scale_factor=4.0)
    blurred = functional.avg_pool2d(sharp, 3, 1, 1)
    model = build(name, width=16, residual=True).requires_grad_(True)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(100):
        optimiser.zero_grad()
        loss = functional.l1_loss(model(blurred), sharp)
        loss.backward()
        optimiser.step()
    assert loss.item() < {"arcnn": 0.55, "srcnn": 0.85}[name] * functional.l1_loss(blurred, sharp).item()


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_costs_less_than_a_grey_level(name):
    model, image = build(name, channels=3, residual=True), smooth(1, 3, 32, 32)
    nn.init.normal_(model.last.weight, std=0.005)
    exact = model(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(image)
    assert output.dtype == torch.float32
    # As much as half precision of all but the last layer costs, and not one in 256 of the image.
    assert (output - exact).abs().max() < 0.02 * (exact - image).abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_come_back(name, tmp_path):
    model = build(name, seed=1, channels=3, width=8, residual=True)
    card = {"network": name, "config": weights.config_dict(model.config)}
    weights.write(tmp_path / "a.safetensors", model.state_dict(), card)
    loaded = weights.load(tmp_path / "a.safetensors")
    assert loaded.config == model.config
    assert not loaded.training
    assert torch.equal(loaded(images(1, 3, 24, 24)), model(images(1, 3, 24, 24)))


@pytest.mark.parametrize(("name", "wrong"), [
    ("arcnn", {"width": 30}), ("arcnn", {"channels": 0}), ("srcnn", {"width": 3}), ("srcnn", {"kernel": 2}),
])  # fmt: skip
def test_bad_configurations(name, wrong):
    with pytest.raises(ValueError, match="has no network: use channels >= 1"):
        build(name, **wrong)
