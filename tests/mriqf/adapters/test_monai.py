"""The score in dictionaries, as MONAI's transforms pass them on; MONAI itself is not needed, but for the last test."""

import numpy as np
import pytest
import torch

import mriqf
from mriqf.adapters.monai import QFScored


@pytest.fixture
def volume(disc):
    """A volume as NIfTI and MONAI have it, x first: what is wide is not what is high."""
    return disc(3, 96, 80).T


def test_adds_the_score_that_the_volume_has(volume, untrained):
    model = untrained()
    given = {"image": torch.from_numpy(volume.copy())[None], "name": "a"}
    found = QFScored("image", model)(given)
    assert set(given) == {"image", "name"}
    assert found.pop("image_score") == pytest.approx(mriqf.score(volume.T, model).value, abs=1e-4)
    assert found == given  # the very same image


def test_maps_lie_on_their_image(volume, untrained):
    model = untrained()
    found = QFScored(["image", "slice"], model, maps=True)({"image": volume[None], "slice": volume[None, ..., 0]})
    assert found["image_map"].shape == (1, *volume.shape)
    assert found["slice_map"].shape == (1, *volume.shape[:2])
    expected = mriqf.score(volume.T, model).map
    np.testing.assert_allclose(found["image_map"][0].numpy().T, expected, atol=1e-3)


def test_missing_keys_are_named_or_passed_over(volume, untrained):
    given = {"image": volume[None]}
    with pytest.raises(KeyError, match=r"'other' is not in the dictionary \(image\)"):
        QFScored(("image", "other"), untrained())(given)
    found = QFScored(("image", "other"), untrained(), allow_missing_keys=True)(given)
    assert set(found) == {"image", "image_score"}


@pytest.mark.parametrize("shape", [(80, 96), (2, 80, 96), (1, 2, 80, 96, 3)])
def test_other_shapes_are_refused(shape, untrained):
    with pytest.raises(ValueError, match=r"image has shape \(.*\): give \(1, x, y\) or \(1, x, y, z\)"):
        QFScored("image", untrained())({"image": np.ones(shape, np.float32)})


def test_an_image_that_cannot_be_scored_is_named_by_its_cause(untrained):
    with pytest.raises(ValueError, match="empty"):
        QFScored("image", untrained())({"image": torch.zeros(1, 64, 64)})


@pytest.mark.filterwarnings("ignore")  # MONAI's own
def test_in_a_pipeline_of_monai_it_is_the_score_of_the_file(volume, untrained, tmp_path):
    transforms = pytest.importorskip("monai.transforms", exc_type=ImportError)
    import nibabel

    path, model = tmp_path / "scan.nii.gz", untrained()
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    steps = [transforms.LoadImaged("image"), transforms.EnsureChannelFirstd("image"), QFScored("image", model)]
    found = transforms.Compose(steps)({"image": str(path)})
    assert found["image_score"] == pytest.approx(mriqf.score(str(path), model).value, abs=1e-3)
