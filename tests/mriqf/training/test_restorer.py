"""Restorers: training repeats to the last bit; what is drawn is what JPEG makes of what is known; they get better."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf import weights
from mriqf.jpeg import compress, compress_pixels, quantization_table
from mriqf.jpeg.colour import limited_luma
from mriqf.metrics import jpeg as jpeg_metrics
from mriqf.restore import ARCNN, QAIRN, QGAC, QGCN, SRCNN, ARCNNConfig, QAIRNConfig, QGACConfig, QGCNConfig, SRCNNConfig
from mriqf.restore.strength import QUALITIES as STRENGTHS
from mriqf.training.manifest import content_hash, read_manifest
from mriqf.training.restorer import (
    RestorerTrainConfig,
    draw_batch,
    read_pixels,
    restoration_loss,
    train_restorer,
    validate,
)

RECIPE = RestorerTrainConfig(steps=3, checkpoint_every=2, batch=2, patch=16)
TINY = {
    "arcnn": (ARCNN, ARCNNConfig(width=4)),
    "srcnn": (SRCNN, SRCNNConfig(width=4)),
    "qgcn": (QGCN, QGCNConfig(width=4, blocks=1, global_width=1)),
    "qgac": (QGAC, QGACConfig(width=4, growth=2, frequency_width=64, chroma_width=2, manifold=2)),
    "qairn": (QAIRN, QAIRNConfig(widths=(4, 4, 4, 4), blocks=1)),
}
each_network = pytest.mark.parametrize("name", TINY)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory, texture):
    """Manifest and root of three photographs to train on, and one to validate."""
    root, text = tmp_path_factory.mktemp("photographs"), 'name = "photographs"\n'
    for split, seeds in {"train": (0, 1, 2), "val": (3,)}.items():
        (root / split).mkdir()
        for seed in seeds:
            pixels = texture(80, 64 + 8 * seed, seed=seed, channels=3, grain=3.0)
            Image.fromarray(pixels).save(root / split / f"{seed}.webp", lossless=True)
        text += f'[[source]]\npath = "{split}"\nsplit = "{split}"\nsha256 = "{content_hash(root / split)}"\n'
    (root / "photographs.toml").write_text(text)
    return read_manifest(root / "photographs.toml"), root


def run(name, data, out, recipe=RECIPE, channels=1, *, report=lambda _: None, start=None, force=False):
    network, config = TINY[name]
    return train_restorer(
        network, replace(config, channels=channels), *data, out, recipe, report=report, start=start, force=force
    )


def same(first, second):
    a, b = weights.read(first)[0], weights.read(second)[0]
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class AtSecond(list):
    """Interrupts a training at its second report."""

    def __call__(self, line):
        self.append(line)
        if len(self) == 2:
            raise KeyboardInterrupt


@each_network
@pytest.mark.parametrize("channels", [1, 3])
def test_same_seed_same_weights_cut_off_or_not(photographs, tmp_path, name, channels):
    first = run(name, photographs, tmp_path / "a.safetensors", channels=channels)
    with pytest.raises(KeyboardInterrupt):
        run(name, photographs, tmp_path / "b.safetensors", channels=channels, report=AtSecond())
    assert (tmp_path / "b.checkpoint").exists()
    told = []
    second = run(name, photographs, tmp_path / "b.safetensors", channels=channels, report=told.append)
    assert same(first, second)
    assert len(told) == 1  # what was done is not done again
    model = weights.load(second)
    assert (type(model), model.config) == (TINY[name][0], replace(TINY[name][1], channels=channels))


def test_other_seed_other_weights_and_finished_ones_are_kept(photographs, tmp_path):
    out = run("srcnn", photographs, tmp_path / "a.safetensors")
    other = run("srcnn", photographs, tmp_path / "b.safetensors", replace(RECIPE, seed=1))
    assert not same(out, other)
    before = out.read_bytes()
    with pytest.raises(FileExistsError, match=r"a\.safetensors exists"):
        run("srcnn", photographs, out)
    assert out.read_bytes() == before
    run("srcnn", photographs, out, replace(RECIPE, seed=1), force=True)
    assert same(out, other)


def test_checkpoint_of_another_recipe_or_network_is_refused(photographs, tmp_path):
    out = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run("arcnn", photographs, out, report=AtSecond())
    for name, recipe in (("arcnn", replace(RECIPE, worst=10)), ("srcnn", RECIPE)):
        with pytest.raises(ValueError, match=r"a\.checkpoint belongs to another recipe: give the same options"):
            run(name, photographs, out, recipe)
    run("arcnn", photographs, out)


def test_card_says_what_was_trained(photographs, tmp_path):
    card = weights.read(run("qgcn", photographs, tmp_path / "a.safetensors"))[1]
    assert card["network"] == "qgcn"
    assert card["config"] == weights.config_dict(TINY["qgcn"][1]) | {"channels": 1}
    assert card["manifest"] == {"name": "photographs", "sha256": photographs[0].sha256}
    assert card["recipe"]["worst"] == RECIPE.worst
    assert list(card["validation"]) == [*(f"gain{q}" for q in (10, 20, 30, 40, 90, 95)), "gain_double"]
    assert [point["step"] for point in card["curve"]] == [2, 3]


def test_weights_are_kept_in_half_the_space_and_what_was_measured_whole(photographs, tmp_path):
    tensors = weights.read(run("qgac", photographs, tmp_path / "a.safetensors"))[0]
    assert {name for name, v in tensors.items() if v.dtype == torch.float32} == {"mean", "std"}
    assert {v.dtype for v in tensors.values()} == {torch.float16, torch.float32}


def test_photographs_become_rgb_or_limited_luma(photographs):
    manifest, root = photographs
    (source,) = manifest.split("train")
    known = [np.asarray(Image.open(root / "train" / f"{k}.webp")) for k in range(3)]
    for pixels, rgb, grey in zip(known, read_pixels(source, root, 3), read_pixels(source, root, 1), strict=True):
        np.testing.assert_array_equal(rgb, pixels)
        luma = limited_luma(torch.tensor(pixels).permute(2, 0, 1))
        np.testing.assert_array_equal(grey[..., 0], luma[0])


def test_mr_slices_are_grey(tiny_data):
    manifest, root = tiny_data
    (source,) = manifest.split("val")
    images = list(read_pixels(source, root, 1))
    assert [image.shape for image in images] == [(160, 160, 1)] * 2
    assert all(image.dtype == np.uint8 and image.max() > 200 for image in images)
    with pytest.raises(ValueError, match=r"scans\.npz holds grey images: leave it out of the manifest, or train one"):
        list(read_pixels(source, root, 3))


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_compressed_at_the_quality_whose_tables_they_have(texture, channels):
    pixels = texture(48, 64, channels=channels)
    config = RestorerTrainConfig(batch=12, patch=32, worst=10, best=30)
    given, truth, tables = draw_batch([[pixels]], [1.0], np.random.default_rng(0), config)
    kinds = ("luma", "chroma")[: 1 if channels == 1 else 2]
    known = {q: torch.stack([quantization_table(q, kind) for kind in kinds]).float() for q in range(1, 101)}
    qualities = [next(q for q, steps in known.items() if torch.equal(steps, own)) for own in tables]
    assert min(qualities) >= 10 and max(qualities) <= 30 and len(set(qualities)) > 5
    assert torch.equal(given, compress(truth, qualities))
    assert not torch.equal(given, truth)
    # Patches are parts of the image, turned and flipped.
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (32, 32), (0, 1))
    seen = {np.ascontiguousarray(np.moveaxis(w, 0, -1)).tobytes() for row in windows for w in row}
    for patch in (255 * truth).round().byte().permute(0, 2, 3, 1).numpy():
        turned = [np.rot90(p, k) for p in (patch, patch[:, ::-1]) for k in range(4)]
        assert any(np.ascontiguousarray(t).tobytes() in seen for t in turned)


def test_sources_are_drawn_by_their_weights():
    dark, bright = np.zeros((16, 16, 1), np.uint8), np.full((16, 16, 1), 200, np.uint8)
    config = RestorerTrainConfig(batch=200, patch=16)
    _, truth, _ = draw_batch([[dark], [bright]], [1.0, 3.0], np.random.default_rng(0), config)
    assert 0.65 < (truth[:, 0, 0, 0] > 0).float().mean() < 0.85


def test_loss_is_absolute_error_and_structure():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 2, 1, 16, 16, generator=generator)
    plain = (a - b).abs().mean().item()
    assert restoration_loss(a, b, 0.0).item() == pytest.approx(plain)
    assert restoration_loss(a, b, 0.0, "squared").item() == pytest.approx((a - b).square().mean().item())
    lost = -jpeg_metrics.psnr(a, b).mean().item()
    assert restoration_loss(a, b, 0.0, "psnr").item() == pytest.approx(lost, abs=1e-3)
    assert restoration_loss(a, a, 0.0, "psnr").isfinite()
    expected = plain + 0.3 * (1 - jpeg_metrics.ssim_gaussian(a, b).mean().item())
    assert restoration_loss(a, b, 0.3).item() == pytest.approx(expected)


@pytest.mark.parametrize("trained", ["luma", "chroma"])
def test_stages_of_qgac_train_their_part_alone(photographs, tmp_path, trained):
    start = run("qgac", photographs, tmp_path / "a.safetensors", channels=3)
    recipe = replace(RECIPE, trained=trained, steps=2)
    out = run("qgac", photographs, tmp_path / "b.safetensors", recipe, 3, start=start)
    before, after = weights.read(start)[0], weights.read(out)[0]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(f"{trained}.") for name in changed)


def test_luma_stage_of_qgac_is_blind_to_colours(photographs, tmp_path):
    start = run("qgac", photographs, tmp_path / "a.safetensors", channels=3)
    tensors, card = weights.read(start)
    other = {name: 2 * v if name.startswith("chroma.") else v for name, v in tensors.items()}
    weights.write(tmp_path / "b.safetensors", other, card)
    recipe = replace(RECIPE, trained="luma", steps=2)
    results = [
        weights.read(run("qgac", photographs, tmp_path / f"{name}2.safetensors", recipe, 3, start=source))[0]
        for name, source in (("a", start), ("b", tmp_path / "b.safetensors"))
    ]
    for name in (name for name in tensors if name.startswith("luma.")):
        torch.testing.assert_close(results[0][name], results[1][name], rtol=0, atol=1e-5)


def test_qgac_for_colours_starts_its_luma_from_a_grey_one(photographs, tmp_path):
    still = replace(RECIPE, steps=1, lr=0.0)
    grey = run("qgac", photographs, tmp_path / "grey.safetensors", still)
    alone, begun = (run("qgac", photographs, tmp_path / f"{s}.safetensors", still, 3, start=s) for s in (None, grey))
    given, plain, result = (weights.read(path)[0] for path in (grey, alone, begun))
    for name, value in result.items():
        torch.testing.assert_close(value, given[name] if name.startswith("luma.") else plain[name], rtol=0, atol=0)
    assert not torch.equal(result["mean"][:1], given["mean"])  # luma of full range
    assert weights.read(begun)[1]["recipe"]["start"] == content_hash(grey)


def test_qgac_measures_its_images_unless_it_is_started_from_weights(photographs, tmp_path):
    still = replace(RECIPE, steps=1, lr=0.0)
    first = run("qgac", photographs, tmp_path / "a.safetensors", still, 3)
    images = list(read_pixels(photographs[0].split("train")[0], photographs[1], 3))
    known = QGAC(replace(TINY["qgac"][1], channels=3))
    known.measure_coefficients([torch.tensor(i).permute(2, 0, 1)[None] / 255 for i in images])
    result = weights.read(first)[0]
    torch.testing.assert_close(result["std"], known.std)
    torch.testing.assert_close(result["mean"], known.mean)
    # Weights that were measured on other images keep what they know.
    tensors, card = weights.read(first)
    weights.write(tmp_path / "b.safetensors", tensors | {"std": 2 * tensors["std"]}, card)
    second = run("qgac", photographs, tmp_path / "c.safetensors", still, 3, start=tmp_path / "b.safetensors")
    assert torch.equal(weights.read(second)[0]["std"], 2 * tensors["std"])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"patch": 24}, "patch is 24: use a multiple of 16"),
        ({"patch": 96}, "patch is 96, and manifest photographs has an image of 80×64: use smaller patches"),
        ({"worst": 60, "best": 50}, "qualities are 60 to 50: use 1 <= worst <= best <= 100"),
        ({"batch": 0}, "batch is 0"),
        ({"skew": 0.0}, r"skew is 0\.0: use 1 for qualities drawn evenly"),
        ({"double": 1.5}, r"double is 1\.5: a share of patches lies in 0 to 1"),
        ({"structure": -1.0}, r"structure -1\.0"),
        ({"trained": "luma"}, "trained is 'luma', no part of arcnn: choose one of body, last"),
    ],
)
def test_impossible_recipes_are_refused_in_one_line(photographs, tmp_path, wrong, says):
    with pytest.raises(ValueError, match=says) as caught:
        run("arcnn", photographs, tmp_path / "a.safetensors", replace(RECIPE, **wrong))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["qgcn", "qgac"])
@pytest.mark.parametrize("wrong", [{"shifted": 0.2}, {"told": True}])
def test_networks_that_are_told_tables_need_blocks_and_no_strength(photographs, tmp_path, name, wrong):
    with pytest.raises(
        ValueError, match=r"shifted is 0\.2, and this network's tables|told is given, and the network sees"
    ):
        run(name, photographs, tmp_path / "a.safetensors", replace(RECIPE, **wrong))


@pytest.mark.parametrize("channels", [1, 3])
def test_all_variations_cut_off_or_not(photographs, tmp_path, channels):
    recipe = replace(RECIPE, double=0.5, shifted=0.5, smaller=0.5, finer=0.5, skew=2.0, loss="psnr", told=True)
    first = run("arcnn", photographs, tmp_path / "a.safetensors", recipe, channels)
    with pytest.raises(KeyboardInterrupt):
        run("arcnn", photographs, tmp_path / "b.safetensors", recipe, channels, report=AtSecond())
    second = run("arcnn", photographs, tmp_path / "b.safetensors", recipe, channels)
    assert same(first, second)
    assert weights.load(first).config == weights.load(second).config
    assert len(weights.load(first).config.strength) == len(STRENGTHS)


def test_strength_makes_good_what_is_too_much_or_too_little(photographs, tmp_path):
    recipe = RestorerTrainConfig(steps=60, lr=5e-3, ema=0.9, checkpoint_every=60, batch=8, patch=32, worst=10, best=30)
    network, config = ARCNN, ARCNNConfig(width=8, residual=True)
    blind = train_restorer(network, config, *photographs, tmp_path / "a.safetensors", recipe)
    # The same weights, with what is best added at each quality.
    still = replace(recipe, steps=1, lr=0.0, told=True)
    told = train_restorer(network, config, *photographs, tmp_path / "b.safetensors", still, start=blind)
    assert same(blind, told)
    held_out = list(read_pixels(photographs[0].split("val")[0], photographs[1], 1))
    before, after = (validate(weights.load(path), held_out) for path in (blind, told))
    assert before["gain95"] < -1  # it never saw any
    assert after["gain95"] > -0.01 and after["gain90"] > -0.01
    assert all(after[name] > before[name] - 0.01 for name in before)
    # Trained on, it learns for that strength, which is measured anew at the end.
    strength = weights.load(told).config.strength
    again = train_restorer(network, config, *photographs, tmp_path / "c.safetensors", recipe, start=told)
    assert weights.load(again).config.strength != strength


def test_time_spent_waiting_for_data_is_told(photographs, tmp_path):
    told = []
    run("srcnn", photographs, tmp_path / "a.safetensors", report=told.append)
    assert all(re.search(r"  \d+\.\d\d steps/s  \d+\.\d% waiting for data$", line) for line in told)


def test_networks_are_grey_or_rgb(photographs, tmp_path):
    with pytest.raises(ValueError, match=r"channels is 2: train 1 \(grey\) or 3 \(RGB\)"):
        run("arcnn", photographs, tmp_path / "a.safetensors", channels=2)


def test_manifest_without_training_images_is_refused(photographs, tmp_path):
    manifest, root = photographs
    with pytest.raises(ValueError, match="manifest photographs has a training source without images, or none"):
        run("arcnn", (replace(manifest, sources=manifest.split("val")), root), tmp_path / "a.safetensors")


def test_other_weights_cannot_start(photographs, tmp_path):
    start = run("srcnn", photographs, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors holds another network"):
        run("arcnn", photographs, tmp_path / "b.safetensors", start=start)


@pytest.mark.parametrize("channels", [1, 3])
def test_gain_is_what_a_network_adds_to_jpeg(texture, channels):
    pixels = texture(48, 40, channels=channels)

    class Known(torch.nn.Module):
        """Half-way between what was decoded and the truth."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images, _):
            truth = torch.tensor(pixels).permute(2, 0, 1)[None] / 255
            return (images + truth) / 2 if images.mean() > 0 else images

    gains = validate(Known().eval(), [pixels, np.zeros_like(pixels)])
    assert list(gains) == [*(f"gain{q}" for q in (10, 20, 30, 40, 90, 95)), "gain_double"]
    decoded = compress_pixels(pixels.squeeze(), 20).reshape(pixels.shape)
    middle = np.round((decoded.astype(float) + pixels) / 2)
    errors = [np.square(image - pixels.astype(float)).mean() for image in (decoded, middle)]
    assert gains["gain20"] == pytest.approx(10 * np.log10(errors[0] / errors[1]), abs=0.05)
    assert validate(Known().eval(), []) == {}


def test_small_network_learns(photographs, tmp_path):
    recipe = RestorerTrainConfig(steps=60, lr=5e-3, ema=0.9, checkpoint_every=60, batch=8, patch=32, worst=10, best=30)
    network, config = ARCNN, ARCNNConfig(width=8, residual=True)
    out = train_restorer(network, config, *photographs, tmp_path / "a.safetensors", recipe)
    validation = weights.read(out)[1]["validation"]
    assert validation["gain10"] > 0.1 and validation["gain20"] > 0.1
