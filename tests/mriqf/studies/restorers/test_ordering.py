"""The study of the papers' ordering claims: arms differ in one thing, and verdicts follow from the table."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf import weights
from mriqf.cli import main
from mriqf.jpeg import compress, tables
from mriqf.metrics.jpeg import psnr
from mriqf.restore import QAIRNConfig, QGACConfig, QGCNConfig
from mriqf.studies._frame.table import Table, read_table
from mriqf.studies.restorers.ordering import (
    COLUMNS,
    KEY,
    OrderingConfig,
    answer,
    draw_gains,
    load_arms,
    metadata,
    photographs,
    tasks,
    train_arms,
)
from mriqf.studies.restorers.ordering import arms as study
from mriqf.studies.restorers.ordering.arms import ARMS, SMALL, chosen, model_config, recipe, weights_path
from mriqf.studies.restorers.ordering.claims import CLAIMS, Verdict, gains, judge
from mriqf.studies.restorers.ordering.measure import central
from mriqf.studies.restorers.restoration.protocols import FBCNN
from mriqf.studies.restorers.restoration.study import read_photograph
from mriqf.training.manifest import content_hash, read_manifest

TINY = {
    "qgcn": QGCNConfig(width=4, blocks=1, global_width=1),
    "qgac": QGACConfig(width=4, growth=2, frequency_width=64, chroma_width=2, manifold=2),
    "qairn": QAIRNConfig(widths=(4, 4, 4, 4), blocks=1),
}
CONFIG = OrderingConfig(steps=2, batch=2, patch=16, qualities=(10, 90), side=32)
FEW = dataclasses.replace(CONFIG, only=("qairn",))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Networks of nothing."""
    for family, config in TINY.items():
        monkeypatch.setitem(study.SMALL, family, (SMALL[family][0], config))


@pytest.fixture(scope="module")
def data(tmp_path_factory, texture):
    """Manifest, and root of two photographs to train on, and three and an MR image that are measured."""
    root, text = tmp_path_factory.mktemp("data"), 'name = "set"\n'
    np.savez(root / "mr.npz", images=np.stack([texture(64, 64)]))
    for path, split in {"a": "train", "b": "val", "mr.npz": "val"}.items():
        for seed in range(2 if split == "train" else 3):
            if "." not in path:
                (root / path).mkdir(exist_ok=True)
                pixels = texture(56, 40 + 8 * seed, seed=ord(path) + seed, channels=3, grain=3.0)
                Image.fromarray(pixels).save(root / path / f"{seed}.webp", lossless=True)
        text += f'[[source]]\npath = "{path}"\nsplit = "{split}"\nsha256 = "{content_hash(root / path)}"\n'
    (root / "set.toml").write_text(text)
    return read_manifest(root / "set.toml"), root


def test_arms_differ_in_one_thing_only():
    config = OrderingConfig()
    for arm in ARMS:
        whole = next(a for a in ARMS if a.name == arm.family)
        recipes = [dataclasses.asdict(recipe(a, 3, config)) for a in (whole, arm)]
        models = [dataclasses.asdict(model_config(a, config)) for a in (whole, arm)]
        assert {k: v for k, v in recipes[1].items() if v != recipes[0][k]} == (
            {} if arm.quality is None else {"worst": arm.quality, "best": arm.quality}
        )
        assert {k: v for k, v in models[1].items() if v != models[0][k]} == arm.model
        assert bool(arm.changed) == (arm is not whole)
    # What EDSR lacks more than QCN is that it is told the table, and nothing else.
    qcn, edsr = (dict(next(a for a in ARMS if a.name == name).model) for name in ("qcn", "edsr"))
    assert edsr == qcn | {"quantisation": False}
    plain = {dataclasses.astuple(recipe(a, 0, config)) for a in ARMS if a.quality is None}
    assert len(plain) == 1  # the same budget in all families


def test_claims_ask_for_arms_and_qualities_that_are_measured():
    names = {arm.name for arm in ARMS}
    asked = {cell for claim in CLAIMS for comparison in claim.comparisons for cell in comparison.cells}
    assert {arm for arm, _ in asked} == names
    assert {quality for _, quality in asked} == set(OrderingConfig().qualities)


