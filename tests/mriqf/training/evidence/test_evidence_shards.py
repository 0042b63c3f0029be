"""Evidence on disk: labelled by true errors, read back, the same bytes after a cut, not mixed with another origin."""

import numpy as np
import pytest
import torch

from mriqf.io.atomic import atomic_path
from mriqf.training.evidence.draw import EvidenceConfig, draw_examples
from mriqf.training.evidence.shards import TARGETS, generate, read_evidence
from mriqf.training.groups.reconstructions import draw_method
from mriqf.training.groups.targets import Pool, Target, TargetConfig, shapes
from mriqf.training.manifest import content_hash
from recon import Sense, birdcage, fft2c
from recon.evidence import CHANNELS, FINDINGS

CONFIG = EvidenceConfig(versions=2, n_coils=(1, 3), families=("zero-filled", "cg-sense"))
SMALL = TargetConfig(smallest=64, largest=72)


@pytest.fixture(scope="module")
def pools(disc):
    return [Pool("discs", list(disc(2, 80, 80)), ["discs/0", "discs/1"], 1.0)]


@pytest.fixture(scope="module")
def folder(pools, tmp_path_factory):
    out = tmp_path_factory.mktemp("evidence")
    generate(pools, {"manifest": "m"}, out, 2 * TARGETS, 0, config=CONFIG, targets=SMALL)
    return out


def test_read_back(folder):
    examples = read_evidence(folder)
    n = len(examples["image"])
    assert n == len(examples["nrmse"]) == len(examples["findings"]) <= 4 * TARGETS
    assert len(np.unique(examples["group"])) == 2 * TARGETS
    assert examples["findings"].shape == (n, len(FINDINGS)) and np.isfinite(examples["findings"]).all()
    for image, cells, channels in zip(examples["image"], examples["cells"], examples["channels"], strict=True):
        grid = tuple(-(-np.array(image.shape) // 8))
        assert image.dtype == np.uint16 and cells.shape == grid and channels.shape == (len(CHANNELS), *grid)
        assert (channels >= 0).all() and 0.1 < channels[0].max() <= 1
    assert set(examples["method"]) <= {"zero-filled", "cg-sense"}
    for cells, nrmse in zip(examples["cells"], examples["nrmse"], strict=True):
        assert np.sqrt(np.square(cells[cells >= 0]).mean()) == pytest.approx(nrmse, rel=0.4, abs=0.003)


def test_a_run_that_was_cut_off_gives_the_same_bytes(pools, folder, tmp_path):
    whole = {path.name: content_hash(path) for path in folder.glob("*.npz")}
    options = {"config": CONFIG, "targets": SMALL}
    generate(pools, {"manifest": "m"}, tmp_path, 2 * TARGETS, 0, start=1, step=2, **options)  # another process's part
    done = []
    generate(pools, {"manifest": "m"}, tmp_path, 2 * TARGETS, 0, report=done.append, **options)
    assert done == [1, 1]
    for name in whole:
        with np.load(folder / name) as one, np.load(tmp_path / name) as other:
            assert all(np.array_equal(one[key], other[key]) for key in one.files)


def test_folders_do_not_mix(pools, folder):
    with pytest.raises(ValueError, match="choose another folder"):
        generate(pools, {"manifest": "other"}, folder, TARGETS, 0, config=CONFIG, targets=SMALL)


def test_other_shards_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no shards"):
        read_evidence(tmp_path)
    with atomic_path(tmp_path / "a.npz") as path:
        np.savez(path, findings=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="no evidence of this version: make it by mriqf data evidence"):
        read_evidence(tmp_path)


def test_all_samples_by_the_true_maps_have_no_error():
    image = shapes((64, 72), np.random.default_rng(1))
    target = Target(image / image[image > 0.1].square().mean().sqrt(), 0.0, "shapes", "shapes")
    config = EvidenceConfig(
        acceleration=1.0, estimated=0.0, partial_fourier=0.0, families=("zero-filled",), noise_std=(0.05, 0.05)
    )
    for example in draw_examples(target, np.random.default_rng(0), config):
        assert example.acceleration == pytest.approx(1, abs=0.2)
        assert example.nrmse < 0.02 + 0.5 * (example.acceleration > 1)


@pytest.mark.parametrize("family", ["zero-filled", "cg-sense", "l1-wavelet", "total-variation", "learned"])
def test_a_method_that_was_drawn_gives_the_same_image_again(family):
    def network(kspace, sense):
        return 2 * sense.adjoint(kspace)

    csm = birdcage(3, (32, 40))
    mask = torch.rand(40, generator=torch.Generator().manual_seed(0)) < 0.6
    kspace = mask * fft2c(csm * shapes((32, 40), np.random.default_rng(1)))
    name, method = draw_method(family, np.random.default_rng(3), [("mine", network)])
    assert name == ("mine" if family == "learned" else family)
    first, again = (method(kspace.clone(), Sense(mask, csm)) for _ in range(2))
    assert torch.equal(first, again) and first.any()
