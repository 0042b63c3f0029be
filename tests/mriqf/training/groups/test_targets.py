"""Targets: of unit strength, of the pools that they name, the same for the same seed."""

import numpy as np
import pytest
import torch

from mriqf import metrics
from mriqf.training.groups.targets import Pool, TargetConfig, denoise, draw_target, noise_level, recolour, shapes


@pytest.fixture(scope="module")
def pools(disc, texture):
    photos = [texture(288, 300, seed=k).astype(np.float32) / 255 for k in range(2)]
    return [
        Pool("discs", list(disc(3, 192, 176)), ["discs/a", "discs/a", "discs/b"], 2.0),
        Pool("photos", photos, ["photos", "photos"], 1.0, photographs=True),
    ]


def test_targets_have_unit_strength_and_a_source(pools):
    rng = np.random.default_rng(0)
    known = {"discs/a", "discs/b", "photos", "shapes"}
    seen = set()
    for _ in range(20):
        target = draw_target(pools, rng)
        h, w = target.image.shape[2:]
        assert 100 < min(h, w) <= max(h, w) <= 256
        assert (target.image >= 0).all() and target.image.isfinite().all()
        inside = metrics.object_mask(target.image)
        assert target.image[inside].square().mean().sqrt().item() == pytest.approx(1, abs=0.02)
        assert target.subject in known and target.noise >= 0
        seen.add(target.dataset)
    assert {"discs", "photos"} <= seen


def test_the_same_seed_gives_the_same_target(pools):
    one, two = (draw_target(pools, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one.image, two.image) and one.subject == two.subject


def test_sources_without_an_object_are_refused():
    dot = np.zeros((160, 160), np.float32)
    dot[80:90, 80:90] = 1
    empty = Pool("empty", [dot], ["empty/0"], 1.0)
    with pytest.raises(ValueError, match="hardly any object"):
        draw_target([empty], np.random.default_rng(0), TargetConfig(shapes=0.0))


def test_noise_is_measured_and_taken_away():
    rng = np.random.default_rng(0)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 160), torch.linspace(-1, 1, 160), indexing="ij")
    clean = (0.5 + 0.3 * torch.sin(6 * x + 4 * y)) * ((x**2 + y**2) < 0.8)
    clean = clean[None, None]
    for std in (0.02, 0.05):
        noisy = (clean + std * torch.from_numpy(rng.standard_normal(clean.shape)).float()).clamp_min(0)
        level = noise_level(noisy)
        assert 0.8 * std < level < 1.5 * std
        inside = clean > 0.1
        before, after = ((x - clean)[inside].square().mean().sqrt() for x in (noisy, denoise(noisy, level)))
        assert after < 0.8 * before


def test_recolouring_changes_contrast_and_keeps_edges():
    image = shapes((160, 160), np.random.default_rng(2))
    image = image / image.square().mean().sqrt()
    new = recolour(image, np.random.default_rng(3))
    assert new.isfinite().all() and (new >= 0).all()
    levels = torch.corrcoef(torch.stack([image.flatten(), new.flatten()]))[0, 1]
    edges = torch.corrcoef(torch.stack([gradient(image).flatten(), gradient(new).flatten()]))[0, 1]
    assert levels < 0.98
    assert edges > 0.3


def gradient(x):
    return (x[..., 1:, 1:] - x[..., :-1, 1:]).abs() + (x[..., 1:, 1:] - x[..., 1:, :-1]).abs()
