"""K-space predictor: map and number belong together, and depend on no unit, no neighbour, no missing reading."""

import math

import pytest
import torch
from torch.nn.functional import pad

from mriqf import weights
from mriqf.predictors.kspace import KSpaceConfig, KSpacePredictor, cell_rms
from mriqf.predictors.reading import rms_error
from recon.evidence import CHANNELS, FINDINGS

CONFIG = KSpaceConfig(FINDINGS, CHANNELS)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = KSpacePredictor(CONFIG)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model.eval()


def inputs(b=2, i=7, j=9, seed=0):
    g = torch.Generator().manual_seed(seed)
    findings = torch.rand(b, len(FINDINGS), generator=g)
    channels = 0.1 + torch.rand(b, len(CHANNELS), i, j, generator=g)
    weight = (torch.rand(b, 1, i, j, generator=g) > 0.3).float()
    return findings, channels, weight, torch.full((b,), -1.0), -1 + 0.2 * torch.randn(b, 1, i, j, generator=g)


def test_it_is_small():
    assert sum(p.numel() for p in KSpacePredictor(CONFIG).parameters()) < 50_000


def test_the_map_is_that_of_the_number(model):
    findings, channels, weight, *read = inputs()
    found = model.read(findings, channels, weight, *read)
    assert found.cells.shape == (2, 1, 7, 9) and found.whole.shape == (2,) and found.width.shape == (2, 2)
    assert (found.width > 0).all() and found.cells.std() > 0.01
    torch.testing.assert_close(rms_error(found.cells, weight).float(), found.whole, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("factor", [1e-6, 1e4])
def test_the_unit_of_the_image_changes_nothing(model, factor):
    findings, channels, weight, *read = inputs()
    one, other = (model.read(findings, f * channels, weight, *read) for f in (1, factor))
    torch.testing.assert_close(other.whole, one.whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.cells, one.cells, rtol=1e-4, atol=1e-3)


def test_a_sample_does_not_depend_on_its_batch(model):
    findings, channels, weight, error, cells = inputs()
    margin = (0, 3, 0, 2)
    inside = pad(torch.ones_like(weight), margin) > 0
    wide = model.read(findings, pad(channels, margin), pad(weight, margin), error, pad(cells, margin), inside)
    for k in range(2):
        part = slice(k, k + 1)
        alone = model.read(findings[part], channels[part], weight[part], error[part], cells[part])
        torch.testing.assert_close(wide.whole[part], alone.whole, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(wide.cells[part, :, :7, :9], alone.cells, rtol=1e-4, atol=1e-4)


def test_without_a_reading_of_the_image(model):
    findings, channels, weight, _, cells = inputs()
    nothing = torch.full((2,), math.nan)
    found = model.read(findings, channels, weight, nothing, torch.full_like(cells, math.nan))
    same = model.read(findings, channels, weight)
    assert torch.equal(found.whole, same.whole) and torch.equal(found.cells, same.cells)
    assert found.cells.isfinite().all() and found.whole.isfinite().all() and found.features.isfinite().all()
    read = model.read(findings, channels, weight, torch.zeros(2), cells)
    assert not torch.allclose(read.whole, found.whole)


def test_extremes_give_numbers(model):
    findings, channels, weight, *_ = inputs()
    for value in (0.0, 1e3):
        for empty in (channels, 0 * channels):
            for share in (weight, 0 * weight):
                found = model.read(torch.full_like(findings, value), empty, share)
                assert found.whole.isfinite().all() and found.cells.isfinite().all() and found.width.isfinite().all()


def test_cells_are_root_mean_squares():
    channels = torch.zeros(1, 2, 10, 17)
    channels[0, 0, :8, :8] = 3
    channels[0, 0, 8:, 16:] = 2  # of what the image has of this cell, all
    channels[0, 1, :8, :4] = 2
    found = cell_rms(channels)
    assert found.shape == (1, 2, 2, 3)
    assert found[0, 0].tolist() == [[3, 0, 0], [0, 0, 2]]
    assert found[0, 1, 0, 0].item() == pytest.approx(2 / 2**0.5)


def saved(path, model, **config):
    card = {"network": "kspace", "config": weights.config_dict(model.config) | config}
    weights.write(path, model.state_dict(), card, force=True)
    return path


def test_weights_come_back(model, tmp_path):
    loaded = weights.load(saved(tmp_path / "k.safetensors", model))
    assert isinstance(loaded, KSpacePredictor) and loaded.config == CONFIG
    torch.testing.assert_close(loaded.read(*inputs()).whole, model.read(*inputs()).whole)


@pytest.mark.parametrize(
    "config",
    [{"findings": ["spread"]}, {"width": 4096}, {"width": 4096, "members": 4096}, {"width": -1}, {"findings": 3},
     {"members": 10**9}, {"more": 1}],
)  # fmt: skip
def test_nonsense_is_refused(model, tmp_path, config):
    with pytest.raises(ValueError, match="holds no network of this version"):
        weights.load(saved(tmp_path / "k.safetensors", model, **config))


def test_it_scores_no_images(model, tmp_path):
    from mriqf.predictors.base import load_predictor

    with pytest.raises(ValueError, match="KSpacePredictor's, which scores nothing"):
        load_predictor(saved(tmp_path / "k.safetensors", model))
