"""Scores of slices and volumes; the weights are random."""

import dataclasses
import math
import weakref

import nibabel
import numpy as np
import pytest
import torch

import mriqf
from mriqf import jpeg
from mriqf.io import from_array
from mriqf.jpeg.lattice import Lattice
from mriqf.predictors.base import load_predictor
from mriqf.predictors.error import ErrorPredictor
from mriqf.predictors.inference import batches, for_inference, read_errors
from mriqf.predictors.unit import score_of_error
from mriqf.scoring import slices
from mriqf.scoring.compression import jpeg_trace
from mriqf.scoring.foreground import content
from mriqf.scoring.pooling import cell_weight
from mriqf.scoring.scale import volume_scale
from mriqf.scoring.scorer import Scorer
from mriqf.scoring.slices import enlarge, score_slices


@pytest.fixture
def seen(monkeypatch):
    """Sizes of the batches that went through a predictor's layers, as they go."""
    sizes = []

    def watch(model):
        forward = type(model).forward if not isinstance(model, ErrorPredictor) else ErrorPredictor.features

        def counted(self, images):
            sizes.append(len(images))
            return forward(self, images)

        monkeypatch.setattr(type(model), forward.__name__, counted)
        return sizes

    return watch


def scored(volume, model, **options):
    options = {"scale": volume_scale(volume)} | options
    return list(score_slices(volume.read_slice, range(volume.n_slices), model, **options))


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_batches_score_as_single_slices(disc, untrained, seen, batch_size):
    volume, model = from_array(disc(7)), untrained()
    sizes = seen(model)
    single, batched = (scored(volume, model, batch_size=n, together=True) for n in (1, batch_size))
    assert sizes == [1] * 7 + [len(range(7)[k : k + batch_size]) for k in range(0, 7, batch_size)]
    for one, other in zip(single, batched, strict=True):
        assert one.index == other.index
        assert one.value == pytest.approx(other.value, abs=1e-3)
        assert one.foreground_fraction == other.foreground_fraction
        np.testing.assert_allclose(one.map, other.map, atol=1e-2)
    assert len({round(s.value, 3) for s in single}) == 7  # slices that all score alike would prove nothing


def test_processors_score_one_slice_at_a_time_to_the_same_bits(disc, untrained, seen):
    volume, model = from_array(disc(5)), untrained()
    sizes = seen(model)
    alone, batched = (scored(volume, model, batch_size=n) for n in (1, 5))
    assert sizes == [1] * 10
    assert [s.value for s in alone] == [s.value for s in batched]
    assert batches(torch.device("cuda"))
    assert not batches(torch.device("cpu"))


@pytest.mark.parametrize("kind", ["jpeg", "mr"])
def test_only_slices_of_one_size_and_grid_go_together(disc, untrained, error_file, seen, monkeypatch, kind):
    stack = disc(7, 112, 120, background=0.02)
    stack[2, :8] = stack[3, :8] = 0  # two slices with an empty edge of eight rows,
    stack[4, :, :3] = 0  # and one of three columns
    volume = from_array(stack)
    model = mriqf.load(error_file()) if kind == "mr" else untrained()
    lattice = Lattice(50, 50, 1000.0, (0, 0)) if kind == "jpeg" else None
    sizes = seen(model)
    masks = {"mask": lambda index: stack[index] > 100 + 10 * index}
    alone = scored(volume, model, lattice=lattice, **masks)
    sizes.clear()
    batched = scored(volume, model, lattice=lattice, together=True, batch_size=7, **masks)
    assert sizes == [2, 2, 1, 2]
    for one, other in zip(alone, batched, strict=True):
        assert one.index == other.index
        assert one.value == pytest.approx(other.value, abs=1e-3)
        np.testing.assert_allclose(one.map, other.map, atol=1e-2)
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.foreground, other.foreground)
        if kind == "mr":
            np.testing.assert_allclose(one.ood_features, other.ood_features, rtol=1e-3, atol=1e-3)
    sizes.clear()
    monkeypatch.setattr(slices, "TOGETHER", 112 * 120 - 1)  # what is larger than memory allows goes alone
    scored(volume, model, lattice=lattice, together=True, batch_size=7)
    assert sizes == [1] * 7


