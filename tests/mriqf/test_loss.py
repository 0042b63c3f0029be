"""The score as a loss: it follows the score, has its gradient, and leaves the predictor as it was."""

import numpy as np
import pytest
import torch
from torch import nn

import mriqf
from mriqf.jpeg import compress
from mriqf.loss import QFLoss, find_foreground, qf_loss, unit_range
from mriqf.predictors.error import ErrorConfig, ErrorPredictor
from mriqf.predictors.qf import QFConfig, QFPredictor


@pytest.fixture(scope="module")
def images(texture):
    """Two grey images in [0, 1] on a black ground."""
    canvas = torch.zeros(2, 1, 128, 128)
    for k in range(2):
        canvas[k, 0, 16:112, 16:112] = torch.from_numpy(texture(96, 96, seed=k)) / 255
    return canvas


@pytest.fixture(scope="module", params=["histogram", "cui", "error"])
def predictor(request):
    torch.manual_seed(0)
    if request.param == "error":
        model = ErrorPredictor(ErrorConfig(widths=(8, 8, 16), depths=(1, 1), spectra=8))
    else:
        model = QFPredictor(QFConfig(arch=request.param, width=16))
    nn.init.normal_(model.head.weight, std=0.3)
    return model.eval()


def test_loss_is_what_the_score_lacks(texture):
    pixels = torch.from_numpy(texture(128, 128)).float()[None, None] / 255
    everything = torch.ones(1, 128, 128, dtype=torch.bool)
    model = mriqf.load("qf-gray")
    quality = model(pixels).mean().item()
    assert qf_loss(pixels, model, mask=everything).item() == pytest.approx(1 - quality / 100, abs=1e-5)


def test_loss_grows_with_compression(images):
    loss = QFLoss("qf-gray")
    values = [loss(compress(images, q)).item() for q in (90, 60, 30, 10)]
    assert values == sorted(values)
    assert values[-1] > values[0] + 0.3


def test_gradient_is_that_of_finite_differences(texture, predictor):
    """Along the gradient itself, where the change is far above the rounding of single precision; of grain all over,
    since magnitudes of coefficients have no gradient at zero."""
    loss = QFLoss(predictor)
    inside = (0.1 + 0.8 * torch.from_numpy(texture(128, 128)).float()[None, None] / 255).requires_grad_()
    foreground = torch.ones(1, 128, 128, dtype=torch.bool)
    (gradient,) = torch.autograd.grad(loss(inside, mask=foreground), inside)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
    direction = gradient / gradient.norm()
    step = min(max(2e-5 / gradient.norm().item(), 3e-4), 0.1)  # a weak gradient needs a longer one
    with torch.no_grad():
        results = [loss(inside + s * step * direction, mask=foreground).item() for s in (1, -1)]
    assert (results[0] - results[1]) / (2 * step) == pytest.approx(gradient.norm().item(), rel=0.1)


def test_predictor_is_left_alone(images, predictor):
    before = {name: value.clone() for name, value in predictor.state_dict().items()}
    around = nn.ModuleDict({"loss": QFLoss(predictor)}).train()
    wanted = images.clone().requires_grad_()
    around["loss"](wanted).backward()
    assert not any(module.training for module in around["loss"].modules())
    assert all(p.grad is None and not p.requires_grad for p in around["loss"].parameters())
    inside = around["loss"].predictors[0].state_dict()
    for name, value in before.items():
        assert torch.equal(predictor.state_dict()[name], value)
        assert torch.equal(inside[name], value)


@pytest.mark.parametrize("variants", [0, 3])
def test_same_seed_same_loss(images, predictor, variants):
    loss = QFLoss(predictor, variants)
    first, second, other = (loss(images, seed=seed).item() for seed in ((3, 1), (3, 1), (3, 2)))
    assert first == second
    assert (first == other) == (variants == 0)