def test_families_and_seeds_are_chosen():
    config = OrderingConfig(only=("qairn", "qgcn"), seeds=(4, 5))
    assert {arm.family for arm, _ in chosen(config)} == {"qairn", "qgcn"}
    assert [seed for arm, seed in chosen(config) if arm.name == "qcn"] == [4, 5]
    assert len(chosen(OrderingConfig())) == len(ARMS)
    for seeds in ((), (1, 1)):
        with pytest.raises(ValueError, match=r"seeds are .*: give different ones"):
            chosen(OrderingConfig(seeds=seeds))


@pytest.mark.parametrize(("family", "channels"), [("qgcn", 3), ("qgac", 1), ("qairn", 3)])
def test_every_arm_is_trained_as_it_is_called(data, tmp_path, family, channels):
    config = dataclasses.replace(CONFIG, only=(family,), channels=channels, steps=1)
    train_arms(tmp_path, *data, config)
    for arm, seed in chosen(config):
        model, result = weights.load(weights_path(tmp_path, arm, seed)), weights.read(weights_path(tmp_path, arm, seed))
        assert isinstance(model, SMALL[arm.family][0])
        assert model.config == dataclasses.replace(TINY[arm.family], channels=channels, **arm.model)
        assert (result[1]["recipe"]["worst"], result[1]["recipe"]["best"]) == (arm.quality or 5, arm.quality or 95)
        assert result[1]["manifest"]["sha256"] == data[0].sha256


def test_killed_and_started_again_gives_the_same_weights_and_table(data, tmp_path):
    manifest, root = data
    subjects = photographs(manifest, root, FEW)

    def killed(line):
        if line.startswith("qairn-added-0: step 2/"):
            raise KeyboardInterrupt

    result = {}
    for name in ("whole", "cut"):
        folder = tmp_path / name / "arms"
        if name == "cut":
            with pytest.raises(KeyboardInterrupt):
                train_arms(folder, manifest, root, FEW, report=killed)
            assert sorted(p.name for p in folder.iterdir()) == ["qairn-0.safetensors", "qairn-added-0.checkpoint"]
        told = []
        train_arms(folder, manifest, root, FEW, report=told.append)
        assert len(told) == (4 if name == "whole" else 1)
        table = Table(tmp_path / name, KEY, COLUMNS, metadata(folder, manifest, FEW))
        work = tasks(subjects, load_arms(folder, FEW), FEW)
        for count in table.run(work) if name == "cut" else ():
            if count == 2:
                break
        for _ in table.run(work):
            pass
        result[name] = table.path.read_bytes()
    assert result["whole"] == result["cut"]
    assert len(read_table(tmp_path / "cut" / "rows.csv")["arm"]) == 3 * 2 * 2


def test_what_is_trained_is_kept_and_another_recipe_is_refused(data, tmp_path):
    train_arms(tmp_path, *data, FEW)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    train_arms(tmp_path, *data, FEW)
    train_arms(tmp_path, *data, dataclasses.replace(FEW, side=16, split="test", qualities=(50,)))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    for other in ({"steps": 3}, {"lr": 1e-4}, {"channels": 3}):
        with pytest.raises(ValueError, match="was trained otherwise: remove it, or choose another folder"):
            train_arms(tmp_path, *data, dataclasses.replace(FEW, **other))


def test_rows_are_the_networks_own_gains(data, tmp_path):
    manifest, root = data
    train_arms(tmp_path, manifest, root, FEW)
    subjects, arms = photographs(manifest, root, FEW), load_arms(tmp_path, FEW)
    assert [s.name for s in subjects] == ["0", "1", "2"]  # and not the MR image
    (task, *_) = tasks(subjects, arms, FEW)
    rows = dict(zip(task.keys, task.measure(), strict=True))
    truth = FBCNN.reference(central(read_photograph(subjects[0]), 32)[None], False)
    for quality in (10, 90):
        given = compress(truth, quality)
        for arm, network in arms.items():
            restored = (255 * network(given, tables(quality, 1)[None]).clamp(0, 1)).round() / 255
            row = rows["b", "0", quality, *arm]
            assert row["jpeg"] == pytest.approx(psnr(given, truth).item())
            assert row["psnr"] == pytest.approx(psnr(restored, truth).item(), abs=1e-3)
            assert row["parameters"] == sum(p.numel() for p in network.parameters())


