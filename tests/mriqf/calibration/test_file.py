"""Calibrations on disk: exact, whole, and of these weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import mriqf
from mriqf import weights
from mriqf.calibration import Scored, fit
from mriqf.calibration import file as calibration_file
from mriqf.calibration.file import attached, beside, fingerprint, read, write


@pytest.fixture
def model(error_file):
    return mriqf.load(error_file())


def examples(seed=0, reconstructions=True):
    rng = np.random.default_rng(seed)
    score = rng.uniform(5, 95, 120)
    nrmse = 0.3 * np.exp(-score / 40 + 0.2 * rng.standard_normal(120))
    ood_features = rng.standard_normal((120, 4))
    acceleration = 1 + 20 * nrmse if reconstructions else None
    return Scored(score, nrmse, 1 - nrmse, np.array([f"{k % 4}" for k in range(120)]), ood_features, acceleration)


@pytest.mark.parametrize("reconstructions", [True, False])
def test_comes_back_as_it_was(tmp_path, reconstructions):
    made = fit(examples(reconstructions=reconstructions), weights="w")
    write(tmp_path / "a.json", made)
    assert read(tmp_path / "a.json") == made


def test_is_not_replaced(tmp_path):
    made = fit(examples(), weights="w")
    write(tmp_path / "a.json", made)
    with pytest.raises(FileExistsError):
        write(tmp_path / "a.json", made)
    write(tmp_path / "a.json", replace(made, coverage=0.5), force=True)
    assert read(tmp_path / "a.json").coverage == 0.5


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found.pop("nrmse"),
        lambda found: found.update(format="other"),
        lambda found: found.update(coverage=1.5),
        lambda found: found["nrmse"]["values"].reverse(),
        lambda found: found["nrmse"]["knots"].pop(),
        lambda found: found["dissimilarity"].update(low=0.3),
        lambda found: found["dissimilarity"]["spread"].__setitem__(0, 0.0),
        lambda found: found["domain"]["whitener"].pop(),
        lambda found: found["domain"].update(false_alarm="rare"),
        lambda found: found["held_nrmse"].pop(),
        lambda found: found["held_score"].__setitem__(0, float("nan")),
        lambda found: found.update(domain=None),
    ],
)
def test_damage_is_told_in_one_line(tmp_path, damage):
    path = tmp_path / "a.json"
    write(path, fit(examples(), weights="w"))
    found = json.loads(path.read_text())
    damage(found)
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=r"a\.json is no calibration of this version, or is damaged") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "\x00"])
def test_other_files(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match="is no calibration"):
        read(tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"b\.json: there is no such calibration: make it by mriqf calibrate"):
        read(tmp_path / "b.json")


def test_fingerprint_is_of_what_scores_and_nothing_else(error_file, tmp_path):
    one, other = mriqf.load(error_file()), mriqf.load(error_file("other.safetensors"))
    assert fingerprint(one) == fingerprint(other)
    changed = mriqf.load(error_file("changed.safetensors"))
    changed.head.bias.data += 1e-6
    assert fingerprint(changed) != fingerprint(one)
    before = fingerprint(one)
    tensors, card = weights.read(error_file())
    weights.write(tmp_path / "card.safetensors", tensors, card | {"validation": {"mae": 0.0}})
    assert fingerprint(mriqf.load(tmp_path / "card.safetensors")) == before


def test_is_found_beside_its_weights(model, tmp_path):
    assert attached("auto", model, "rms") is None
    path = beside(model.name)
    assert path == tmp_path / "error.calibration.json"
    made = fit(examples(), weights=fingerprint(model))
    write(path, made)
    assert attached("auto", model, "rms") == made
    assert attached(path, model, "rms") == attached(made, model, "rms") == made
    assert attached(None, model, "rms") is attached("none", model, "rms") is None
    assert attached("auto", model, "mean") is None  # other scores, of which it knows nothing


def test_weights_without_a_file_have_none(model):
    model.name = "mine"
    assert beside("mine") is None
    assert attached("auto", model, "rms") is None


def test_other_weights_and_other_pools_are_refused(model):
    made = fit(examples(), weights=fingerprint(model))
    with pytest.raises(ValueError, match="calibration is of scores by pool rms, not mean: choose that pool"):
        attached(made, model, "mean")
    path = beside(model.name)
    write(path, made)
    model.head.bias.data += torch.tensor(1e-3)
    for wanted in (made, path, "auto"):
        with pytest.raises(
            ValueError, match=r"belongs to other weights than .*: make its own by mriqf calibrate"
        ) as caught:
            attached(wanted, model, "rms")
        assert "\n" not in str(caught.value)


def test_shipped_calibrations_belong_to_their_weights():
    for path in weights.FOLDERS[0].glob("*.calibration.json"):
        name = path.name.removesuffix(".calibration.json")
        assert calibration_file.read(path).weights == fingerprint(mriqf.load(name))