def test_drawn_views_differ_from_seed_to_seed_and_are_of_the_same_object(images):
    """Each predictor says what it is: a view is of one of them, and a turned image is seen as often as the image."""
    models = [QFPredictor(QFConfig(arch="cui")).eval() for _ in range(2)]
    for k, model in enumerate(models):
        nn.init.zeros_(model.head.weight)
        nn.init.constant_(model.head.bias, k)
    each = [QFLoss(model)(images).item() for model in models]
    loss = QFLoss(models, 1, drawn=True)
    seen = {round(loss(images, seed=seed).item(), 4) for seed in range(12)}
    assert seen == {round(value, 4) for value in each}
    several = QFLoss(models, 4, drawn=True)
    assert several(images, seed=5).item() == several(images, seed=5).item()


def test_drawn_views_have_a_gradient_in_the_object_alone(images, predictor):
    wanted = images.clone().requires_grad_()
    foreground = torch.zeros(2, 128, 128, dtype=torch.bool)
    foreground[0, 32:96, 32:96] = True
    QFLoss(predictor, 3, drawn=True)(wanted, mask=foreground, seed=1).backward()
    assert wanted.grad is not None
    assert wanted.grad[0].abs().max() > 0
    assert wanted.grad[1].abs().max() == 0
    assert QFLoss(predictor, 2, drawn=True)(images[..., :64, :65]).isfinite()  # as small as a predictor sees


def test_background_counts_nothing(images, predictor):
    loss = QFLoss(predictor)
    wanted = images.clone().requires_grad_()
    foreground = torch.zeros(2, 128, 128, dtype=torch.bool)
    foreground[0, 32:96, 32:96] = True  # and none in the second
    value = loss(wanted, mask=foreground)
    value.backward()
    assert wanted.grad is not None
    assert wanted.grad[1].abs().max() == 0
    alone = loss(images[:1], mask=foreground[:1])
    assert value.item() == pytest.approx(alone.item(), rel=1e-4)


def test_foreground_is_that_of_scoring(images):
    result = mriqf.score(images[0, 0].numpy(), "qf-gray").slices[0].foreground
    ours = find_foreground(images)[0].numpy()
    assert np.abs(np.mean(result) * result.size - ours.sum()) < 0.1 * ours.sum()
    assert ours[40:80, 40:80].mean() > 0.9
    assert not ours[:8].any()
    assert find_foreground(torch.rand(1, 3, 16, 16)).all()


def test_ensemble_is_the_mean(images):
    models = [QFPredictor(QFConfig(arch="cui")).eval() for _ in range(2)]
    for k, model in enumerate(models):
        nn.init.constant_(model.head.bias, k)
    each = [QFLoss(model)(images).item() for model in models]
    assert QFLoss(models)(images).item() == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_magnitudes_of_any_unit(images, factor):
    expected = unit_range(images)
    assert expected.min() == 0
    assert expected.max() == 1
    torch.testing.assert_close(unit_range(factor * images), expected, rtol=1e-4, atol=1e-5)
    wanted = images.clone().requires_grad_()
    unit_range(wanted).sum().backward()
    assert wanted.grad is not None
    assert (wanted.grad >= 0).all()
    assert wanted.grad.max() > 0


@pytest.mark.usefixtures("unchecked")
def test_errors_name_the_cure(images):
    grey, rgb = (QFPredictor(QFConfig(arch="cui", channels=n)).eval() for n in (1, 3))
    with pytest.raises(ValueError, match=r"predictors with channels: cui 1, cui 3: give one, or several that take as"):
        QFLoss([grey, rgb])
    with pytest.raises(ValueError, match=r"predictors with channels: none"):
        QFLoss([])
    with pytest.raises(ValueError, match=r"variants is -1: use 0"):
        QFLoss(grey, -1)
    with pytest.raises(ValueError, match=r"drawn is True and variants is 0: give the number of views"):
        QFLoss(grey, drawn=True)
    for wrong in (images.expand(-1, 3, -1, -1), images[..., :20]):
        with pytest.raises(ValueError, match=r"images are \(2, .*take 1 channels and sides of at least 34 pixels"):
            QFLoss(grey)(wrong)
    with pytest.raises(ValueError, match="constant"):
        unit_range(torch.ones(1, 1, 8, 8))


def test_second_image_is_no_mask(images, predictor):
    """Losses of other packages take a target in second place: here it must not become a mask unnoticed."""
    with pytest.raises(TypeError):
        QFLoss(predictor)(images, images)