def test_middle_is_cut_on_the_grid():
    pixels = torch.arange(70 * 100).remainder(251).to(torch.uint8).reshape(1, 70, 100)
    assert torch.equal(central(pixels, 32), pixels[:, 16:48, 32:64])
    assert torch.equal(central(pixels, 512), pixels[:, :64, :96])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"qualities": ()}, "qualities are none: give different ones, 1 to 100"),
        ({"qualities": (10, 10)}, "qualities are 10, 10"),
        ({"side": 24}, "side is 24: use a multiple of 16"),
        ({"split": "test"}, "manifest set has no photographs marked test: choose another split"),
    ],
)
def test_impossible_measurements_are_refused(data, wrong, says):
    with pytest.raises(ValueError, match=says):
        photographs(*data, dataclasses.replace(CONFIG, **wrong))


def table(changes, seeds=(0,), n=12, arms=ARMS):
    """Rows in which every arm gains 1 dB at every quality and 0.1 dB at 90, but for changes by (arm, quality)."""
    rng, rows = np.random.default_rng(0), []
    jpeg, own = 25 + rng.standard_normal(n), 0.3 * rng.standard_normal(n)
    for arm in arms:
        for quality in (10, 20, 30, 40, 50, 90):
            usual = changes.get(arm.name, 1.0 if quality < 90 else 0.1)
            for seed in seeds:
                noise = rng.standard_normal(n)  # without a mean, so that equal arms are equal
                gain = changes.get((arm.name, quality), usual) + 0.01 * (noise - noise.mean()) + 0.001 * seed
                gain += own * (quality < 90)
                rows += [
                    ("val", f"x{k}", quality, arm.name, seed, jpeg[k] + gain[k], jpeg[k], 1000 + len(arm.model), "")
                    for k in range(n)
                ]
    order = rng.permutation(len(rows))
    return {name: np.array(c)[order] for name, c in zip((*KEY, *COLUMNS), zip(*rows, strict=True), strict=True)}


TRUE = {
    "edsr": 0.6, "qcn": 0.8, "qgcn-q10": -1.0, ("qgcn-q40", 10): 0.2, "qgac-none": 0.9, "qgac-concatenate": 0.8,
    "qgac-frequency": 0.2, "qgac-unfused": -0.5, "qairn": 0.7,
}  # fmt: skip


def named(name):
    return next(claim for claim in CLAIMS if claim.name == name)


def verdicts(columns) -> dict[str, Verdict]:
    return {claim.name: judge(claim, columns)[0] for claim in CLAIMS}


def test_all_claims_hold_where_all_is_as_the_papers_say():
    assert verdicts(table(TRUE)) == dict.fromkeys(("B1", "C1", "C2", "C3", "D1", "D2", "D3", "D4", "D5"), "holds")


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("B1", {"qairn": 0.3}, "does not hold"),
        ("B1", {"qairn": 0.5}, "undecided"),
        ("B1", {"qairn": -0.2, "qairn-added": -0.2}, "does not hold"),  # nothing to lose
        ("C1", {"edsr": 0.9}, "does not hold"),
        ("C1", {"edsr": 0.8}, "undecided"),
        ("C2", {"qcn": 1.0}, "undecided"),
        ("C3", {("qgcn", 50): 0.2}, "does not hold"),  # not flat
        ("C3", {("qgcn-q10", 50): 0.6}, "does not hold"),  # worse than the blind one, better than nothing
        ("C3", {("qgcn-q40", 10): 1.2}, "does not hold"),
        ("D1", {("qgac", 40): -0.7}, "does not hold"),
        ("D2", {"qgac-none": 1.1}, "does not hold"),
        ("D2", {"qgac-concatenate": 1.0}, "undecided"),
        ("D2", {"qgac-concatenate": 1.0, "qgac-none": 1.1}, "does not hold"),
        ("D3", {"qgac-frequency": 0.8}, "does not hold"),  # better, but not much
        ("D4", {"qgac-unfused": 0.9}, "does not hold"),
        ("D4", {"qgac": -0.5}, "does not hold"),
        ("D5", {("qgac", 90): 0.8}, "does not hold"),
        ("D5", {("qgac", 10): -0.8}, "does not hold"),  # nothing to vanish
    ],
)
def test_verdicts_follow_the_table(name, change, says):
    assert judge(named(name), table(TRUE | change))[0] == says


