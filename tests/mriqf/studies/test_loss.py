"""The score as a loss: what a step descends on, what is measured, the table, and the verdicts."""

import itertools
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from mriqf import metrics, weights
from mriqf.data import content_hash, read_manifest
from mriqf.jpeg import compress
from mriqf.studies.loss import (
    COLUMNS,
    KEY,
    LossConfig,
    answer,
    card,
    claims,
    draw_curves,
    draw_pictures,
    load_arms,
    pictures,
    read_parts,
    tasks,
    train_arms,
)
from mriqf.studies.loss.measure import describe, hue_shift, luma
from mriqf.studies.loss.training import build, draw_batch, read_pools, train, tuning_loss
from mriqf.studies.table import Table, read_table, where
from mriqf.weights import tensors_hash

NAN = float("nan")


@pytest.fixture
def study(tmp_path, texture, disc, weights_file):
    """A grey and an RGB manifest, of slices and of photographs, and a configuration of seconds."""
    np.savez(tmp_path / "scans.npz", images=disc(4, 80, 72), subject=np.array([0, 0, 1, 1]))
    lines = ['name = "grey"']
    for split, subject in (("train", 0), ("test", 1)):
        lines += ["[[source]]", 'path = "scans.npz"', f'split = "{split}"', f"subjects = [{subject}]"]
        lines += [f'sha256 = "{content_hash(tmp_path / "scans.npz")}"']
    (tmp_path / "grey.toml").write_text("\n".join(lines))
    lines = ['name = "rgb"']
    for split, seed in (("train", 0), ("test", 1)):
        (tmp_path / split).mkdir()
        for k in range(2):
            image = Image.fromarray(texture(72, 90, channels=3, seed=2 * seed + k))
            image.save(tmp_path / split / f"{split}{k}.webp", lossless=True)
        lines += ["[[source]]", f'path = "{split}"', f'split = "{split}"']
        lines += [f'sha256 = "{content_hash(tmp_path / split)}"']
    (tmp_path / "rgb.toml").write_text("\n".join(lines))
    config = LossConfig(
        width=8, lams=(0.0, 0.5), pretrain_steps=3, steps=3, batch=2, qualities=(10, 30), slices=1,
        gray_weights=str(weights_file("gray.safetensors", arch="cui")),
        rgb_weights=str(weights_file("rgb.safetensors", arch="cui", channels=3)),
    )  # fmt: skip
    return [tmp_path / "grey.toml", tmp_path / "rgb.toml"], tmp_path, config


def carry_out(folder, study, stop=None):
    manifests, root, config = study
    parts = read_parts(manifests, root, config)
    train_arms(folder, parts, root, config)
    arms = load_arms(folder, parts, config)
    table = Table(folder, KEY, COLUMNS, card(folder, parts, config))
    for count in table.run(tasks(parts, arms, config)):
        if count == stop:
            break
    return table.path, parts, arms


def test_every_arm_is_measured_on_every_image(tmp_path, study):
    path, parts, arms = carry_out(tmp_path / "out", study)
    columns = read_table(path)
    assert len(columns["psnr"]) == (1 + 2) * 2 * (2 + 2)  # a slice and two photographs, qualities, arms
    assert [part.kind for part in parts] == ["grey", "rgb"]
    assert np.isnan(where(columns, kind="grey")["hue"]).all()
    assert ((columns["score"] > 0) & (columns["score"] < 100)).all()
    assert (where(columns, arm="jpeg")["changed"] == 0).all()
    # A JPEG image's figures, by themselves: the slice is 80×72, of which 80×64 is whole blocks of 16.
    row = where(columns, kind="grey", arm="jpeg", quality=10)
    truth = study_truth(parts[0])
    given = compress(truth, 10)
    assert row["psnr"] == pytest.approx(metrics.psnr(given, truth, metrics.object_mask(truth)).item(), abs=1e-4)
    assert row["score"] == pytest.approx(weights.load(study[2].gray_weights)(given).mean().item(), abs=1e-3)
    tuned = arms["grey", "arcnn", 0.5](given).clamp(0, 1)
    row = where(columns, kind="grey", arm="tuned", lam=0.5, quality=10)
    assert row["psnr"] == pytest.approx(metrics.psnr(tuned, truth, metrics.object_mask(truth)).item(), abs=0.1)


def study_truth(part):
    from mriqf.scale import normalise, volume_scale

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
    arm = tmp_path / "cut" / "arms" / "rgb-arcnn-0.5.safetensors"
    before = tensors_hash(arm)
    arm.unlink()
    carry_out(tmp_path / "cut", study)
    assert tensors_hash(arm) == before != tensors_hash(arm.with_stem("rgb-arcnn-0"))


