"""Strength: networks that find too much or too little add what is right for the quality, told or estimated."""

from dataclasses import replace

import pytest
import torch

from mriqf.jpeg import compress, tables
from mriqf.metrics.jpeg import psnr
from mriqf.restore import ARCNN, QAIRN, SRCNN, ARCNNConfig, QAIRNConfig, QGCNConfig, SRCNNConfig, restore
from mriqf.restore.strength import QUALITIES, better_alone, estimated_tables, restored, strength_at, table_quality

BLIND = {
    "arcnn": (ARCNN, ARCNNConfig(1, 8)),
    "srcnn": (SRCNN, SRCNNConfig(1, 8)),
    "qairn": (QAIRN, QAIRNConfig(1, (4, 4, 4, 4), 1)),
}
FALLING = tuple(1 - (q - QUALITIES[0]) / (QUALITIES[-1] - QUALITIES[0]) for q in QUALITIES)  # 1 … 0


def decoded(texture, quality, channels=1, side=64):
    image = torch.from_numpy(texture(side, side, channels=3 if channels == 3 else None).copy()).float() / 255
    return compress(image.permute(2, 0, 1)[None] if channels == 3 else image[None, None], quality)


@pytest.mark.parametrize("name", BLIND)
@pytest.mark.parametrize("residual", [False, True])
def test_strength_is_the_share_of_what_is_added(name, residual, texture):
    torch.manual_seed(0)
    network, config = BLIND[name]
    blind = network(replace(config, residual=residual)).eval()
    for parameter in blind.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    told = network(replace(config, residual=residual, strength=FALLING)).eval()
    told.load_state_dict(blind.state_dict())
    images = decoded(texture, 40).expand(2, -1, -1, -1)
    steps = torch.stack([tables(q, 1) for q in (5, 95)])
    with torch.no_grad():
        whole, part = blind(images, steps) - images, told(images, steps) - images
    share = torch.tensor([1.0, 1 - 90 / 95])[:, None, None, None]
    assert whole.abs().max() > 0.01
    torch.testing.assert_close(part, share * whole, rtol=1e-4, atol=1e-5)
    assert sum(p.numel() for p in told.parameters()) == sum(p.numel() for p in blind.parameters())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tile", [32, 768])
def test_without_tables_quality_is_that_of_the_whole_image(channels, tile, texture):
    torch.manual_seed(0)
    model = ARCNN(ARCNNConfig(channels, 8, True, FALLING)).eval()
    torch.nn.init.normal_(model.last.weight, std=0.1)
    images = decoded(texture, 80, channels, 96)
    assert (restore(model, images) - images).abs().max() > 0.01
    torch.testing.assert_close(
        restore(model, images, tile=tile), restore(model, images, tables(80, channels)[None]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("shift", [(0, 0), (3, 6)])
def test_estimate_finds_quality_wherever_the_grid_starts(quality, shift, texture):
    images = decoded(texture, quality, side=128)[..., shift[0] :, shift[1] :]
    assert table_quality(estimated_tables(images)).item() == quality


def test_what_shows_no_quality_counts_as_the_middle(texture):
    never = torch.from_numpy(texture(64, 64).copy()).float()[None, None] / 255
    assert table_quality(estimated_tables(never)).tolist() == [60]
    assert table_quality(estimated_tables(torch.zeros(2, 3, 9, 9))).tolist() == [60, 60]


def test_every_table_has_its_quality_and_others_the_nearest():
    known = torch.stack([tables(q, 3) for q in range(1, 101)])
    qualities = table_quality(known)
    same = torch.stack([tables(int(q), 1) for q in qualities])
    assert torch.equal(same, known[:, :1])
    assert table_quality((tables(70, 1) * 1.02)[None]).item() == pytest.approx(70, abs=1)


def test_between_the_qualities_strength_is_on_a_straight_line():
    strengths = strength_at(FALLING, torch.tensor([1.0, 5.0, 52.5, 100.0]))
    assert strengths.tolist() == pytest.approx([1, 1, 0.5, 0], abs=1e-6)
    assert strength_at([*FALLING[:-1], 0.5], torch.tensor([99.0])).item() == pytest.approx((FALLING[-2] + 0.5) / 2)


def test_network_that_adds_too_much_harms_without_and_not_with_strength(texture):
    """Correction in the right direction, of equal size for all qualities, as by blind networks."""
    truth = torch.from_numpy(texture(64, 64).copy()).float()[None, None] / 255
    right = truth - compress(truth, 40)
    needed = []
    for q in QUALITIES:
        lost = truth - compress(truth, q)
        needed.append(max((right * lost).sum().item() / right.square().sum().item(), 0.0))
    for quality in (90, 95):
        images = compress(truth, quality)
        steps = tables(quality, 1)[None]
        before = psnr(images, truth).item()
        assert psnr(restored(right, images, steps, True), truth).item() < before - 1
        for known in (steps, None):
            assert psnr(restored(right, images, known, True, needed), truth).item() >= before


def test_files_better_left_alone():
    told, blind = ARCNNConfig(strength=FALLING), ARCNNConfig()
    assert [better_alone(told, tables(q, 1)[None]) for q in (5, 80, 97)] == [False, False, True]
    assert [better_alone(blind, tables(q, 1)[None]) for q in (5, 89, 90)] == [False, False, True]
    assert not better_alone(QGCNConfig(), tables(97, 1)[None])


def test_wrong_number_of_strengths_is_refused():
    with pytest.raises(ValueError, match="strength has 2 values: give none, or 14, one a quality"):
        ARCNN(ARCNNConfig(strength=(1.0, 0.5)))