def test_verdicts_need_three_photographs_and_what_is_compared():
    assert set(verdicts(table(TRUE, n=2)).values()) == {"undecided"}
    verdict_of = verdicts(table(TRUE, arms=[arm for arm in ARMS if arm.family == "qgac"]))
    assert {name for name, verdict in verdict_of.items() if verdict == "not measured"} == {"B1", "C1", "C2", "C3"}


def test_differences_are_paired_by_photograph():
    """Photographs differ by far more than the arms do."""
    columns = table(TRUE | {"qgac-none": 0.98})
    none = judge(named("D2"), columns)[1][0]
    assert none.value == pytest.approx(0.02, abs=0.01)
    assert none.high - none.low < 0.05 < gains(columns, "qgac", 10).std()


def test_seeds_are_averaged_and_told():
    columns = table(TRUE, seeds=(0, 200))
    assert gains(columns, "qcn", 20).shape == (2, 12)
    c2 = judge(named("C2"), columns)[1][0]
    assert c2.value == pytest.approx(np.mean(c2.seeds)) and len(c2.seeds) == 2
    d4 = judge(named("D4"), columns)[1][0]
    assert d4.seeds[1] - d4.seeds[0] == pytest.approx(0.2, abs=0.02)
    text = answer(columns)
    assert "what each of 2 seeds gives stands in brackets" in text


def test_answer_tells_sizes_gains_and_verdicts(tmp_path):
    text = answer(table(TRUE | {"qcn": 0.5, "edsr": 0.5}))
    assert "of 12 photographs" in text
    assert "| qcn | no global branch | 1,001 (+0.1 %) | " in text
    assert "| qgcn | | 1,000 | " in text
    (row,) = (line for line in text.splitlines() if line.startswith("| C1 |"))
    assert "qcn less edsr at 10–40: " in row and row.endswith("to be above 0: undecided | **undecided** |")
    draw_gains(table(TRUE), tmp_path / "gains.png")
    assert (tmp_path / "gains.png").read_bytes().startswith(b"\x89PNG")


def test_command_trains_measures_answers_and_serves_another_study(data, tmp_path, capsys):
    _, root = data
    words = ["study", "ordering", str(root / "set.toml"), "--data", str(root), "--side", "32", "--steps", "1"]
    words += ["--batch", "2", "--patch", "16", "--only", "qairn", "--threads", "1", "--qualities", "10", "90"]
    out = tmp_path / "out"
    assert main([*words, "--out", str(out)]) == 0
    streams = capsys.readouterr()
    assert streams.out == (out / "answer.md").read_text(encoding="utf-8")
    assert "| B1 |" in streams.out and "| **not measured** |" in streams.out
    assert "qairn-added-0: step 1/1" in streams.err
    before = (out / "gains.png").read_bytes()
    assert main(["study", "ordering", "--out", str(out)]) == 0
    assert (capsys.readouterr().out, (out / "gains.png").read_bytes()) == (streams.out, before)
    # The same arms on other qualities, in a folder of its own.
    again = [*words[:-2], "20", "--arms", str(out / "arms")]
    assert main([*again, "--out", str(out)]) == 1
    assert "holds a study with config.qualities" in capsys.readouterr().err
    assert main([*again, "--out", str(tmp_path / "other")]) == 0
    assert "qairn-added-0: step" not in capsys.readouterr().err
    assert main(["study", "ordering", str(root / "set.toml"), "--out", str(out)]) == 2
    assert "say with --data where its files are" in capsys.readouterr().err
