"""The score as a loss: what a step descends on, what is measured, the table, and the verdicts."""

import itertools
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf import metrics, weights
from mriqf.jpeg import compress
from mriqf.loss import QFLoss
from mriqf.restore import ARCNN, ARCNNConfig
from mriqf.studies._frame.table import Table, read_table, where
from mriqf.studies.jpeg_report.loss import (
    COLUMNS,
    KEY,
    LossConfig,
    answer,
    arms,
    claims,
    draw_curves,
    draw_pictures,
    load_arms,
    metadata,
    pictures,
    read_parts,
    tasks,
    train_arms,
)
from mriqf.studies.jpeg_report.loss.arms import GUARDS
from mriqf.studies.jpeg_report.loss.measure import describe
from mriqf.training.manifest import content_hash, read_manifest
from mriqf.weights import tensors_hash

NAN = float("nan")


@pytest.fixture
def study(tmp_path, texture, disc, weights_file, monkeypatch):
    """A grey and an RGB manifest, of slices and of photographs, and a configuration of seconds."""
    np.savez(tmp_path / "scans.npz", images=disc(6, 80, 72), subject=np.array([0, 0, 1, 1, 2, 2]))
    lines = ['name = "grey"']
    for split, subject in (("train", 0), ("test", 1), ("val", 2)):
        lines += ["[[source]]", 'path = "scans.npz"', f'split = "{split}"', f"subjects = [{subject}]"]
        lines += [f'sha256 = "{content_hash(tmp_path / "scans.npz")}"']
    (tmp_path / "grey.toml").write_text("\n".join(lines))
    lines = ['name = "rgb"']
    for split, seed in (("train", 0), ("test", 1), ("val", 2)):
        (tmp_path / split).mkdir()
        for k in range(2):
            image = Image.fromarray(texture(72, 90, channels=3, seed=2 * seed + k))
            image.save(tmp_path / split / f"{split}{k}.webp", lossless=True)
        lines += ["[[source]]", f'path = "{split}"', f'split = "{split}"']
        lines += [f'sha256 = "{content_hash(tmp_path / split)}"']
    (tmp_path / "rgb.toml").write_text("\n".join(lines))
    # Small networks in the place of the shipped ones.
    find, files = weights.find, {}
    for channels, colour in ((1, "gray"), (3, "rgb")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            restorer = ARCNN(ARCNNConfig(channels, 4, residual=True))
        restorer_card = {"network": "arcnn", "config": weights.config_dict(restorer.config)}
        files[f"arcnn-{colour}"] = tmp_path / f"arcnn-{colour}.safetensors"
        weights.write(files[f"arcnn-{colour}"], restorer.state_dict(), restorer_card)
        files[f"qf-{colour}"] = weights_file(f"{colour}.safetensors", arch="cui", channels=channels)
        files[f"judge-{colour}"] = weights_file(f"judge-{colour}.safetensors", arch="cui-fov11", channels=channels)
    monkeypatch.setattr(weights, "find", lambda name: find(files.get(str(name), name)))
    config = LossConfig(
        lams=(0.0, 0.5), own_lams=(0.5,), guards=("judge", "colour"), guard_lam=0.2, steps=2, batch=2, patch=64,
        qualities=(10, 30), slices=1, gray_predictors=("qf-gray",), gray_judge="judge-gray", rgb_judge="judge-rgb",
    )  # fmt: skip
    return [tmp_path / "grey.toml", tmp_path / "rgb.toml"], tmp_path, config


def carry_out(folder, study, stop=None):
    manifests, root, config = study
    parts = read_parts(manifests, root, config)
    train_arms(folder, parts, root, config)
    networks = load_arms(folder, parts, config)
    table = Table(folder, KEY, COLUMNS, metadata(folder, parts, config))
    for count in table.run(tasks(parts, networks, config)):
        if count == stop:
            break
    return table.path, parts, networks


def test_every_arm_is_measured_on_every_image(tmp_path, study):
    path, parts, result = carry_out(tmp_path / "out", study)
    columns = read_table(path)
    # JPEG, start, two held to the input, one to its own output, the judge's, and in RGB colour's.
    assert len(columns["psnr"]) == 2 * (1 * 6 + 2 * 7)  # qualities; a slice and two photographs
    assert [part.kind for part in parts] == ["grey", "rgb"]
    assert np.isnan(where(columns, kind="grey")["hue"]).all()
    assert np.isnan(where(columns, kind="grey")["dots"]).all()
    assert ((columns["score"] > 0) & (columns["score"] < 100) & (columns["judge"] != columns["score"])).all()
    assert (where(columns, arm="jpeg")["changed"] == 0).all()
    assert (where(columns, arm="jpeg")["outside"] < 0.01).all()  # what clipping moved
    # A JPEG image's figures, by themselves: the slice is 80×72, of which 80×64 is whole blocks of 16.
    row = where(columns, kind="grey", arm="jpeg", quality=10)
    truth = study_truth(parts[0])
    given = compress(truth, 10)
    assert row["psnr"] == pytest.approx(metrics.psnr(given, truth, metrics.object_mask(truth)).item(), abs=1e-4)
    for name, scorer in (("score", "qf-gray"), ("judge", "judge-gray")):
        assert row[name] == pytest.approx(100 * (1 - QFLoss(scorer)(given).item()), abs=1e-3)
    (tuned,) = [model for arm, model in result.items() if (arm.kind, arm.name, arm.lam) == ("grey", "input", 0.5)]
    image = tuned(given).clamp(0, 1)
    row = where(columns, kind="grey", arm="input", lam=0.5, quality=10)
    assert row["psnr"] == pytest.approx(metrics.psnr(image, truth, metrics.object_mask(truth)).item(), abs=0.1)


def study_truth(part):
    from mriqf.scoring.scale import normalise, volume_scale

    volume = part.inputs.subjects[0].data
    image = normalise(volume.read_slice(part.inputs.subjects[0].slices(1)[0]), volume_scale(volume))[0, :, 4:68]
    return torch.from_numpy(np.round(255 * image) / 255)[None, None]


def test_killed_and_resumed_gives_the_same_table(tmp_path, study):
    whole, *_ = carry_out(tmp_path / "whole", study)
    cut, *_ = carry_out(tmp_path / "cut", study, stop=1)
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cut" / "arms").iterdir()}
    with cut.open("a") as file:
        file.write("grey,arcnn,jpeg")  # a row that was not written whole
    carry_out(tmp_path / "cut", study)
    assert cut.read_bytes() == whole.read_bytes()
    assert kept == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cut" / "arms").iterdir()}

    # An arm that is missing is trained again, to the same weights.
    arm = tmp_path / "cut" / "arms" / "rgb-arcnn-input-0.5.safetensors"
    before = tensors_hash(arm)
    arm.unlink()
    carry_out(tmp_path / "cut", study)
    assert tensors_hash(arm) == before != tensors_hash(arm.with_stem("rgb-arcnn-input-0"))


def test_figures_are_the_same_when_they_are_drawn_again(tmp_path, study):
    path, parts, result = carry_out(tmp_path / "out", study)
    shown = pictures(parts, result, study[2])
    names = ["truth", "jpeg", "start", "input 0", "input 0.5", "own 0.5", "judge 0.2"]
    assert [n.split("/")[-1] for n in shown] == [*names, *2 * [*names[:-1], "judge 0.2", "colour 0.2"]]
    assert shown["rgb/arcnn/test0/truth"].shape == (64, 80, 3)
    for k in "ab":
        draw_curves(read_table(path), tmp_path / f"{k}-curves.png")
        draw_pictures(shown, tmp_path / f"{k}-pictures.png")
    for name in ("curves", "pictures"):
        assert (tmp_path / f"a-{name}.png").read_bytes() == (tmp_path / f"b-{name}.png").read_bytes()
        assert np.ptp(np.asarray(Image.open(tmp_path / f"a-{name}.png").convert("L"))) > 200


def test_each_guard_changes_the_reports_setup_in_what_it_says(study):
    manifests, root, config = study
    parts = read_parts(manifests, root, config)
    config = replace(config, guards=LossConfig().guards)
    result = {(arm.kind, arm.name, arm.lam): arm.recipe for arm in arms(parts, config)}
    plain = replace(result["rgb", "input", 0.5], lam=0.2)
    for guard in GUARDS:
        kind = guard.only or "grey"
        recipe = result[kind, guard.name, 0.2]
        given = {n: v for n, v in guard.changes.items() if n not in ("colour", "judge") or kind == "rgb"}
        assert all(getattr(recipe, name) == value for name, value in given.items() if name != "judge")
        base = plain if kind == "rgb" else replace(result["grey", "input", 0.5], lam=0.2)
        changed = {n for n in vars(recipe) if getattr(recipe, n) != getattr(base, n)}
        assert changed == (
            set(guard.changes) | ({"checkpoint_every", "judge"} if "judge" in guard.changes else set())
        ) - ({"colour"} if kind == "grey" else set())
    assert ("grey", "colour", 0.2) not in result
    assert result["rgb", "own", 0.5].anchor == 1
    assert result["rgb", "own", 0.5].consistency == 0


def test_a_change_is_more_than_a_grey_level_and_a_dot_is_more_than_24(untrained):
    predictor = QFLoss(untrained(arch="cui", channels=3))
    truth = torch.full((1, 3, 64, 64), 100 / 255)
    truth[:, 0] = 140 / 255
    image = truth.clone()
    image[:, 0, :16] += 1 / 255
    image[:, 2, 16:32] -= 2 / 255
    (figures,) = describe(image, truth, truth, [90], (predictor, predictor))
    assert (figures["changed"], figures["dots"]) == (0.25, 0)
    image[:, 2, :8] += 60 / 255  # Cb rises by half of it
    (figures,) = describe(image, truth, truth, [90], (predictor, predictor))
    assert figures["dots"] == 0.125
    assert figures["outside"] > 0
    assert figures["score"] == figures["judge"]


@pytest.mark.parametrize(("change", "message"), [
    ({"lams": (0.1,)}, "0 among them, the control"),
    ({"lams": (0.0, -1.0)}, "give weights of 0 and more"),
    ({"guards": ("magic",)}, "guards has magic: choose from ramp, "),
    ({"gray_judge": "qf-gray"}, "judge 'qf-gray' is in the loss of arm 'input': choose another judge"),
    ({"side": 32}, "give 64 pixels or more"),
])  # fmt: skip
def test_what_cannot_be_meant_is_said_in_one_line(study, change, message):
    manifests, root, config = study
    config = replace(config, **change)
    with pytest.raises(ValueError, match=message) as error:
        arms(read_parts(manifests, root, config), config)
    assert "\n" not in str(error.value)


def test_manifests_are_one_of_each_kind(study, tmp_path):
    manifests, root, config = study
    shutil.copy(manifests[0], tmp_path / "again.toml")
    with pytest.raises(ValueError, match=r"again\.toml is a second manifest of grey images"):
        read_parts([manifests[0], tmp_path / "again.toml"], root, config)
    text = manifests[1].read_text() + "\n" + manifests[0].read_text().split("\n", 1)[1]
    (tmp_path / "both.toml").write_text(text)
    assert len(read_manifest(tmp_path / "both.toml").sources) == 6
    with pytest.raises(ValueError, match=r"both\.toml has grey and RGB images marked test"):
        read_parts([tmp_path / "both.toml"], root, config)


def test_arms_of_another_recipe_are_refused(tmp_path, study):
    carry_out(tmp_path / "out", (study[0][:1], *study[1:]))
    with pytest.raises(ValueError, match=r"grey-arcnn-input-0\.safetensors was trained otherwise: remove it"):
        carry_out(tmp_path / "out", (study[0][:1], study[1], replace(study[2], seed=1)))


ARMS = (("jpeg", NAN), ("start", NAN), ("input", 0.0), ("input", 0.01), ("input", 1.0), ("all", 0.03))


def synthetic(kind="rgb", subjects=6, **changes):
    """Columns of a table of photographs whose arms, by their λ, change by so much from the others."""
    rng = np.random.default_rng(0)
    base = dict.fromkeys(COLUMNS, 0.1) | {"psnr": 30.0, "ssim": 0.9, "score": 20.0, "judge": 50.0, "hue": 8.0}
    if kind == "grey":
        base |= {"hue": NAN, "dots": NAN}
    rows = []
    for s, quality in itertools.product(range(subjects), (10.0, 20.0)):
        for arm, lam in ARMS:
            row = {"kind": kind, "network": "arcnn", "arm": arm, "lam": lam, "dataset": "d", "subject": f"s{s}"}
            row |= {"slice": 0.0, "quality": quality} | base
            for name, by in changes.items():
                row[name] += by.get(lam, 0.0) * (1 + 0.01 * rng.normal())
            rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def verdict(columns):
    return claims(columns)[0].holds


def setting(columns):
    return claims(columns)[1]


def test_verdicts_follow_the_table():
    small, large, loss = {0.01: 0.1, 1.0: -1.0}, {0.01: 0.1, 1.0: 0.5}, {0.01: -0.1, 1.0: -0.5}
    assert verdict(synthetic("grey", psnr=small)) is True
    assert verdict(synthetic("grey", psnr=large)) is False  # more than a small gain
    assert verdict(synthetic("grey", psnr=loss)) is False  # none
    assert verdict(synthetic("grey", psnr=loss, ssim={0.01: 0.01})) is True
    assert verdict(synthetic("grey", psnr=small, subjects=2)) is None

    rises, turns = {1.0: 30.0}, {1.0: 5.0}
    assert verdict(synthetic(score=rises, hue=turns)) is True
    assert verdict(synthetic(score=rises, hue={1.0: -5.0})) is False
    assert verdict(synthetic(score={1.0: -30.0}, hue=turns)) is False
    assert verdict(synthetic(score={0.01: 30.0}, hue=turns)) is False  # not at the same λ
    text = answer(synthetic(score=rises, hue=turns))
    assert "Against λ = 0 the score rises at λ = 1, and falls at no λ." in text
    assert "The hue shift is above the JPEG image's own at λ = 1." in text
    assert "Against λ = 0 the PSNR gains more than 0.3 dB at no λ." in text
    large = answer(synthetic("grey", psnr=large, ssim={0.01: 1e-6}))
    assert "Against λ = 0 the PSNR gains more than 0.3 dB at λ = 1." in large
    assert "Against λ = 0 the SSIM rises at no λ" in large  # not as far as it is printed
    assert re.search(r"`input`, λ = 1 \| \+0.00 \[\+0.00, \+0.00\] \| \+0.0000 \[.*\] \| \+(29|30)\.\d \[", text)
    assert "hue" not in answer(synthetic("grey", psnr=small)).split("## grey")[1]


def test_a_setting_helps_if_the_judge_says_so_and_nothing_is_lost():
    better = {0.03: 1.0}
    assert setting(synthetic("grey", judge=better)).holds is True
    assert "`all`, λ = 0.03: judge +1.0" in setting(synthetic("grey", judge=better)).measured
    assert setting(synthetic("grey", score=better)).holds is False  # the predictor itself is no judge
    assert setting(synthetic("grey", judge=better, psnr={0.03: -0.04})).holds is True
    assert setting(synthetic("grey", judge=better, psnr={0.03: -0.06})).holds is False
    assert setting(synthetic("grey", judge=better, subjects=2)).holds is None
    assert setting(synthetic(judge=better)).holds is True
    assert setting(synthetic(judge=better, hue={0.03: 0.2})).holds is False
    assert setting(synthetic(judge=better, dots={0.03: 0.01})).holds is False


def test_both_kinds_are_answered_and_a_table_with_holes_is_refused():
    both = {k: np.concatenate([synthetic("grey")[k], synthetic("rgb")[k]]) for k in synthetic()}
    names = ["A9 grey, arcnn", "A9 setting, grey, arcnn", "A9 RGB, arcnn", "A9 setting, RGB, arcnn"]
    assert [c.name for c in claims(both)] == names
    with pytest.raises(ValueError, match="let the study end"):
        answer({name: column[:-1] for name, column in both.items()})