@pytest.mark.parametrize("together", [False, True])
def test_memory_does_not_grow_with_the_slices(disc, untrained, together):
    raw, model = disc(1, 64, 64)[0], untrained(width=8)
    read, alive = [], weakref.WeakSet()

    class Slice(np.ndarray):
        """An array that can be counted."""

        __hash__ = object.__hash__

    def read_slice(index):
        read.append(index)
        image = raw[None].view(Slice) * (1 + index % 7)
        alive.add(image)
        return image

    scale = volume_scale(from_array(raw))
    images, most = [], 0
    for result in score_slices(read_slice, range(200), model, scale=scale, batch_size=4, together=together):
        images.append(weakref.ref(result.image))
        most = max(most, len(alive), sum(ref() is not None for ref in images))
        assert len(read) <= result.index + 4  # nothing is read before its turn
    assert read == list(range(200))
    assert most <= 8


def test_slices_without_foreground_count_for_nothing(disc, untrained):
    volume = disc(4)
    volume[2] = 0
    result = mriqf.score(volume, untrained())
    assert np.isnan(result.per_slice).tolist() == [False, False, True, False]
    assert result.slices[2].foreground_fraction == 0
    fractions = np.array([s.foreground_fraction for s in result.slices])
    kept = [0, 1, 3]
    assert result.value == pytest.approx((result.per_slice * fractions)[kept].sum() / fractions[kept].sum())


def test_score_of_any_kind_of_array(disc, untrained):
    volume, model = disc(2), untrained()
    expected = mriqf.score(volume, model)
    assert expected.per_slice.shape == (2,)
    assert 0 <= expected.value <= 100
    phase = np.exp(1j * np.linspace(0, 6, 96, dtype=np.float32))
    same = [volume.astype(np.float64), torch.from_numpy(volume), volume[:, None], volume * phase, from_array(volume)]
    for images in same:
        np.testing.assert_allclose(mriqf.score(images, model).per_slice, expected.per_slice, atol=0.02)
    alone = mriqf.score(volume[0], model)
    assert len(alone.slices) == 1
    assert alone.slices[0].image.shape == (1, 96, 96)


def test_score_keeps_what_it_took(disc, untrained, weights_file):
    volume = from_array(disc(2))
    result = mriqf.score(volume, weights_file(), pool="minkowski:-2")
    assert result.pool == "minkowski:-2"
    assert result.weights.endswith("tiny.safetensors")
    assert result.scale == volume_scale(volume)
    again = mriqf.score(volume, untrained(), pool="minkowski:-2")
    np.testing.assert_array_equal(again.per_slice, result.per_slice)


def test_chosen_slices_keep_the_scale_of_the_volume(disc, untrained):
    volume, model = disc(6) * np.arange(1, 7, dtype=np.float32)[:, None, None], untrained()
    everything, some = mriqf.score(volume, model), mriqf.score(volume, model, slices=[4, 1])
    assert some.scale == everything.scale
    assert [s.index for s in some.slices] == [4, 1]
    np.testing.assert_allclose(some.per_slice, everything.per_slice[[4, 1]], atol=0.02)


@pytest.mark.parametrize("shape", [(64, 64), (70, 91), (129, 65)])
def test_map_has_the_slices_own_size(disc, untrained, shape):
    (found,) = mriqf.score(disc(1, *shape), untrained()).slices
    assert found.map.shape == found.foreground.shape == shape
    assert found.image.shape == (1, *shape)
    assert found.foreground_fraction == pytest.approx(found.foreground.mean())
    assert 0 <= found.map.min() <= found.value <= found.map.max() <= 100


