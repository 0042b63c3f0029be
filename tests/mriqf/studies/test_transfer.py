"""The study of the JPEG pretext: arms differ in what they learn from, and the answer follows from the table."""

import dataclasses

import numpy as np
import pytest

from mriqf import weights
from mriqf.predictors.error import ErrorConfig
from mriqf.studies._frame.table import Table, read_table
from mriqf.studies.transfer import COLUMNS, FIGURES, KEY, Config, Sources, answer, metadata, tasks, train_arms
from mriqf.studies.transfer.arms import arms, recipe, weights_path
from mriqf.training.manifest import content_hash

SMALL = Config(
    seeds=(0, 1), steps=2, sides=(64,), pixels=64**2, left_out=("noise",), model=ErrorConfig((4, 6, 8), spectra=4)
)


def degraded(n, texture, subjects):
    rng = np.random.default_rng(0)
    image, error = np.zeros((n, 256, 256), np.float16), np.full((n, 256, 256), -1, np.float16)
    level = np.geomspace(0.02, 0.5, n)
    for k in range(n):
        clean = texture(80, 80, seed=k, grain=0.0) / 255
        image[k, :80, :80] = np.clip(clean + 0.5 * level[k] * rng.standard_normal(clean.shape), 0, 1)
        error[k, 4:76, 4:76] = level[k]
    return {
        "image": image, "error": error, "nrmse": level, "ssim": 1 - level, "shape": np.tile([80, 80], (n, 1)),
        "family": np.array(["noise", "blur"] * (n // 2)), "level": level, "dataset": np.array(["a"] * n),
        "subject": np.array([subjects[k % len(subjects)] for k in range(n)]),
    }  # fmt: skip


@pytest.fixture(scope="module")
def sources(texture):
    pools = [[texture(160, 160, seed=k).astype(np.float32) / 255 for k in range(3)]]
    return Sources(degraded(8, texture, "12"), degraded(4, texture, "3"), pools, [1.0], {"made": "here"})


@pytest.fixture(scope="module")
def folder(sources, tmp_path_factory):
    path = tmp_path_factory.mktemp("pretext")
    train_arms(path, SMALL, sources)
    return path


def test_arms_differ_in_one_thing_only():
    plain = dataclasses.asdict(recipe("scratch", 0, Config()))
    recipes = {arm: dataclasses.asdict(recipe(arm, 0, Config())) for arm, _ in arms(Config())}
    changed = {arm: {k: v for k, v in settings.items() if v != plain[k]} for arm, settings in recipes.items()}
    assert changed["jpeg"] == changed["pretrained"] == changed["scratch"] == {}
    assert changed["scratch-twice"] == {"steps": 1600, "checkpoint_every": 1600}
    assert changed["shuffled"] == {"labels": "shuffled"}
    assert changed["without-ghost"] == {"without": "ghost"}
    assert [arm for arm, _ in arms(Config())].count("pretrained") == 3


def test_pretraining_is_what_the_pretrained_start_from(folder):
    cards = {(arm, seed): weights.read(weights_path(folder, arm, seed))[1]["recipe"] for arm, seed in arms(SMALL)}
    assert cards["pretrained", 1]["start"] == content_hash(weights_path(folder, "jpeg", 1))
    assert cards["scratch", 1]["start"] is None
    a, b = (weights.read(weights_path(folder, "jpeg", seed))[0] for seed in (0, 1))
    assert any(not np.array_equal(a[k], b[k]) for k in a)


def test_what_is_trained_is_kept_and_other_sources_are_refused(folder, sources):
    before = {path: path.read_bytes() for path in folder.rglob("*.safetensors")}
    train_arms(folder, SMALL, sources)
    assert {path: path.read_bytes() for path in folder.rglob("*.safetensors")} == before
    with pytest.raises(ValueError, match="was trained otherwise: remove it"):
        train_arms(folder, SMALL, dataclasses.replace(sources, provenance={"made": "there"}))


def test_killed_and_started_again_gives_the_same_table(folder, tmp_path, texture):
    test = degraded(6, texture, "456")
    np.savez(tmp_path / "test.npz", **test)
    made_from = metadata(folder, SMALL, tmp_path / "test.npz")
    whole, cut = (Table(tmp_path / name, KEY, COLUMNS, made_from) for name in ("whole", "cut"))
    for _ in whole.run(tasks(folder, SMALL, test)):
        pass
    for count in cut.run(tasks(folder, SMALL, test)):
        if count == 3:
            break
    for _ in cut.run(tasks(folder, SMALL, test)):
        pass
    assert whole.path.read_bytes() == cut.path.read_bytes()
    table = read_table(whole.path)
    assert len(table["arm"]) == 6 * len(list(arms(SMALL)))
    np.testing.assert_allclose(table["nrmse"][:6], test["nrmse"], rtol=1e-6)
    assert "JPEG first" in answer(table)
    for name, draw in FIGURES:
        draw(table, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def made_up(noise):
    """A table in which each arm predicts the truth with noise of its own."""
    rng, rows = np.random.default_rng(0), []
    true = np.geomspace(0.01, 0.4, 120)
    for arm, seed in arms(dataclasses.replace(Config(), left_out=("noise", "blur"))):
        predicted = true * 10 ** (noise.get(arm, 0.05) * rng.standard_normal(len(true)))
        for k in range(len(true)):
            rows.append((arm, seed, k, "knee", str(k % 6), ("noise", "blur")[k % 2], 0.5, true[k], predicted[k]))
    columns = list(zip(*rows, strict=True))
    return {name: np.array(c) for name, c in zip((*KEY, *COLUMNS), columns, strict=True)}


@pytest.mark.parametrize(("noise", "said"), [
    ({"scratch": 0.5, "scratch-twice": 0.5}, "against as many MR steps from scratch: +"),
    ({"pretrained": 0.6}, "against as many MR steps from scratch: -"),
    ({}, "no difference"),
])  # fmt: skip
def test_verdict_follows_the_table(noise, said):
    text = answer(made_up({"shuffled": 50, "constant": 50} | noise))
    assert said in text
    assert ("**helps**" in text) == ("scratch" in noise)
    assert ("**hurts**" in text) == ("pretrained" in noise)


def test_families_and_controls_are_judged():
    good = answer(made_up({"shuffled": 50, "constant": 50}))
    assert "All reach 0.60" in good
    assert "**not**" not in good
    bad = answer(made_up({"without-blur": 50, "shuffled": 0.1, "constant": 50}))
    assert "Below 0.6: blur on knee" in bad
    assert "shuffled labels: +0.9" in bad
    assert "**not** within" in bad