def test_figures_are_the_same_when_they_are_drawn_again(tmp_path, study):
    path, parts, arms = carry_out(tmp_path / "out", study)
    shown = pictures(parts, arms, study[2])
    names = ["truth", "jpeg", "pretrained", "0", "0.5"]
    assert [n.split("/")[-1] for n in shown] == 3 * names
    assert shown["rgb/arcnn/test0/truth"].shape == (64, 80, 3)
    for k in "ab":
        draw_curves(read_table(path), tmp_path / f"{k}-curves.png")
        draw_pictures(shown, tmp_path / f"{k}-pictures.png")
    for name in ("curves", "pictures"):
        assert (tmp_path / f"a-{name}.png").read_bytes() == (tmp_path / f"b-{name}.png").read_bytes()
        assert np.ptp(np.asarray(Image.open(tmp_path / f"a-{name}.png").convert("L"))) > 200


def test_the_loss_is_that_of_the_report(untrained, texture):
    predictor = untrained(width=8)
    before = {name: value.clone() for name, value in predictor.state_dict().items()}
    given = torch.from_numpy(texture(64, 64)).float()[None, None] / 255
    output = (given + 0.02 * torch.randn(given.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    distance, score = functional.l1_loss(output, given), predictor(output.clamp(0, 1)).mean()
    assert tuning_loss(output, given, predictor, 0) == distance
    loss = tuning_loss(output, given, predictor, 0.3)
    assert loss.item() == pytest.approx(distance.item() + 0.3 * (1 - score.item() / 100), abs=2e-3)
    # Descending on the score alone raises it, and leaves the predictor as it was.
    (slope,) = torch.autograd.grad(tuning_loss(output, output.detach(), predictor, 1.0), output)
    assert slope.isfinite().all()
    assert predictor((output - 1e-3 * slope / slope.abs().max()).clamp(0, 1)).mean() > score
    assert all(torch.equal(value, before[name]) for name, value in predictor.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in predictor.parameters())


def test_without_the_score_a_network_goes_back_to_its_input(study, untrained):
    manifests, root, config = study
    (part,) = read_parts(manifests[:1], root, config)
    pools, predictor = read_pools(part, root), untrained(arch="cui")
    model = build("arcnn", "grey", replace(config, width=16))
    config = replace(config, steps=25, pretrain_steps=25, lr=1e-3)
    train(model, pools, [1.0], predictor, None, config)
    with torch.no_grad():
        model.last.bias += 0.05
    losses = train(model, pools, [1.0], predictor, 0.0, config)
    assert losses[-1] < 0.5 * losses[0]
    assert not any(p.requires_grad for p in model.parameters())


def test_batches_are_compressed_truth_and_depend_on_their_generator_alone(study):
    manifests, root, config = study
    (part,) = read_parts(manifests[1:], root, config)
    pools, config = read_pools(part, root), replace(config, batch=6, worst=15, best=16)
    given, truth = draw_batch(pools, [1.0], np.random.default_rng(3), config)
    assert given.shape == truth.shape == (6, 3, 64, 64)
    for one, other in zip(given.split(1), truth.split(1), strict=True):
        assert any(torch.equal(one, compress(other, q)) for q in (15, 16))
    again = draw_batch(pools, [1.0], np.random.default_rng(3), config)
    assert torch.equal(given, again[0])
    assert not torch.equal(given, draw_batch(pools, [1.0], np.random.default_rng(4), config)[0])


def colour(degrees, chroma=40.0, grey=120.0):
    """An image of one colour at an angle around the grey axis."""
    red, other = chroma * np.cos(np.radians(degrees)), chroma * np.sin(np.radians(degrees)) / 3**0.5
    pixel = np.array([grey + 2 * red / 3, grey - red / 3 + other, grey - red / 3 - other])
    return torch.from_numpy(np.broadcast_to(pixel[:, None, None] / 255, (3, 8, 8)).astype(np.float32))[None]


@pytest.mark.parametrize(("hue", "other", "shift"), [(20, 65, 45), (350, 20, 30), (10, 200, 170), (90, 90, 0)])
def test_hue_shift_is_an_angle(hue, other, shift):
    assert hue_shift(colour(other), colour(hue)).item() == pytest.approx(shift, abs=1)
    assert hue_shift(colour(other, chroma=10.0), colour(hue)).item() == pytest.approx(shift, abs=4)  # paler, not turned


def test_lost_colour_counts_as_a_right_angle_and_grey_truth_not_at_all():
    grey = torch.full((1, 3, 8, 8), 0.5)
    assert hue_shift(grey, colour(70)).item() == 90
    assert hue_shift(colour(70), grey).isnan().all()
    half = torch.cat([colour(0)[..., :4], grey[..., :4]], -1)  # only its left half has a hue
    assert hue_shift(colour(60), half).item() == pytest.approx(60, abs=1)
    mixed = torch.cat([colour(0), colour(90)])
    assert hue_shift(mixed, colour(0)).tolist() == pytest.approx([0, 90], abs=1)


def test_a_change_is_more_than_a_grey_level(untrained):
    given = torch.full((1, 3, 64, 64), 100 / 255)
    image = given.clone()
    image[:, 0, :16] += 1 / 255
    image[:, 2, 16:32] -= 2 / 255
    (found,) = describe(image, given, colour(0).repeat(1, 1, 8, 8), untrained(arch="cui", channels=3))
    assert found["changed"] == 0.25
    rgb = colour(200)
    expected = np.asarray(Image.fromarray((255 * rgb[0].permute(1, 2, 0)).round().byte().numpy()).convert("L"))
    assert np.abs(255 * luma(rgb)[0, 0].numpy() - expected).max() < 1


@pytest.mark.parametrize(("change", "message"), [
    ({"lams": (0.1,)}, "0 among them, the control"),
    ({"lams": (0.0, -1.0)}, "give weights of 0 and more"),
    ({"patch": 72}, "a patch in multiples of 16"),
    ({"rgb_weights": "gray_weights"}, "the weights take 1"),
])  # fmt: skip
def test_what_cannot_be_meant_is_said_in_one_line(study, change, message):
    manifests, root, config = study
    change = {name: getattr(config, v) if isinstance(v, str) else v for name, v in change.items()}
    with pytest.raises(ValueError, match=message) as error:
        read_parts(manifests, root, replace(config, **change))
    assert "\n" not in str(error.value)


def test_manifests_are_one_of_each_kind(study, tmp_path):
    manifests, root, config = study
    shutil.copy(manifests[0], tmp_path / "again.toml")
    with pytest.raises(ValueError, match=r"again\.toml is a second manifest of grey images"):
        read_parts([manifests[0], tmp_path / "again.toml"], root, config)
    text = manifests[1].read_text() + "\n" + manifests[0].read_text().split("\n", 1)[1]
    (tmp_path / "both.toml").write_text(text)
    assert len(read_manifest(tmp_path / "both.toml").sources) == 4
    with pytest.raises(ValueError, match=r"both\.toml has grey and RGB images marked test"):
        read_parts([tmp_path / "both.toml"], root, config)


def test_arms_of_another_recipe_are_refused(tmp_path, study):
    carry_out(tmp_path / "out", (study[0][:1], *study[1:]))
    with pytest.raises(ValueError, match=r"grey-arcnn-pretrained\.safetensors was trained otherwise: remove it"):
        carry_out(tmp_path / "out", (study[0][:1], study[1], replace(study[2], seed=1)))


def synthetic(kind="rgb", subjects=6, **changes):
    """Columns of a table of photographs whose fine-tuned arms, at λ = 0.01 and 1, change by so much from λ = 0."""
    rng = np.random.default_rng(0)
    base = {"psnr": 30.0, "ssim": 0.9, "score": 20.0, "hue": 8.0 if kind == "rgb" else NAN, "changed": 0.1}
    rows = []
    for s, quality in itertools.product(range(subjects), (10.0, 20.0)):
        for arm, lam in (("jpeg", NAN), ("pretrained", NAN), ("tuned", 0.0), ("tuned", 0.01), ("tuned", 1.0)):
            row = {"kind": kind, "network": "arcnn", "arm": arm, "lam": lam, "dataset": "d", "subject": f"s{s}"}
            row |= {"slice": 0.0, "quality": quality} | base
            for name, by in changes.items():
                row[name] += by.get(lam, 0.0) * (1 + 0.01 * rng.normal())
            rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def verdict(columns):
    (claim,) = claims(columns)
    return claim.holds


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
    assert re.search(r"\| λ = 1 \| \+0.00 \[\+0.00, \+0.00\] \| \+0.0000 \[.*\] \| \+(29|30)\.\d \[", text)
    assert "hue" not in answer(synthetic("grey", psnr=small)).split("## grey")[1]


def test_both_kinds_are_answered_and_a_table_with_holes_is_refused():
    both = {k: np.concatenate([synthetic("grey")[k], synthetic("rgb")[k]]) for k in synthetic()}
    assert [c.name for c in claims(both)] == ["A9 grey, arcnn", "A9 RGB, arcnn"]
    with pytest.raises(ValueError, match="let the study end"):
        answer({name: column[:-1] for name, column in both.items()})
