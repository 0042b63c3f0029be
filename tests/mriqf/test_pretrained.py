"""The trained weights: right about the quality, and about nothing else."""

import gzip
import itertools
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from properties import relative_error
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

import mriqf
import recon
from mriqf import jpeg, metrics, weights
from mriqf.io import from_array
from mriqf.metrics import jpeg as jpeg_metrics
from mriqf.predictors.unit import error_of_score
from mriqf.restore import restore
from mriqf.scoring.scale import normalise, volume_scale
from mriqf.training.manifest import read_manifest
from recon.simulate import measure

MANIFESTS = Path(__file__).parents[2] / "data_manifests"
QUALITIES = (95, 80, 60, 40, 20)
RESTORERS = ("arcnn", "srcnn", "qgcn", "qgac", "qairn")


def trained(name):
    if name not in weights.names():
        pytest.skip(f"{name} has not been trained yet")
    return weights.load(name)


@pytest.fixture(scope="module")
def gray():
    return trained("qf-gray")


@pytest.fixture(scope="module")
def rgb():
    return trained("qf-rgb")


@pytest.fixture(scope="module")
def head():
    """An MR slice that no training has seen: matplotlib's sample, raw units, (256, 256)."""
    with gzip.open(Path(matplotlib.get_data_path()) / "sample_data" / "s1045.ima.gz") as file:
        return np.frombuffer(file.read(), "<u2").reshape(256, 256).astype(np.float32)


@pytest.fixture(scope="module")
def compressed(head):
    """The same slice at each of `QUALITIES`, in [0, 1]."""
    volume = from_array(head)
    image = torch.from_numpy(normalise(volume.read_slice(0), volume_scale(volume)))[None]
    return jpeg.compress(image.expand(len(QUALITIES), -1, -1, -1), QUALITIES)[:, 0].numpy()


def value(images, model, **options):
    return mriqf.score(images, model, **options).value


@pytest.mark.parametrize("name", weights.names())
def test_card_is_complete(name):
    card = weights.read(weights.find(name))[1]
    manifest = card["manifest"]["name"]
    if card.get("network") not in ("kspace", "nrmse", "varnet"):  # they learn from the manifest of modl
        assert manifest.removeprefix("restore-") in name  # qf-gray and its rivals share one, and so do the restorers
    assert card["manifest"]["sha256"] == read_manifest(MANIFESTS / f"{manifest}.toml").sha256
    if "average" in card:  # of trainings that were validated each
        assert sum(part["share"] for part in card["average"]) == pytest.approx(1)
    elif card.get("network") in ("modl", "varnet"):
        assert all(20 < decibels < 60 for decibels in card["validation"].values())
    elif manifest.startswith("restore-"):
        assert all(0 <= gain < 4 for gain in card["validation"].values())
    else:
        assert card["validation"]["mae"] < 15
    assert card["recipe"]["steps"] > 1000 or card["recipe"]["told"]  # else only its strengths were measured
    assert len(card["commit"]) == 40


def test_untouched_image_is_good(gray, head):
    assert value(head, gray) >= 90


def test_score_is_the_quality(gray, compressed):
    scores = [value(image, gray) for image in compressed]
    assert np.abs(np.subtract(scores, QUALITIES)).mean() <= 6
    assert spearmanr(scores, QUALITIES).statistic == pytest.approx(1)


@pytest.mark.parametrize("k", [0, 2, 4])
def test_black_canvas_changes_little(gray, compressed, k):
    image = compressed[k]
    canvas = np.zeros((384, 384), np.float32)
    canvas[64:320, 64:320] = image
    assert value(canvas, gray) == pytest.approx(value(image, gray), abs=1)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_unit_does_not_matter(gray, head, factor):
    assert value(head * np.float32(factor), gray) == pytest.approx(value(head, gray), abs=1e-3)


def test_number_type_does_not_matter(gray, head, compressed):
    for image in (head, compressed[2]):
        assert value(image.astype(np.float64), gray) == pytest.approx(value(image, gray), abs=1e-3)


def test_company_does_not_matter(gray, compressed):
    volume = np.concatenate([compressed, compressed[:3] ** 0.9])
    together = mriqf.score(volume, gray)
    alone = [mriqf.score(volume, gray, slices=[k]).value for k in range(8)]
    np.testing.assert_allclose(together.per_slice, alone, atol=1e-3)


def test_number_of_threads_does_not_matter(gray, compressed):
    before = torch.get_num_threads()
    try:
        scores = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            scores.append(mriqf.score(compressed, gray).per_slice)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(*scores, atol=1e-3)


def test_map_shows_where(gray, compressed):
    """The left half compressed strongly, the right half lightly."""
    image = compressed[0].copy()
    image[:, :128] = compressed[4][:, :128]
    found = mriqf.score(image, gray).slices[0]
    left, right = (found.map[:, part][found.foreground[:, part]].mean() for part in (slice(96), slice(160, None)))
    assert right > left + 40


