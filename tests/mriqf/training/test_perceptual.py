"""Fine-tuning by the score: what the loss asks for is what happens, truth decides nothing, guards guard."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf import weights
from mriqf.cli import main
from mriqf.jpeg import compress, tables
from mriqf.jpeg.cell import Cell, code, project
from mriqf.loss import QFLoss
from mriqf.restore import ARCNN, ARCNNConfig, load_restorer
from mriqf.training import perceptual
from mriqf.training.manifest import content_hash, read_manifest
from mriqf.training.perceptual import PerceptualConfig, figures, lam_at, tones, train_perceptual, tuning_loss
from mriqf.training.restorer import read_pixels

SHORT = PerceptualConfig(steps=3, checkpoint_every=1, batch=2, patch=16, best=20)
STRONG = PerceptualConfig(steps=40, lr=1e-2, ema=0.9, checkpoint_every=40, batch=4, patch=32, worst=20, best=20)
GREY, RGB = 1, 3


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, texture):
    """Manifest and root of three photographs to train on, and two to validate."""
    root, text = tmp_path_factory.mktemp("photographs"), 'name = "photographs"\n'
    for split, seeds in {"train": (0, 1, 2), "val": (3, 4)}.items():
        (root / split).mkdir()
        for seed in seeds:
            pixels = texture(64, 72, seed=seed, channels=3, grain=3.0)
            Image.fromarray(pixels).save(root / split / f"{seed}.webp", lossless=True)
        text += f'[[source]]\npath = "{split}"\nsplit = "{split}"\nsha256 = "{content_hash(root / split)}"\n'
    (root / "photographs.toml").write_text(text)
    return read_manifest(root / "photographs.toml"), root


@torch.no_grad()
def alert(model, texture):
    """An untrained predictor whose score depends on what it sees, and is 50 on average."""
    channels = model.config.channels
    images = torch.tensor(np.stack([texture(48, 48, seed=k, channels=channels, grain=3.0) for k in range(4)]))
    images = images.permute(0, 3, 1, 2) / 255
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    model.train().logits(images)
    model.head.bias.sub_(model.eval().logits(images).mean())
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory, untrained, texture):
    """Paths, by kind and channels, of a restorer that changes its input, a predictor, and one that likes what the other
    does not."""
    folder, result = tmp_path_factory.mktemp("weights"), {}

    def keep(kind, channels, model, network):
        result[kind, channels] = str(folder / f"{kind}{channels}.safetensors")
        card = {"network": network, "config": weights.config_dict(model.config)}
        weights.write(result[kind, channels], model.state_dict(), card)

    for channels in (GREY, RGB):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = ARCNN(ARCNNConfig(channels, 4, residual=True))
            torch.nn.init.normal_(model.last.weight, std=0.005)
        keep("restorer", channels, model, "arcnn")
        model = alert(untrained(arch="cui-fov11", channels=channels), texture)
        keep("predictor", channels, model, "qf")
        model.head.weight.neg_()
        model.head.bias.neg_()
        keep("opponent", channels, model, "qf")
    return result


@pytest.fixture
def tune(photographs, files, tmp_path):
    """Runner of a fine-tuning: tensors and card of what it writes."""

    def run(config=SHORT, channels=GREY, name="tuned", **options):
        config = replace(config, predictors=config.predictors or (files["predictor", channels],))
        options = {"start": files["restorer", channels], "manifest": photographs[0], "root": photographs[1]} | options
        return weights.read(train_perceptual(out=tmp_path / f"{name}.safetensors", config=config, **options))

    return run


def same(first, second):
    return all(torch.equal(v, second[name]) for name, v in first.items())


class Killed(list):
    def __call__(self, line):
        self.append(line)
        if len(self) == 2:
            raise KeyboardInterrupt


def drawn_with(truth_of):
    """`draw_batch`, but for the truth, which is made anew of what was compressed, the truth and the tables."""

    def draw(*arguments):
        given, truth, steps = perceptual_draw(*arguments)
        return given, truth_of(given, truth, steps), steps

    perceptual_draw = perceptual.draw_batch
    return draw


def other_truth(given, truth, steps):  # noqa: ARG001 (what is drawn)
    return torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))


def other_truth_of_the_same_file(given, truth, steps):
    cell = code(truth, steps)
    result = project(given.flip(3), Cell(cell.centres, tuple(s / 2 for s in cell.steps)))
    assert (result - truth).abs().mean() > 0.01
    return result


def test_truth_is_not_used(tune, monkeypatch):
    expected, _ = tune()
    monkeypatch.setattr(perceptual, "draw_batch", drawn_with(other_truth))
    assert same(expected, tune(name="b")[0])


def test_of_truth_the_cell_guard_knows_the_file_alone(tune, monkeypatch):
    guarded = replace(SHORT, cell=10.0)
    expected, _ = tune(guarded)
    with monkeypatch.context() as patch:
        patch.setattr(perceptual, "draw_batch", drawn_with(other_truth_of_the_same_file))
        assert same(expected, tune(guarded, name="b")[0])
    monkeypatch.setattr(perceptual, "draw_batch", drawn_with(other_truth))
    assert not same(expected, tune(guarded, name="c")[0])


def distance(path, photographs):
    """Mean absolute difference of output and input of validation images, in grey levels."""
    model, (manifest, root) = load_restorer(path), photographs
    channels = model.config.channels
    images = [
        torch.tensor(p).permute(2, 0, 1)[None] / 255 for p in read_pixels(manifest.split("val")[0], root, channels)
    ]
    given = [compress(image, 20) for image in images]
    return np.mean([255 * (model(g) - g).abs().mean().item() for g in given])


def test_without_the_score_the_output_becomes_the_input_and_with_it_the_score_rises(tune, photographs, files, tmp_path):
    control, pleased = (tune(replace(STRONG, lam=lam), name=f"{lam}")[1] for lam in (0.0, 10.0))
    before = distance(files["restorer", GREY], photographs)
    assert before > 1
    assert distance(tmp_path / "0.0.safetensors", photographs) < 0.3 * before
    gained = [card["validation"]["score"] - control["validation"]["score"] for card in (control, pleased)]
    assert gained[1] > 5
    assert distance(tmp_path / "10.0.safetensors", photographs) > distance(tmp_path / "0.0.safetensors", photographs)


def test_anchor_keeps_to_what_the_network_gave_before(tune, files, photographs, tmp_path):
    pixels = next(iter(read_pixels(photographs[0].split("val")[0], photographs[1], GREY)))
    given = compress(torch.tensor(pixels).permute(2, 0, 1)[None] / 255, 20)
    before = load_restorer(files["restorer", GREY])(given)
    drift = []
    for anchor in (0.0, 1.0):
        tune(replace(STRONG, lam=0.1, consistency=1 - anchor, anchor=anchor), name=f"{anchor}")
        now = load_restorer(tmp_path / f"{anchor}.safetensors")(given)
        drift.append(255 * (now - before).abs().mean().item())
    assert drift[0] > 1
    assert drift[1] < 0.5 * drift[0]


def test_cell_guard_keeps_to_the_file(tune):
    free, guarded = (tune(replace(STRONG, lam=10.0, cell=c), name=f"{c}")[1]["validation"] for c in (0.0, 1000.0))
    assert free["outside"] > 0.02
    assert guarded["outside"] < 0.5 * free["outside"]


def test_colour_guard_keeps_the_tones(tune, photographs, tmp_path):
    pixels = next(iter(read_pixels(photographs[0].split("val")[0], photographs[1], RGB)))
    given = compress(torch.tensor(pixels[:64, :64]).permute(2, 0, 1)[None] / 255, 20)
    drift = []
    for weight in (0.0, 100.0):
        tune(replace(STRONG, lam=1.0, colour=weight), RGB, name=f"{weight}")
        restored = load_restorer(tmp_path / f"{weight}.safetensors")(given)
        drift.append(255 * (tones(restored) - tones(given)).abs().mean().item())
    assert drift[0] > 0.5
    assert drift[1] < 0.5 * drift[0]


def test_judge_keeps_the_checkpoint_that_it_scores_highest(tune, files, photographs, tmp_path):
    config = replace(STRONG, steps=20, checkpoint_every=5, lam=1.0)
    judged = replace(config, judge=files["opponent", GREY])
    tensors, card = tune(judged, name="judged")
    judge = [point["judge"] for point in card["curve"]]
    assert judge.index(max(judge)) < len(judge) - 1  # it likes what the loss does not
    assert card["kept"] == {"step": card["curve"][judge.index(max(judge))]["step"], "best": "judge"}
    images = list(read_pixels(photographs[0].split("val")[0], photographs[1], GREY))
    model = load_restorer(tmp_path / "judged.safetensors")
    result = figures(model, images, {"judge": QFLoss(judged.judge)}, [20])
    assert result["judge"] == pytest.approx(max(judge), abs=0.5)  # weights are kept in half precision
    last, card = tune(config)
    assert not same(tensors, last)
    assert "judge" not in card["validation"] and "kept" not in card


@pytest.mark.parametrize("channels", [GREY, RGB])
def test_killed_and_resumed_equals_unbroken(tune, files, tmp_path, channels):
    config = replace(
        SHORT,
        schedule="ramp",
        anchor=0.5,
        cell=1.0,
        colour=float(channels == RGB),
        variants=2,
        drawn=channels == RGB,
        judge=files["opponent", channels],
    )
    unbroken, card = tune(config, channels)
    with pytest.raises(KeyboardInterrupt):
        tune(config, channels, name="cut", report=Killed())
    with pytest.raises(ValueError, match=r"cut\.checkpoint belongs to another recipe: give the same options"):
        tune(replace(config, lam=0.5), channels, name="cut")
    told = []
    resumed, again = tune(config, channels, name="cut", report=told.append)
    assert len(told) == 2  # what was done is not done again
    assert same(unbroken, resumed)
    assert card == again
    assert not (tmp_path / "cut.checkpoint").exists()
    assert not same(unbroken, tune(replace(config, seed=1), channels, name="other")[0])


def test_predictor_of_other_weights_is_another_recipe(tune, files, tmp_path):
    mine = tmp_path / "mine.safetensors"
    for kind in ("predictor", "opponent"):
        mine.write_bytes(weights.find(files[kind, GREY]).read_bytes())
        if kind == "predictor":
            with pytest.raises(KeyboardInterrupt):
                tune(replace(SHORT, predictors=(str(mine),)), report=Killed())
    with pytest.raises(ValueError, match=r"tuned\.checkpoint belongs to another recipe"):
        tune(replace(SHORT, predictors=(str(mine),)))


def test_card_says_what_was_tuned_by_what(tune, files, photographs):
    several = (files["predictor", RGB], files["opponent", RGB])
    tensors, card = tune(replace(SHORT, predictors=several), RGB)
    assert {v.dtype for v in tensors.values()} == {torch.float16}
    assert (card["network"], card["config"]["channels"]) == ("arcnn", RGB)
    assert card["manifest"] == {"name": "photographs", "sha256": photographs[0].sha256}
    recipe = card["recipe"]
    assert recipe["start"] == content_hash(weights.find(files["restorer", RGB]))
    assert recipe["sha256"] == {name: content_hash(weights.find(name)) for name in several}
    gains = {"gain10", "gain20", "gain30", "gain40"}
    assert set(card["before"]) == gains | {"score", "outside", "hue"}
    assert set(card["validation"]) == set(card["before"]) | {"over_start"}
    assert card["validation"]["over_start"] == pytest.approx(
        np.mean([card["validation"][g] - card["before"][g] for g in gains])
    )
    assert card["validation"]["score"] == pytest.approx(50, abs=0.01)  # of a predictor and its opponent


def test_usual_predictors_are_those_of_the_channels(tune, files, monkeypatch):
    monkeypatch.setattr(perceptual, "USUAL", {n: (files["predictor", n],) for n in (GREY, RGB)})
    assert perceptual.PerceptualConfig().predictors == ()
    for channels in (GREY, RGB):
        card = tune(replace(SHORT, steps=1, predictors=()), channels, name=f"{channels}")[1]
        assert card["recipe"]["predictors"] == [files["predictor", channels]]


@pytest.fixture
def terms(texture, files):
    """Maker of what the loss adds to the difference of output and input, RGB: by the config, the output and a step."""
    truth = torch.tensor(texture(32, 32, channels=3)).permute(2, 0, 1)[None] / 255
    given, steps = compress(truth, 20), tables(20, 3)[None]
    score = QFLoss(files["predictor", RGB])

    def make(restored, step=0, **fields):
        config = replace(SHORT, **fields)
        loss = tuning_loss(restored, given, truth, code(truth, steps), score, config, step)
        return (loss - config.consistency * (restored - given).abs().mean()).item()

    return make, given, truth, score


def test_terms_of_the_loss(terms):
    added, given, truth, score = terms
    darker = given - 0.1
    assert added(darker, lam=0.0) == 0
    assert added(darker, lam=0.3) == pytest.approx(0.3 * score(darker).item(), rel=1e-4)
    assert added(truth, lam=0.0, cell=1.0) == pytest.approx(0, abs=1e-6)
    assert added(darker, lam=0.0, consistency=3.0) == pytest.approx(0, abs=1e-6)
    assert added(darker, lam=0.0, consistency=0.0) == 0
    # In the place of what the network gave before, the truth.
    assert added(darker, lam=0.0, anchor=2.0) == pytest.approx(2 * (darker - truth).abs().mean().item(), rel=1e-4)
    far = project(darker, code(truth, tables(20, 3)[None]))
    assert added(darker, lam=0.0, cell=3.0) == pytest.approx(3 * (darker - far).abs().mean().item(), rel=1e-3)
    assert added(darker, lam=0.0, colour=1.0) == pytest.approx(0, abs=1e-6)  # luma alone has changed
    tinted = given + torch.tensor([0.0, 0.0, 0.1])[:, None, None]  # luma rises by 0.0114
    expected = (0.1 - 0.0114) / 1.772 / 2 + 0.0114 / 1.402 / 2
    assert added(tinted, lam=0.0, colour=2.0) == pytest.approx(2 * expected, rel=1e-3)
    noise = given.clone()
    noise[..., ::2, :] += 0.1
    noise[..., 1::2, :] -= 0.1
    assert added(noise, lam=0.0, colour=1.0) == pytest.approx(0, abs=1e-6)


def test_ramp_rises_over_the_first_half(terms):
    added, given, _, score = terms
    config = PerceptualConfig(steps=8, lam=0.4, schedule="ramp")
    assert [lam_at(config, step) for step in range(8)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4])
    assert lam_at(replace(config, schedule="constant"), 0) == 0.4
    assert added(given, 2, steps=8, lam=0.4, schedule="ramp") == pytest.approx(0.2 * score(given).item(), rel=1e-4)


def test_a_run_that_breaks_says_so(tune):
    with pytest.raises(
        ValueError, match=r"no finite number at step \d: train with a lower --lr; the last good weights"
    ):
        tune(replace(SHORT, lr=1e38, steps=5))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"lam": -1.0}, r"weights are lam -1\.0, consistency 1\.0, anchor 0\.0, cell 0\.0, colour 0\.0: use 0 or more"),
        ({"lam": 0.0, "consistency": 0.0}, "and not 0 everywhere"),
        ({"cell": -1.0}, r"cell -1\.0"),
        ({"colour": 1.0}, r"colour is 1\.0, but the restorer is grey: leave it out, or start from an RGB one"),
        ({"patch": 24}, "patch is 24: use a multiple of 16"),
        ({"patch": 96}, r"manifest photographs has an image of 64×72, and the patch needs 96 pixels"),
        ({"worst": 60}, "qualities are 60 to 20: use 1 <= worst <= best <= 100"),
        ({"batch": 0}, "batch is 0, most 16: use 1 or more"),
        ({"variants": -1}, "variants is -1: use 0"),
        ({"judge": ("predictor", GREY)}, r"judge '.*predictor1\.safetensors' is among the predictors of the loss"),
        ({"judge": ("restorer", GREY)}, r"weights '.*restorer1\.safetensors' are a ARCNN's, which scores nothing"),
        ({"judge": ("predictor", RGB)}, r"restorer1\.safetensors restores 1 channels, and .*predictor3\S* scores 3"),
        (
            {"predictors": ("predictor", RGB)},
            r"restorer1\S* restores 1 channels, and .*predictor3\.safetensors scores 3",
        ),
        ({"start": ("predictor", GREY)}, r"weights '.*predictor1\.safetensors' are a QFPredictor's, which restores no"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(tune, files, wrong, says):
    given = {name: files[value] if isinstance(value, tuple) else value for name, value in wrong.items()}
    options = {"start": given.pop("start")} if "start" in given else {}
    if "predictors" in given:
        given["predictors"] = (given["predictors"],)
    with pytest.raises(ValueError, match=says) as caught:
        tune(replace(SHORT, **given), **options)
    assert "\n" not in str(caught.value)


def test_patches_are_as_large_as_what_a_predictor_sees(tune, weights_file):
    large = str(weights_file(arch="cui"))
    with pytest.raises(ValueError, match="patch is 16: a predictor sees 34 pixels, use so many"):
        tune(replace(SHORT, predictors=(large,)))
    assert math.isfinite(tune(replace(SHORT, predictors=(large,), patch=48, steps=1))[1]["validation"]["score"])


def test_command(photographs, files, tmp_path, capsys):
    root, out = photographs[1], tmp_path / "out.safetensors"
    command = ["train", "perceptual", files["restorer", RGB], str(root / "photographs.toml")]
    options = "--steps 1 --batch 2 --patch 16 --lam 0.5 --schedule ramp --cell 2 --colour 3 --variants 1 --most 1"
    command += ["--data", str(root), "--out", str(out), *options.split(), "--judge", files["opponent", RGB]]
    command += ["--predictors", files["predictor", RGB]]
    assert main(command) == 0
    recipe = weights.read(out)[1]["recipe"]
    assert (recipe["lam"], recipe["cell"], recipe["colour"], recipe["variants"]) == (0.5, 2, 3, 1)
    assert "judge" in capsys.readouterr().err
    assert main(command) == 2
    assert "out.safetensors exists" in capsys.readouterr().err
    assert main([*command[:-1], files["predictor", GREY], "--force"]) == 1
    error = capsys.readouterr().err
    assert "restores 3 channels" in error and len(error.splitlines()) == 1
