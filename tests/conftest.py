"""Synthetic images and untrained predictors. Imports wait for the fixtures: the annotation checks come in first."""

import jaxtyping
import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def same_draws():
    """The same random weights and images in every run, whichever tests came before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def unchecked():
    """Switch the annotation checks off, to meet the error messages that users meet."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def texture():
    """Maker of 8-bit images that were never compressed: a gradient, shapes and grain; uint8, (h, w) or (h, w, 3)."""
    from scipy.ndimage import gaussian_filter

    def make(height=160, width=160, *, seed=0, grain=12.0, channels=None):
        rng = np.random.default_rng(seed)
        planes = []
        for _ in range(channels or 1):
            blobs = gaussian_filter(rng.standard_normal((height, width)), 6)
            ramp = np.linspace(-30, 30, width) + np.linspace(-20, 20, height)[:, None]
            planes.append(120 + ramp + 40 * blobs / blobs.std() + grain * rng.standard_normal((height, width)))
        pixels = np.stack(planes, -1).clip(0, 255).round().astype(np.uint8)
        return pixels if channels else pixels[..., 0]

    return make


@pytest.fixture(scope="session")
def natural():
    """Maker of 8-bit images whose spectrum falls as a power of frequency, as that of most; uint8, (h, w)."""

    def make(height=128, width=128, *, seed=0):
        rng = np.random.default_rng(seed)
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij"))
        radius[0, 0] = 1
        grain = np.fft.ifft2(np.fft.fft2(rng.standard_normal((height, width))) / radius**1.5).real
        return np.clip(128 + 40 * grain / grain.std(), 1, 254).round().astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def disc():
    """Maker of MR-like volumes, float32 (s, h, w): a textured disc on a noisy background, in arbitrary units."""

    def make(n=1, height=96, width=96, *, seed=0, background=0.02):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        inside = np.hypot(y, x) < 0.75
        tissue = (
            0.6 + 0.2 * np.sin(9 * x + np.arange(n)[:, None, None]) + 0.05 * rng.standard_normal((n, height, width))
        )
        noise = np.hypot(*rng.standard_normal((2, n, height, width))) * background
        return (700 * np.where(inside, tissue.clip(0.1), noise)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def untrained():
    """Maker of predictors with random weights, in evaluation mode; small, and their maps are not flat."""
    from mriqf import QFConfig, QFPredictor

    def make(arch="histogram", channels=1, head="regression", width=16, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = QFPredictor(QFConfig(arch=arch, channels=channels, head=head, width=width))
            torch.nn.init.normal_(model.head.weight, std=1.0)
        return model.eval().requires_grad_(False)

    return make


@pytest.fixture
def weights_file(tmp_path, untrained):
    """Writer of an untrained predictor's weights; gives the path."""
    from mriqf import weights

    def write(name="tiny.safetensors", **config):
        model = untrained(**config)
        card = {"config": weights.config_dict(model.config), "validation": {"mae": 30.0}}
        weights.write(tmp_path / name, model.state_dict(), card)
        return tmp_path / name

    return write


@pytest.fixture
def error_file(tmp_path):
    """Writer of a small error predictor's random weights; gives the path."""
    from mriqf import weights
    from mriqf.predictors.error import ErrorConfig, ErrorPredictor

    def write(name="error.safetensors"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = ErrorPredictor(ErrorConfig((8, 12, 16), spectra=12))
            torch.nn.init.normal_(model.head.weight, std=0.3)
        card = {"network": "error", "config": weights.config_dict(model.config), "validation": {"mae": 0.1}}
        weights.write(tmp_path / name, model.state_dict(), card, force=True)
        return tmp_path / name

    return write


@pytest.fixture
def nrmse_file(tmp_path):
    """Writer of a small NRMSE predictor's random weights; gives the path."""
    from mriqf import weights
    from mriqf.predictors.nrmse import NRMSEConfig, NRMSEPredictor

    def write(name="nrmse.safetensors"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = NRMSEPredictor(NRMSEConfig((8, 12, 16), spectra=12))
            torch.nn.init.normal_(model.cells.weight, std=0.3)
            torch.nn.init.normal_(model.whole[2].weight, std=0.3)
            model.levels.values += torch.tensor([-0.2, -0.3, -0.35, -0.3, -0.1, 0.0, 0.05, 0.1])
        card = {"network": "nrmse", "config": weights.config_dict(model.config), "validation": {"mae": 0.1}}
        weights.write(tmp_path / name, model.state_dict(), card, force=True)
        return tmp_path / name

    return write


@pytest.fixture
def calibrated_file(error_file, disc):
    """Writer of a small error predictor's weights with a calibration beside them, for images like `disc`."""
    from mriqf import load, score
    from mriqf.calibration import Scored, fit
    from mriqf.calibration.file import beside, fingerprint, write

    def make():
        path = error_file()
        model = load(path)
        seen = [s for seed in range(3) for s in score(disc(6, seed=10 + seed), model).slices]
        rng = np.random.default_rng(0)
        ood_features = np.stack([s.ood_features for s in seen])[rng.integers(len(seen), size=160)]
        ood_features += rng.standard_normal(ood_features.shape) * (
            ood_features.std(0) + 0.02 * np.abs(ood_features) + 1e-3
        )
        quality = np.linspace(0, 100, 160)
        nrmse = 0.3 * np.exp(-quality / 40 + 0.2 * rng.standard_normal(160))
        subject = np.array([f"s{k % 4}" for k in range(160)])
        made = fit(Scored(quality, nrmse, 1 - nrmse, subject, ood_features, 1 + 20 * nrmse), weights=fingerprint(model))
        write(beside(path), made)
        return path, made

    return make


@pytest.fixture
def modl_file(tmp_path):
    """Writer of an untrained MoDL's weights; gives the path."""
    import torch

    from mriqf import weights
    from recon import MoDL, MoDLConfig

    def write(name="modl.safetensors", **config):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = MoDL(MoDLConfig(**config))
        card = {"network": "modl", "config": weights.config_dict(model.config), "validation": {"random-4": 30.0}}
        weights.write(tmp_path / name, model.state_dict(), card)
        return tmp_path / name

    return write


@pytest.fixture
def tiny_data(tmp_path, texture):
    """Manifest and root of two training subjects, one to validate and one to test, two slices each."""
    from mriqf.training.manifest import content_hash, read_manifest

    images = np.stack([texture(seed=seed) for seed in range(8)])
    np.savez(tmp_path / "scans.npz", images=images, subject=np.repeat(np.arange(4), 2))
    sha256 = content_hash(tmp_path / "scans.npz")
    splits = {"train": [0, 1], "val": [2], "test": [3]}
    text = 'name = "tiny"\n' + "".join(
        f'[[source]]\npath = "scans.npz"\nsplit = "{split}"\nsubjects = {subjects}\nsha256 = "{sha256}"\n'
        for split, subjects in splits.items()
    )
    (tmp_path / "tiny.toml").write_text(text)
    return read_manifest(tmp_path / "tiny.toml"), tmp_path


@pytest.fixture
def kspace_file(tmp_path):
    """Writer of a k-space predictor's random weights, with or without a calibration beside them; gives the path."""
    from mriqf import weights
    from mriqf.calibration import Scored, fit
    from mriqf.calibration.file import beside, fingerprint, write
    from mriqf.predictors.kspace import KSpaceConfig, KSpacePredictor
    from recon.evidence import CHANNELS, FINDINGS

    def make(name="evidence.safetensors", *, calibrated=False, image_weights=None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = KSpacePredictor(KSpaceConfig(FINDINGS, CHANNELS)).eval()
            for parameter in (model.line.weight, model.last, model.cells.weight):
                torch.nn.init.normal_(parameter, std=0.1)
        card = {"network": "kspace", "config": weights.config_dict(model.config)}
        if image_weights is not None:
            card["image_weights"] = {"name": "other", "fingerprint": image_weights}
        weights.write(tmp_path / name, model.state_dict(), card, force=True)
        if calibrated:
            rng = np.random.default_rng(0)
            score = np.linspace(0, 100, 160)
            nrmse = 0.3 * np.exp(-score / 40 + 0.2 * rng.standard_normal(160))
            features = 3 * rng.standard_normal((160, len(model.mean)))
            subject = np.array([f"s{k % 4}" for k in range(160)])
            scored = Scored(score, nrmse, 1 - nrmse, subject, features, width=np.full((160, 2), 0.2))
            write(beside(tmp_path / name), fit(scored, weights=fingerprint(model)))
        return tmp_path / name

    return make
