"""ONNX files give what torch gives, at every size, and what is written of scoring around them gives the score."""

import json
import math
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import mriqf
from mriqf import weights
from mriqf.adapters.onnx import export
from mriqf.metrics.foreground import foreground_mask
from mriqf.predictors.error import LEAST, MOST
from mriqf.predictors.inference import predict_map
from mriqf.restore import ARCNN, QAIRN, QGCN, SRCNN, ARCNNConfig, QAIRNConfig, QGCNConfig, SRCNNConfig
from mriqf.scoring.pooling import cell_weight
from mriqf.scoring.scale import volume_scale
from mriqf.scoring.slices import score_slices
from mriqf.tiles import padding

pytestmark = pytest.mark.usefixtures("unchecked")  # the checks look at sizes, which are no numbers while torch traces
SIZES = [(1, 64, 64), (3, 96, 128), (2, 101, 77), (1, 160, 72)]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def run(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"images": images}), strict=True))


@pytest.mark.parametrize(
    "config",
    [{}, {"channels": 3}, {"arch": "cui", "head": "classes"}, {"arch": "cui-fov13"}],
    ids=["histogram", "rgb", "classes", "fov13"],
)
def test_predictor_has_its_map(tmp_path, weights_file, config):
    path = weights_file(**config)
    told = export(path, tmp_path / "a.onnx")
    model = mriqf.load(path)
    for b, h, w in SIZES:
        images = noise(b, model.config.channels, h, w)
        found = run(tmp_path / "a.onnx", images)
        expected = predict_map(model, torch.from_numpy(images)).numpy()
        assert found.keys() == {"quality"}
        np.testing.assert_allclose(found["quality"], expected, atol=0.01, rtol=0)  # of 100: 1e-4 of the range
        assert expected.std() > 0.1
    assert told["stride"] == str(model.stride)
    assert told["least_side"] == str(model.receptive_field)
    assert told["pool"] == "foreground"
    assert told["unit"] == "JPEG quality"
    assert told["input"].startswith(f"images (batch, {model.config.channels}, height, width)")


def ramp(b, h, w):
    return noise(b, 1, h, w) * np.linspace(0, 1, w, dtype=np.float32)


@pytest.fixture
def error_weights(tmp_path, error_file):
    """An error predictor whose map of such images leaves the range of scores at both of its ends."""
    tensors, card = weights.read(error_file())
    errors = mriqf.load(error_file()).log_error(torch.from_numpy(ramp(1, 128, 128)))
    low, span = math.log10(LEAST), math.log10(MOST / LEAST)
    first, last = (torch.logit((errors.quantile(q) - low) / span) for q in (0.2, 0.8))
    best, worst = (torch.logit(torch.tensor((e - low) / span)) for e in (-2.2, -0.3))
    slope = (worst - best) / (last - first)
    tensors["head.weight"] = slope * tensors["head.weight"]
    tensors["head.bias"] = slope * (tensors["head.bias"] - first) + best
    weights.write(tmp_path / "wide.safetensors", tensors, card)
    return tmp_path / "wide.safetensors"


