"""Weights files: a round trip, and one line for whatever is wrong."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mriqf import weights
from mriqf.predictors.base import load_predictor


def one_line(caught):
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arch", ["histogram", "cui"])
def test_round_trip(weights_file, untrained, arch):
    config = {"arch": arch, "channels": 3, "head": "classes"}
    path = weights_file(**config)
    loaded, saved = weights.load(path), untrained(**config)
    assert loaded.config == saved.config
    assert loaded.name == str(path)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(images), saved(images))


def test_metadata_are_json(weights_file):
    with safe_open(weights_file(arch="cui"), "pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == weights.FORMAT
    assert json.loads(metadata["card"])["config"] == {"arch": "cui", "channels": 1, "head": "regression", "width": 16}


def test_read_gives_tensors_and_card(tmp_path):
    tensors = {"a": torch.arange(6).reshape(2, 3), "b": torch.ones(3).half(), "c": torch.rand(4, 3).T}
    card = {"x": [1, None, "é"], "y": {"z": 0.5}}
    weights.write(tmp_path / "a.safetensors", tensors, card)
    read, read_card = weights.read(tmp_path / "a.safetensors")
    assert read_card == card
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[k], tensors[k]) for k in tensors)


def test_write_does_not_replace(tmp_path):
    path = tmp_path / "a.safetensors"
    weights.write(path, {"a": torch.zeros(2)}, {})
    with pytest.raises(FileExistsError, match=r"a\.safetensors exists"):
        weights.write(path, {"a": torch.ones(2)}, {})
    assert weights.read(path)[0]["a"].sum() == 0
    weights.write(path, {"a": torch.ones(2)}, {}, force=True)
    assert weights.read(path)[0]["a"].sum() == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_names_and_hints(tmp_path, monkeypatch, weights_file):
    path = weights_file("qf-tiny.safetensors", arch="cui")
    monkeypatch.setattr(weights, "FOLDERS", (tmp_path,))
    assert weights.names() == ("qf-tiny",)
    assert weights.find("qf-tiny") == path
    assert weights.load("qf-tiny").name == "qf-tiny"
    with pytest.raises(ValueError, match=r"weights 'qf-tyni' not found: did you mean qf-tiny\?"):
        weights.find("qf-tyni")
    for kind in ("gray", "rgb"):
        weights_file(f"tiny-{kind}.safetensors", arch="cui")
    with pytest.raises(ValueError, match=r"weights 'tiny' not found: did you mean tiny-gray or tiny-rgb\?"):
        weights.find("tiny")
    for kind in ("gray", "rgb"):
        (tmp_path / f"tiny-{kind}.safetensors").unlink()
    with pytest.raises(ValueError, match=r"weights 'resnet' not found: shipped are qf-tiny; or give a \.safetensors"):
        weights.load("resnet")
    (tmp_path / "a.txt").write_text("no weights")
    with pytest.raises(ValueError, match="not found"):
        weights.find(tmp_path / "a.txt")


@pytest.mark.parametrize("keep", [0, 7, 100, 5000, -1])
def test_truncated_file(weights_file, keep):
    path = weights_file(arch="cui")
    path.write_bytes(path.read_bytes()[:keep])
    for read in (weights.read, weights.load):
        with pytest.raises(ValueError, match=r"tiny\.safetensors is no mriqf weights file, or is damaged") as caught:
            read(path)
        one_line(caught)


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"format": weights.FORMAT}, {"format": weights.FORMAT, "card": "{"}]
)
def test_foreign_file(tmp_path, metadata):
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(ValueError, match=r"a\.safetensors is no mriqf weights file, or is damaged") as caught:
        weights.load(tmp_path / "a.safetensors")
    one_line(caught)


def test_folder_or_text_for_weights(tmp_path):
    (tmp_path / "a.safetensors").write_text("hello " * 1000)
    with pytest.raises(ValueError, match="is no mriqf weights file"):
        weights.load(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").mkdir()
    with pytest.raises(ValueError, match="not found"):
        weights.load(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"config": {"arch": "cui"}},
        {"config": {"arch": "unet", "channels": 1}},
        {"config": {"depth": 3}},
        {"config": {"channels": 7}},
        {"config": None},
        [],
        "text",
    ],
    ids=str,
)
@pytest.mark.usefixtures("unchecked")
def test_other_models(tmp_path, card):
    path = tmp_path / "a.safetensors"
    weights.write(path, {"a": torch.zeros(2)}, card)
    with pytest.raises(ValueError, match=r"a\.safetensors holds no network of this version") as caught:
        weights.load(path)
    one_line(caught)


def test_a_modl_is_loaded_and_scores_nothing(modl_file):
    from recon import MoDL

    path = modl_file(unrolls=2, features=4)
    model = weights.load(path)
    assert isinstance(model, MoDL)
    assert (model.config.unrolls, model.config.features) == (2, 4)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match=r"modl\.safetensors' are a MoDL's, which scores nothing: choose qf-mri"):
        load_predictor(path)


def test_no_card_can_name_a_class(tmp_path):
    weights.write(tmp_path / "a.safetensors", {"a": torch.zeros(2)}, {"network": "os.path", "config": {}})
    with pytest.raises(ValueError, match="holds no network of this version"):
        weights.load(tmp_path / "a.safetensors")


def test_average_is_linear(tmp_path):
    tensors = [{"a": torch.full((2, 3), float(k)), "n": torch.tensor(k)} for k in (1, 3)]
    first, second, other = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "other"))
    weights.write(first, {f"average.{k}": v for k, v in tensors[0].items()} | {"model.a": torch.zeros(2)}, {"step": 5})
    weights.write(second, tensors[1], {"network": "error", "config": {}, "validation": {"mae": 1.0}})
    mean, card = weights.average([first, second], [0.25, 0.75])
    assert torch.equal(mean["a"], torch.full((2, 3), 2.5))
    assert mean["n"].dtype == torch.int64
    assert "validation" not in card
    assert [part["share"] for part in card["average"]] == [0.25, 0.75]
    same, _ = weights.average([second, second], [0.5, 0.5])
    assert all(torch.equal(same[k], v) for k, v in tensors[1].items())
    weights.write(other, {"a": torch.zeros(1)}, {"network": "error", "config": {}})
    for files, shares, message in (
        ([second, other], [0.5, 0.5], "another network"),
        ([second, second], [0.5, 0.4], "summing to 1"),
        ([second], [0.5, 0.5], "each of the 1 files"),
        ([second, first], [0.5, 0.5], "is a checkpoint"),
    ):
        with pytest.raises(ValueError, match=message):
            weights.average(files, shares)