def test_users_mask_takes_the_place_of_the_foreground(disc, untrained):
    volume, model = disc(3), untrained()
    mask = np.zeros((3, 96, 96), np.uint8)
    mask[:2, :32, :48] = 200
    result = mriqf.score(volume, model, mask=mask)
    np.testing.assert_array_equal(result.slices[0].foreground, mask[0] > 0)
    assert math.isnan(result.per_slice[2])
    maps = mriqf.score(volume, model, mask=np.ones_like(mask))
    assert maps.per_slice == pytest.approx(mriqf.score(volume, model, pool="mean").per_slice, abs=1e-6)
    cells = torch.nn.functional.interpolate(torch.from_numpy(maps.slices[0].map)[None, None], scale_factor=1 / 16)
    assert result.per_slice[0] == pytest.approx(cells[0, 0, :2, :3].mean().item(), abs=5)


@pytest.mark.parametrize("shape", [(2, 96, 96), (3, 96, 95)])
def test_mask_of_another_size(disc, untrained, shape):
    message = (
        rf"mask mask has {shape[0]} slices of 96×{shape[2]}, the image 3 of 96×96: give a mask of the image's size"
    )
    with pytest.raises(ValueError, match=message):
        mriqf.score(disc(3), untrained(), mask=np.ones(shape, bool))


@pytest.mark.parametrize(("channels", "other"), [(3, "qf-mri"), (1, "qf-rgb")])
def test_weights_of_the_other_kind(disc, texture, untrained, channels, other):
    images = disc(1) if channels == 3 else texture(channels=3)
    with pytest.raises(ValueError, match=f"the weights take {channels}: use --weights {other}"):
        mriqf.score(images, untrained(channels=channels))


def test_colour_image(texture, untrained):
    pixels, model = texture(96, 80, channels=3), untrained(channels=3)
    result = mriqf.score(pixels, model)
    assert result.slices[0].foreground.all()
    planes = np.moveaxis(pixels, -1, 0)[None]
    assert mriqf.score(planes, model).value == pytest.approx(result.value, abs=1e-6)
    assert mriqf.score(planes / np.float32(255), model).value == pytest.approx(result.value, abs=0.02)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((64, 64)), "image is empty"),
        (np.full((64, 64), 3.0), "image is constant"),
        (np.eye(64) * np.nan, "NaN or infinite"),
        (np.ones((2, 2, 2, 2, 2)), "is no stack of images"),
        (np.eye(31), "image is 31×31: smaller than 32×32 pixels there is nothing to judge"),
    ],
    ids=["empty", "constant", "nan", "shape", "small"],
)
def test_what_cannot_be_scored_is_said_in_one_line(untrained, images, message):
    with pytest.raises(ValueError, match=message) as caught:
        mriqf.score(images, untrained())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(32, 32), (33, 70), (70, 47), (63, 63)])
