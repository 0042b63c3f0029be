"""The predictors' geometry, range and gradients; the weights are random."""

import math

import pytest
import torch
from properties import check_finite_gradient
from torch.nn import functional

from mriqf import QFConfig, QFPredictor, weights
from mriqf.predictors.qf import BlockHistogram

FIELDS = {"cui-fov11": 11, "cui-fov13": 13, "cui-fov16": 16, "cui-fov24": 24, "cui": 34}
ARCHS = ("histogram", *FIELDS)
each_arch = pytest.mark.parametrize("arch", ARCHS)
each_channels = pytest.mark.parametrize("channels", [1, 3])


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@each_arch
@each_channels
@pytest.mark.parametrize("head", ["regression", "classes"])
def test_map_has_its_size_and_range_and_stays(untrained, arch, channels, head):
    model = untrained(arch, channels, head)
    images = noise(3, channels, 96, 128)
    quality = model(images)
    assert quality.shape == (3, 1, 96 // model.stride, 128 // model.stride)
    assert quality.min() >= 0
    assert quality.max() <= (100 if head == "regression" else 80)
    assert quality.std() > 0.01  # random weights give no flat map, or the tests below say nothing
    assert torch.equal(model(images), quality)
    assert torch.equal(untrained(arch, channels, head)(images), quality)
    for k in range(3):
        torch.testing.assert_close(model(images[k : k + 1])[0], quality[k], atol=1e-3, rtol=0)


@each_arch
@each_channels
def test_a_cell_depends_on_its_receptive_field_and_all_of_it(untrained, arch, channels):
    model = untrained(arch, channels)
    images = noise(4, channels, 160, 160).requires_grad_()
    row = column = 80 // model.stride
    model(images)[:, 0, row, column].sum().backward()
    seen = images.grad.abs().amax((0, 1)) > 0
    for extent in (seen.any(0).nonzero().flatten(), seen.any(1).nonzero().flatten()):
        first, last = extent.min().item(), extent.max().item()
        assert last - first + 1 == model.receptive_field
        middle = (first + last) / 2  # of the field; the cell's own pixels are 80 to 80 + stride - 1
        assert abs(middle - (80 + (model.stride - 1) / 2)) <= model.stride / 2 + 0.5


@pytest.mark.parametrize(("arch", "field"), FIELDS.items())
def test_field_of_view_is_that_of_the_name(untrained, arch, field):
    """No pixel beyond changes a cell; the corners of the field do (the test above shows that all of it is seen)."""
    model = untrained(arch)
    assert model.receptive_field == field
    first = 80 + (model.stride - field) // 2 - 1  # at least one pixel before the field of the cell at 80
    image, cell = noise(1, 1, 160, 160), 80 // model.stride
    masked = torch.zeros_like(image)
    masked[..., first : first + field + 3, first : first + field + 3] = 1
    still = model(image)[0, 0, cell, cell]
    assert model(image * masked)[0, 0, cell, cell] == pytest.approx(still.item(), abs=1e-4)


@pytest.mark.parametrize(("name", "pools"), [("qf-gray-cui", (1, 2)), ("qf-gray-cui-fov11", (4, 5))])
def test_shipped_weights_are_of_the_reports_layers(name, pools):
    """The same map, layer by layer by hand, from the tensors of the file."""
    tensors = weights.read(weights.find(name))[0]
    image = noise(1, 1, 96, 64)
    x = functional.conv2d(2 * image - 1, tensors["stem.1.weight"], tensors["stem.1.bias"], padding=1)
    body = {int(key.split(".")[1]) for key in tensors if key.startswith("body.")}
    number = 1
    for layer in sorted(body):
        weight = tensors[f"body.{layer}.weight"]
        if weight.ndim == 4:
            before, behind = (weight.shape[-1] - 1) // 2, weight.shape[-1] // 2
            x = functional.conv2d(functional.pad(x, (before, behind, before, behind)), weight)
            number += 1
        else:
            mean, var, shift = (tensors[f"body.{layer}.{k}"] for k in ("running_mean", "running_var", "bias"))
            x = functional.batch_norm(x, mean, var, weight, shift).relu()
            x = functional.max_pool2d(x, 2) if number in pools else x
    assert number == 6
    head = tensors["head.weight"], tensors["head.bias"]
    by_hand = 100 * torch.sigmoid(functional.conv2d(x, *head))
    torch.testing.assert_close(weights.load(name)(image), by_hand, atol=1e-3, rtol=0)


@each_arch
@each_channels
@pytest.mark.parametrize("grid", [1, 8])
def test_shift_of_the_image_shifts_the_map(untrained, arch, channels, grid):
    model = untrained(arch, channels)
    shift = math.lcm(grid, model.stride)
    cells, border = shift // model.stride, -(-model.receptive_field // model.stride)
    image = noise(1, channels, 192, 192)
    still, moved = model(image), model(image.roll((shift, shift), (2, 3)))
    inner = slice(border + cells, -border)
    source = slice(border, -border - cells)
    torch.testing.assert_close(moved[..., inner, inner], still[..., source, source], atol=1e-3, rtol=0)


@each_arch
def test_image_has_a_finite_gradient(untrained, arch):
    model = untrained(arch)
    check_finite_gradient(model, noise(2, 1, 64, 64))
    flat = torch.full((1, 1, 64, 64), 0.5)
    flat[..., 20:30, 20:30] = 1
    check_finite_gradient(model, flat)


@each_channels
def test_histogram_has_the_gradient_that_it_says(channels):
    stem = BlockHistogram(channels).double()
    image = noise(1, channels, 16, 16).double().requires_grad_()
    assert torch.autograd.gradcheck(stem, image, fast_mode=True)


def test_histogram_counts_every_block():
    """The shares of a frequency's bins add up to one in every window, also at the border."""
    stem = BlockHistogram(1)
    shares = stem(noise(2, 1, 96, 128)).square() - 1e-3
    sums = shares.reshape(2, 63, stem.n_bins, 6, 8).sum(2)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-4, rtol=0)


def test_histogram_of_rgb_sees_grey_as_luma():
    grey = noise(1, 1, 64, 64)
    features = BlockHistogram(3)(grey.expand(-1, 3, -1, -1))
    alone = BlockHistogram(1)(grey)
    torch.testing.assert_close(features[:, : alone.shape[1]], alone, atol=1e-3, rtol=0)


@each_arch
def test_starts_in_the_middle(arch):
    quality = QFPredictor(QFConfig(arch=arch, width=16)).eval()(noise(1, 1, 64, 64))
    torch.testing.assert_close(quality, torch.full_like(quality, 73.1), atol=0.1, rtol=0)


@pytest.mark.usefixtures("unchecked")
def test_refuses_other_configurations():
    with pytest.raises(ValueError, match="arch is 'resnet': choose one of histogram, cui, cui-fov11, cui-fov13, cui"):
        QFPredictor(QFConfig(arch="resnet"))
    with pytest.raises(ValueError, match=r"channels is 2: a predictor takes 1 \(grey\) or 3 \(RGB\)"):
        QFPredictor(QFConfig(channels=2))
