"""Shards: what is written is read back; a run that was cut off goes on; folders do not mix."""

import numpy as np
import pytest

from mriqf.training.groups.degrade import DegradeConfig
from mriqf.training.groups.shards import GROUPS, generate, read_shards, share_of_subjects
from mriqf.training.groups.targets import Pool
from mriqf.training.manifest import content_hash

CONFIG = DegradeConfig(versions=2, families=("noise", "blur", "jpeg"))


@pytest.fixture(scope="module")
def pools(disc):
    return [Pool("discs", list(disc(2, 160, 160)), ["discs/0", "discs/1"], 1.0)]


@pytest.fixture(scope="module")
def folder(pools, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards")
    generate(pools, {"manifest": "m"}, out, GROUPS, 0, config=CONFIG)
    return out


def test_read_back(folder):
    examples = read_shards(folder)
    assert len(examples["image"]) == len(examples["cells"]) == 2 * GROUPS
    assert len(np.unique(examples["group"])) == GROUPS
    for image, cells in zip(examples["image"], examples["cells"], strict=True):
        assert image.dtype == np.uint16 and image.max() > 30000
        assert cells.shape == (2, -(-image.shape[0] // 8), -(-image.shape[1] // 8))
    assert set(examples["family"]) == {"noise", "blur", "jpeg"}
    assert set(examples["subject"]) <= {"discs/0", "discs/1", "shapes"}
    assert (examples["nrmse"] >= 0).all()


def test_a_run_that_was_cut_off_goes_on(pools, folder):
    before = content_hash(folder)
    done = []
    generate(pools, {"manifest": "m"}, folder, GROUPS, 0, config=CONFIG, report=done.append)
    assert content_hash(folder) == before and done == [1]


def test_folders_do_not_mix(pools, folder):
    with pytest.raises(ValueError, match="choose another folder"):
        generate(pools, {"manifest": "other"}, folder, GROUPS, 0, config=CONFIG)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no shards"):
        read_shards(tmp_path)


def test_share_of_subjects():
    subjects = np.array(["a/0", "a/1", "b/0", "b/1", "shapes", "train"])
    examples = {"image": list(range(6)), "subject": subjects, "group": np.arange(6)}
    few, some = (share_of_subjects(examples, share) for share in (0.25, 0.5))
    assert len(few["image"]) == 3 and len(some["image"]) == 4
    assert set(few["subject"]) < set(some["subject"]) and {"shapes", "train"} <= set(few["subject"])
    assert few["image"] == few["group"].tolist()
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        share_of_subjects(examples, 0.0)