def test_error_predictor_has_its_maps(tmp_path, error_weights):
    told = export(error_weights, tmp_path / "a.onnx")
    model = mriqf.load(error_weights)
    seen = []
    for b, h, w in SIZES:
        images = ramp(b, h, w)
        found = run(tmp_path / "a.onnx", images)
        whole = torch.nn.functional.pad(torch.from_numpy(images), padding((h, w), (0, 0), 8), mode="replicate")
        np.testing.assert_allclose(found["log_error"], model.log_error(whole).numpy(), atol=1e-5, rtol=0)
        quality = predict_map(model, torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(found["quality"], quality, atol=0.002, rtol=0)
        seen.append(found["log_error"].ravel())
    values = np.concatenate(seen)
    assert min((values < -2).mean(), (values > np.log10(0.32)).mean()) > 0.05
    assert ((values > -2) & (values < np.log10(0.32))).mean() > 0.05
    assert told["pool"] == "rms"
    assert told["unit"] == "100 - 20 log2(NRMSE / 1 %)"


@pytest.mark.parametrize("kind", ["error", "nrmse"])
def test_file_has_what_a_calibration_needs(tmp_path, error_file, nrmse_file, disc, kind):
    path = error_file() if kind == "error" else nrmse_file()
    told = export(path, tmp_path / "a.onnx")
    model = mriqf.load(path)
    for size in ((96, 128), (101, 77)):
        images = disc(1, *size)[:, None] / 800
        found = run(tmp_path / "a.onnx", images)
        whole = torch.nn.functional.pad(torch.from_numpy(images), padding(size, (0, 0), 8), mode="replicate")
        reading = model.read(whole, torch.ones_like(whole[..., ::8, ::8]))
        np.testing.assert_allclose(found["features"], reading.features.numpy(), atol=1e-3, rtol=1e-3)
        np.testing.assert_allclose(found["log_error"], reading.cells.numpy(), atol=1e-3, rtol=0)
        if kind == "error":
            assert found.keys() == {"quality", "log_error", "features"}
        else:
            assert json.loads(told["levels"]) == [*model.levels.points()]
            width = model.levels.width(reading.whole, *torch.from_numpy(found["width"]).T)
            np.testing.assert_allclose(width.numpy(), reading.width.numpy(), atol=1e-4, rtol=1e-3)
    assert ("width: " in told["output"]) == (kind == "nrmse")


def test_shipped_default(tmp_path, disc):
    export("qf-mri", tmp_path / "a.onnx")
    images = disc(2, 120, 104)[:, None] / 700
    found = run(tmp_path / "a.onnx", images)["quality"]
    expected = predict_map(mriqf.load("qf-mri"), torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=0.01, rtol=0)
    assert expected.std() > 1


@pytest.mark.parametrize("kind", ["histogram", "error"])
def test_score_by_hand(tmp_path, weights_file, error_file, disc, kind):
    """By what the module says of what comes before and after, from the file alone."""
    path = error_file() if kind == "error" else weights_file()
    export(path, tmp_path / "a.onnx")
    told = {p.key: p.value for p in onnx.load(tmp_path / "a.onnx").metadata_props}
    raw = np.pad(disc(2, 90, 100) + 20, ((0, 0), (8, 6), (3, 0)))  # noise above zero, on an empty canvas

    low, high = np.percentile(raw[raw != 0].astype(np.float64), (1, 99.9))
    low = 0 if told["low"] == "zero" else low
    cut = raw[:, 8:-6, 3:]
    images = np.clip((cut - low) / (high - low), 0, 1).astype(np.float32)[:, None]
    volume = mriqf.io.from_array(raw)
    model = mriqf.load(path)
    scale = volume_scale(volume)
    scale = scale.from_zero() if kind == "error" else scale
    expected = [s.value for s in score_slices(volume.read_slice, [0, 1], model, scale=scale)]
    for k, found in enumerate(zip(*run(tmp_path / "a.onnx", images).values(), strict=True)):
        inside = foreground_mask(images[k], scale.threshold)
        weight = cell_weight(torch.from_numpy(inside[None]), int(told["stride"]))[0, 0].numpy()
        if told["pool"] == "foreground":
            score = (found[0][0] * weight).sum() / weight.sum()
        else:
            square = 10 ** (2 * np.minimum(found[1][0].astype(np.float64), 0))
            score = 100 - 20 * np.log2(np.sqrt((square * weight).sum() / weight.sum()) / 0.01)
            assert 0 < score < 100
        assert score == pytest.approx(expected[k], abs=0.01)


@pytest.mark.parametrize(
    ("name", "network", "config"),
    [
        ("arcnn", ARCNN, ARCNNConfig(channels=1)),
        ("srcnn", SRCNN, SRCNNConfig(channels=3)),
        ("qairn", QAIRN, QAIRNConfig(channels=1, widths=(4, 4, 8, 8), blocks=1)),
    ],
)
def test_restorer_restores(tmp_path, name, network, config):
    model = network(config)
    card = {"network": name, "config": weights.config_dict(config)}
    weights.write(tmp_path / "a.safetensors", model.state_dict(), card)
    export(tmp_path / "a.safetensors", tmp_path / "a.onnx")
    for b, h, w in SIZES:
        images = noise(b, config.channels, h, w)
        with torch.inference_mode():
            expected = model(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(run(tmp_path / "a.onnx", images)["restored"], expected, atol=1e-5, rtol=0)


def test_file_says_what_it_is_and_stays_the_same(tmp_path, weights_file):
    told = export(weights_file("mine.safetensors"), tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {p.key: p.value for p in model.metadata_props} == told
    assert told["weights"] == "mine"
    assert told["mriqf"] == mriqf.__version__
    assert told["weights_sha256"] == weights.tensors_hash(tmp_path / "mine.safetensors")
    assert "percentile" in model.doc_string
    assert str(tmp_path).encode() not in (tmp_path / "a.onnx").read_bytes()
    export(tmp_path / "mine.safetensors", tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_refusals(tmp_path, weights_file, modl_file, monkeypatch):
    network = QGCN(QGCNConfig(channels=1, width=8, blocks=1))
    card = {"network": "qgcn", "config": weights.config_dict(network.config)}
    weights.write(tmp_path / "qgcn.safetensors", network.state_dict(), card)
    for path, kind in ((modl_file(), "MoDL"), (tmp_path / "qgcn.safetensors", "QGCN")):
        with pytest.raises(ValueError, match=rf"are a {kind}'s, which ONNX cannot hold here: choose those of a pred"):
            export(path, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()
    export(weights_file(), tmp_path / "a.onnx")
    with pytest.raises(FileExistsError, match=r"a\.onnx exists"):
        export(weights_file("other.safetensors"), tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"export needs onnx .*: pip install onnx onnxruntime"):
        export("qf-gray", tmp_path / "b.onnx")