def test_position_of_the_jpeg_grid_matters_little(compressed):
    """Whole files have their grid at the first pixel, crops anywhere; at 4, 4 it is misread, as the card says."""
    model = trained("qf-mri")
    for image in compressed[2:]:
        scores = torch.tensor([value(image[k:, k:], model) for k in (0, 1, 2, 3, 5, 6, 7)])
        errors = error_of_score(scores)
        assert errors.max() < 2 * errors.min(), errors


@pytest.fixture(scope="module", params=["modl-knee", "modl", "varnet"])
def network(request):
    """Fast, as `mriqf recon` runs it."""
    return recon.for_inference(trained(request.param))


@pytest.mark.parametrize(("family", "acceleration"), [("random", 4), ("equispaced", 6)])
def test_networks_are_better_than_what_is_not_learned(network, head, family, acceleration):
    """An anatomy and a contrast that were not trained on."""
    problem = measure(head, family, acceleration, seed=0)
    truth = problem.target.abs()
    region = metrics.object_mask(truth)
    methods = (network, recon.l1_wavelet, recon.cg_sense, recon.zero_filled)
    found = [method(problem.kspace, problem.sense).abs() for method in methods]
    decibels = [metrics.psnr(image, truth, region).item() for image in found]
    assert decibels[0] > max(decibels[1:]) + 1


def test_networks_take_any_unit(network, head):
    problem = measure(head, "random", 4, seed=1)
    image = network(problem.kspace, problem.sense)
    for unit in (1e-7, 1e3):  # up to the rounding of bfloat16
        assert relative_error(network(unit * problem.kspace, problem.sense) / unit, image) < 0.01


def test_colour_score_falls_with_the_quality(rgb):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:1:256j, 0:1:256j]
    smooth = np.stack([x, y, 1 - 0.5 * (x + y)])
    grain = np.stack([gaussian_filter(rng.standard_normal((256, 256)), 1.5) for _ in range(3)])
    image = torch.from_numpy((0.2 + 0.6 * smooth + 0.3 * grain).clip(0, 1)).float()[None]
    scores = mriqf.score(jpeg.compress(image.expand(5, -1, -1, -1), QUALITIES).numpy(), rgb).per_slice
    assert (np.diff(scores) < 0).all()
    assert scores[0] - scores[-1] > 40


@pytest.fixture(scope="module")
def mri():
    return trained("qf-mri")


@pytest.fixture(scope="module")
def measured(head):
    """The embedded head as measured by eight coils, at more and more undersampling; no training has seen it."""
    return {r: measure(head, "random", r, 1) for r in (1, 2, 4, 8)}


def falls(scores, least=0.2, floor=15):
    """True if each score is lower than the one before, down to the floor: errors above 19 % are not told apart."""
    return all(b < a - least or (a < floor and b < floor) for a, b in itertools.pairwise(scores))


@pytest.mark.parametrize("method", [recon.zero_filled, recon.cg_sense])
def test_undersampling_lowers_the_score_of_mr(mri, measured, method):
    assert falls([value(method(p.kspace, p.sense).abs()[0, 0].numpy(), mri) for p in measured.values()])


def test_undersampling_lowers_the_score_of_images_that_modl_made(mri, measured):
    # Up to R = 4: at 8 this head's score rises again by two points, as the model card warns.
    modl = recon.for_inference(trained("modl-knee"))
    problems = [measured[r] for r in (1, 2, 4)]
    with torch.no_grad():
        assert falls([value(modl(p.kspace, p.sense).abs()[0, 0].numpy(), mri) for p in problems])


def test_mr_score_does_not_know_the_unit(mri, head):
    assert value(head * 1e-3, mri) == pytest.approx(value(head, mri), abs=0.05)


def restorers(kind):
    return [name for name in weights.names() if name.endswith(kind) and name.split("-")[0] in RESTORERS]


def gain(name, truth, quality):
    """Gain of a restorer over the PSNR of the JPEG of an image, decibels."""
    given, steps = jpeg.compress(truth, quality), jpeg.tables(quality, truth.shape[1])[None]
    found = (255 * restore(weights.load(name), given, steps).clamp(0, 1)).round() / 255
    return (jpeg_metrics.psnr(found, truth) - jpeg_metrics.psnr(given, truth)).item()


@pytest.mark.parametrize("quality", [10, 30])
@pytest.mark.parametrize("name", restorers("-gray"))
def test_restorers_mend_an_mr_slice(name, head, quality):
    volume = from_array(head)
    image = torch.from_numpy(normalise(volume.read_slice(0), volume_scale(volume)))[None]
    assert gain(name, (255 * image).round() / 255, quality) > 0.2


@pytest.mark.parametrize("quality", [10, 30])
@pytest.mark.parametrize("name", restorers("-rgb"))
def test_restorers_mend_a_photograph(name, quality):
    with Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg") as photograph:
        small = np.array(photograph.reduce(2))[40:200, 60:220]  # what its own compression left is averaged away
    truth = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    assert gain(name, truth, quality) > 0.2
