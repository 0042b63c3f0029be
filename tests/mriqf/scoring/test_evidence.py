"""Scores from k-space: a number that its map and its interval belong to, and readings of images that are known."""

import math

import numpy as np
import pytest
import torch

import mriqf
from mriqf.predictors.base import load_predictor
from mriqf.predictors.inference import fingerprint
from mriqf.predictors.unit import error_of_score, score_of_error
from mriqf.scoring.evidence import KSpaceScorer, choose, read_image
from recon.evidence import CHANNELS, FINDINGS


def seen(disc, error_file):
    return mriqf.score(disc(1, 72, 90), error_file()).slices[0]


def evidence():
    g = torch.Generator().manual_seed(0)
    return torch.rand(len(FINDINGS), generator=g), torch.rand(len(CHANNELS), 72, 90, generator=g)


def test_a_reading_is_that_of_the_score(disc, error_file):
    found = seen(disc, error_file)
    reading = read_image(found)
    assert 10 ** reading.error.item() == pytest.approx(found.error)
    assert reading.cells.shape == reading.weight.shape == (1, 1, 9, 12)
    cell = error_of_score(found.map[8:16, 16:24])
    assert 10 ** reading.cells[0, 0, 1, 2].item() == pytest.approx(np.sqrt(np.square(cell).mean()), rel=1e-4)
    assert reading.weight[0, 0, 1, 2].item() == found.foreground[8:16, 16:24].mean()
    withheld = reading.withheld()
    assert (
        withheld.error.isnan().all() and withheld.cells.isnan().all() and torch.equal(withheld.weight, reading.weight)
    )


def test_scores_of_jpeg_quality_are_no_readings(disc, weights_file):
    reading = read_image(mriqf.score(disc(1), weights_file()).slices[0])
    assert reading.error.isnan().all() and reading.cells.isnan().all() and reading.weight.sum() > 0


def test_number_map_and_interval(disc, error_file, kspace_file):
    reading = read_image(seen(disc, error_file))
    scorer = KSpaceScorer(kspace_file(calibrated=True))
    found = scorer(*evidence(), reading)
    assert found.value == score_of_error(found.error) and found.map.shape == (72, 90)
    assert found.expected is not None and found.expected.in_domain
    assert found.expected.nrmse_low < found.expected.nrmse < found.expected.nrmse_high
    assert KSpaceScorer(kspace_file("b.safetensors"))(*evidence(), reading).expected is None
    wider = scorer(*evidence(), reading, wider=1.5)
    assert wider.error == found.error and wider.expected.nrmse == found.expected.nrmse
    assert wider.expected.nrmse_low < found.expected.nrmse_low < found.expected.nrmse_high < wider.expected.nrmse_high
    other = scorer(*evidence(), reading.withheld())
    assert math.isfinite(other.error) and other.error != found.error


def test_other_evidence_is_refused(disc, error_file, kspace_file):
    findings, channels = evidence()
    with pytest.raises(ValueError, match="trained on other findings"):
        KSpaceScorer(kspace_file())(findings[1:], channels, read_image(seen(disc, error_file)))


def test_it_knows_whose_readings_it_was_trained_with(error_file, kspace_file):
    model = load_predictor(error_file())
    assert KSpaceScorer(kspace_file()).knows(model)
    assert KSpaceScorer(kspace_file(image_weights=fingerprint(model))).knows(model)
    assert not KSpaceScorer(kspace_file(image_weights="of others")).knows(model)


def test_choice(error_file, kspace_file):
    assert choose("none") is None
    assert choose(str(kspace_file())) is not None
    with pytest.raises(ValueError, match=r"no k-space predictor's: train some by mriqf train kspace"):
        choose(str(error_file()))
    with pytest.raises(ValueError, match="not found"):
        choose("nowhere")