def test_small_images_are_continued_by_reflection(disc, error_file, shape):
    """The score is that of the image continued by hand, over the same pixels; what was added is in neither map."""
    model, image = mriqf.load(error_file()), disc(1)[0][tuple(slice(20, 20 + n) for n in shape)]
    result = mriqf.score(image, model)
    (found,) = result.slices
    assert found.map.shape == found.foreground.shape == shape
    assert result.notes == (
        f"{shape[0]}×{shape[1]} pixels, continued by reflection to the 64×64 that the weights see at once",
    )
    lacking = [max(64 - n, 0) for n in shape]
    around = [(n // 2 // 8 * 8, n - n // 2 // 8 * 8) for n in lacking]
    inside = np.pad(np.ones(shape, bool), around)
    wide = found.image[0] if not any(lacking) else np.pad(found.image[0], around, mode="reflect")
    weight = cell_weight(torch.from_numpy((inside & np.pad(found.foreground, around))[None]), 8)
    by_hand = read_errors(for_inference(model), torch.from_numpy(wide[None, None]), weight)
    assert found.error == pytest.approx(10 ** by_hand.whole.item(), rel=1e-6)
    assert found.value == score_of_error(found.error)


def test_images_that_are_large_enough_are_left_alone(disc, untrained):
    model = untrained()
    image, foreground = disc(1, 64, 64), np.ones((64, 64), bool)
    assert enlarge(image, foreground, model)[0] is image
    assert mriqf.score(image, model).notes == ()


def test_pixels_that_are_not_square_are_noted(disc, untrained):
    volume = from_array(disc(1))
    for affine, said in (
        (np.diag([0.5, 0.5, 6, 1]), ()),
        (np.diag([-0.505, 0.5, 6, 1]), ()),
        (np.diag([0.5, 2, 6, 1]), ("pixels are 2×0.5 mm, those of training were square",)),
        (np.array([[0, 0, 3, 0], [0.9, 0, 0, 0], [0, -1.8, 0, 0], [0, 0, 0, 1]]),
         ("pixels are 1.8×0.9 mm, those of training were square",)),
    ):  # fmt: skip
        assert mriqf.score(dataclasses.replace(volume, affine=affine), untrained()).notes == said


def test_everything_that_holds_images_scores_the_same(disc, untrained, tmp_path):
    images, model = disc(3), untrained()
    image = nibabel.Nifti1Image(images.T, np.diag([2.0, 2, 3, 1]))
    nibabel.save(image, tmp_path / "a.nii")
    np.save(tmp_path / "a.npy", images)
    expected = mriqf.score(images, model).per_slice
    mask = images > 300
    masked = mriqf.score(images, model, mask=mask).per_slice
    nibabel.save(nibabel.Nifti1Image(mask.T.astype(np.uint8), image.affine), tmp_path / "mask.nii")
    for given in (tmp_path / "a.nii", str(tmp_path / "a.npy"), image, nibabel.load(tmp_path / "a.nii"),
                  mriqf.read(tmp_path / "a.nii"), torch.from_numpy(images)):  # fmt: skip
        np.testing.assert_array_equal(mriqf.score(given, model).per_slice, expected)
    for given in (tmp_path / "mask.nii", nibabel.load(tmp_path / "mask.nii"), torch.from_numpy(mask)):
        np.testing.assert_array_equal(mriqf.score(images, model, mask=given).per_slice, masked)


def test_unknown_pool(disc, untrained):
    with pytest.raises(ValueError, match="pool is 'median'") as error:
        mriqf.score(disc(1), untrained(), pool="median")
    assert all(kind in str(error.value) for kind in ("foreground", "mean", "center", "minkowski:p", "rms", "auto"))


@pytest.mark.parametrize("batch_size", [2, 5])
def test_error_predictors_score_the_error_of_the_object(disc, error_file, batch_size):
    model, volume = mriqf.load(error_file()), from_array(disc(5))
    scale = volume_scale(volume)
    found = list(score_slices(volume.read_slice, range(5), model, scale=scale, batch_size=batch_size))
    alone = list(score_slices(volume.read_slice, range(5), model, scale=scale, batch_size=1, pool="rms"))
    for one, other in zip(found, alone, strict=True):
        assert one.value == other.value
        np.testing.assert_array_equal(one.ood_features, other.ood_features)
        images = torch.from_numpy(one.image)[None]
        error = 10 ** model.log_error(images)[0, 0].double()
        weight = cell_weight(torch.from_numpy(one.foreground)[None], model.stride)[0, 0]
        square = (weight * error.clamp_max(1).square()).sum() / weight.sum()
        assert one.error == pytest.approx(square.sqrt().item(), rel=1e-4)
        assert one.value == score_of_error(one.error)
        features = model.features(images)[0].double()
        np.testing.assert_allclose(
            one.ood_features[:-7], (features * weight).sum((1, 2)) / weight.sum(), rtol=1e-4, atol=1e-5
        )
        assert one.expected is None
    assert mriqf.score(volume, model).pool == "rms"
    assert mriqf.score(volume, model, pool="mean").pool == "mean"


def test_slices_carry_what_to_expect(disc, calibrated_file):
    path, made = calibrated_file()
    volume = disc(3)
    volume[1] = 0
    result = mriqf.score(volume, path)
    assert result.calibration == made
    first, empty, last = (s.expected for s in result.slices)
    read = score_of_error(result.slices[0].error, clamp=False)
    assert first == made.expect(read, result.slices[0].ood_features)
    assert first.in_domain
    assert last.in_domain
    assert (empty.in_domain, empty.reason, empty.nrmse) == (False, "no foreground", None)
    bare = mriqf.score(volume, path, calibration=None)
    assert bare.calibration is None
    assert [s.expected for s in bare.slices] == [None] * 3
    np.testing.assert_array_equal(bare.per_slice, result.per_slice)


def test_pool_of_errors_needs_errors(disc, untrained):
    with pytest.raises(ValueError, match=r"pool is 'rms', of errors, which .* does not know: choose foreground"):
        mriqf.score(disc(1), untrained(), pool="rms")
    assert mriqf.score(disc(1), untrained()).pool == "foreground"


def test_trace_of_jpeg_survives_a_rescale_and_a_crop(texture):
    pixels = jpeg.compress_pixels(texture(176, 176), 60)[3:, 5:].astype(np.float32)
    volume = np.stack([texture(176, 176)[3:, 5:], pixels])
    lattice = jpeg_trace(from_array(volume * 4), range(2))
    assert (lattice.quality, lattice.phase) == (60, (5, 3))


def test_no_trace_in_continuous_or_uncompressed_data(disc, texture):
    assert jpeg_trace(from_array(disc(1)), range(1)) is None
    assert jpeg_trace(from_array(texture(96, 96)), range(1)) is None
    assert jpeg_trace(from_array(texture(96, 96, channels=3)), range(1)) is None


@pytest.mark.parametrize("around", [(8, 3), (40, 0), (5, 61)])
def test_an_empty_canvas_changes_nothing(disc, untrained, error_file, around):
    volume = disc(2) + np.float32(1e-3)
    padded = np.pad(volume, ((0, 0), around, around[::-1]))
    for model in (untrained(), load_predictor(error_file())):
        found, same = (mriqf.score(v, model, calibration=None) for v in (padded, volume))
        assert np.array_equal(found.per_slice, same.per_slice)
        inner = (slice(around[0], around[0] + 96), slice(around[1], around[1] + 96))
        assert np.array_equal(found.slices[0].map[inner], same.slices[0].map)
        assert found.slices[0].map.shape == padded.shape[1:]
        assert np.array_equal(found.slices[0].foreground[inner], same.slices[0].foreground)
        assert found.slices[0].foreground.sum() == same.slices[0].foreground.sum()


def test_content_is_what_is_not_zero_and_not_too_small():
    raw = np.zeros((1, 100, 90), np.float32)
    assert content(raw, 64) == (slice(0, 100), slice(0, 90))
    raw[0, 30:95, 10:88] = 1
    assert content(raw, 64) == (slice(30, 95), slice(10, 88))
    raw[0, :, 20:] = 0
    assert content(raw, 64) == (slice(30, 95), slice(0, 64))
    assert content(raw, 128) == (slice(0, 100), slice(0, 90))
    raw[0, 90:, 85:] = 1
    raw[0, :90] = 0
    assert content(raw, 64) == (slice(36, 100), slice(10, 90))


def test_scorer_is_made_once(disc, untrained, monkeypatch):
    made = Scorer(untrained(), pool="mean")
    monkeypatch.setattr("mriqf.scoring.scorer.for_inference", None)
    found, alone = mriqf.score(disc(2), made), made.image(disc(2)[1])
    assert found.pool == "mean"
    assert found.map.shape == (2, 96, 96)
    assert np.array_equal(found.map[1], found.slices[1].map)
    assert alone.value == pytest.approx(found.slices[1].value, abs=10)  # on its own scale


def test_earlier_names_of_results(disc, untrained):
    (found,) = mriqf.score(disc(1), untrained()).slices
    assert found.score == found.value
    assert found.quality is found.map
