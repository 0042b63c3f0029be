"""The study of MoDL without ground truth: what the arms differ in, what is measured, what follows from the table."""

import dataclasses

import numpy as np
import pytest
import torch

import recon
from mriqf import metrics, score, weights
from mriqf.cli import main
from mriqf.metrics.reference_free import gradient_entropy
from mriqf.studies._frame.table import Table, read_table, where
from mriqf.studies.selfsup import (
    COLUMNS,
    KEY,
    TuningConfig,
    answer,
    draw_changes,
    draw_pictures,
    load_arms,
    metadata,
    pictures,
    read_cases,
    tasks,
    train_arms,
)
from mriqf.studies.selfsup import arms as study
from mriqf.studies.selfsup.answer import comparisons, verdict
from mriqf.studies.selfsup.arms import START, Arm, chosen, recipe, weights_path
from recon.simulate import measure

LABELS = ["start", "supervised", "held-out", "measured", "held-out-0.5", "measured-0.5"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(study, "SEEN", 4)


@pytest.fixture
def config(weights_file):
    predictor, outside = (str(weights_file(f"{name}.safetensors", arch="cui", seed=k)) for k, name in enumerate("ab"))
    return TuningConfig(
        lams=(0.5,), predictor=predictor, outside=outside, steps=2, unrolls=2, features=4, families=("random",),
        accelerations=(2, 4), slices=1,
    )  # fmt: skip


def few(config, **changes):
    return dataclasses.replace(config, lams=(), accelerations=(4,), **changes)


def test_arms_differ_in_objective_and_weight_alone():
    config = TuningConfig(lams=(0.1, 1.0))
    start, *others = chosen(config)
    assert start == Arm(START)
    plain = dataclasses.asdict(recipe(Arm("held-out"), config))
    for arm in others:
        settings = dataclasses.asdict(recipe(arm, config))
        assert settings == plain | {"objective": arm.name, "lam": arm.lam}
    assert {(arm.name, arm.lam) for arm in others} == {
        ("supervised", 0.0), *((name, lam) for name in ("held-out", "measured") for lam in (0.0, 0.1, 1.0))
    }  # fmt: skip


def test_masks_in_training_span_those_that_are_measured():
    simulation = recipe(Arm("measured"), TuningConfig(families=("poisson",), accelerations=(6, 3, 4))).simulation
    assert (simulation.families, simulation.acceleration) == (("poisson",), (3.0, 6.0))


def test_weights_to_start_from_are_trained_more_gently():
    nothing, given = (recipe(Arm("measured"), TuningConfig(start=start)).lr for start in ("none", "modl-knee"))
    assert given < nothing
    assert recipe(Arm("measured"), TuningConfig(start="modl-knee", lr=0.01)).lr == 0.01


def test_start_repeats_data_consistency_and_has_seen_measured_images(tiny_data, tmp_path, config):
    train_arms(tmp_path, *tiny_data, few(config, steps=1))
    model = weights.load(tmp_path / "start.safetensors")
    assert (model.config.unrolls, model.config.features) == (2, 4)
    image = torch.randn(1, 1, 24, 24, dtype=torch.complex64)
    assert torch.equal(model.denoiser(image), image)
    norm = model.denoiser.body[1]
    assert norm.num_batches_tracked == study.SEEN
    assert not torch.allclose(norm.running_var, torch.ones(4), rtol=0.2)
    for name in ("supervised", "held-out"):
        tuned = weights.load(tmp_path / f"{name}.safetensors")
        assert not torch.equal(tuned.denoiser(image), image)


def test_killed_and_started_again_gives_the_same_weights_and_table(tiny_data, tmp_path, config):
    def killed(line):
        if line.startswith("held-out: step 2/"):
            raise KeyboardInterrupt

    config = dataclasses.replace(config, lams=())
    result, cases = {}, read_cases(*tiny_data, config)
    for name in ("whole", "cut"):
        folder, told = tmp_path / name / "arms", []
        if name == "cut":
            with pytest.raises(KeyboardInterrupt):
                train_arms(folder, *tiny_data, config, report=killed)
            kept = ["held-out.checkpoint", "start.safetensors", "supervised.safetensors"]
            assert sorted(p.name for p in folder.iterdir()) == kept
        train_arms(folder, *tiny_data, config, report=told.append)
        assert len(told) == (6 if name == "whole" else 3)
        table = Table(tmp_path / name, KEY, COLUMNS, metadata(folder, tiny_data[0], config))
        work = tasks(cases, load_arms(folder, config), config)
        for count in table.run(work) if name == "cut" else ():
            if count == 1:
                break
        for _ in table.run(work):
            pass
        result[name] = table.path.read_bytes()
    assert result["whole"] == result["cut"]
    assert len(read_table(tmp_path / "cut" / "rows.csv")["arm"]) == 2 * 4


def test_what_is_trained_is_kept_and_another_recipe_is_refused(tiny_data, tmp_path, config):
    config = few(config, steps=1)
    train_arms(tmp_path, *tiny_data, config)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    assert weights_path(tmp_path, Arm("measured"), config) in before
    train_arms(tmp_path, *tiny_data, dataclasses.replace(config, slices=2, seeds=2, split="val"))
    assert {path: path.read_bytes() for path in tmp_path.glob("*.safetensors")} == before
    for other in ({"steps": 3}, {"lr": 1e-5}, {"features": 5}, {"accelerations": (6,)}, {"seed": 1}):
        with pytest.raises(ValueError, match="was trained otherwise: remove it, or choose another folder"):
            train_arms(tmp_path, *tiny_data, dataclasses.replace(config, **other))


def test_given_weights_are_where_all_begin(tiny_data, tmp_path, config, modl_file):
    path = modl_file(unrolls=2, features=4)
    config = few(config, steps=1, start=str(path))
    train_arms(tmp_path / "arms", *tiny_data, config)
    assert not (tmp_path / "arms" / "start.safetensors").exists()
    assert weights_path(tmp_path / "arms", Arm(START), config) == path
    given = weights.load(path).denoiser.body[0].weight
    tuned = weights.load(tmp_path / "arms" / "measured.safetensors").denoiser.body[0].weight
    assert not torch.equal(tuned, given)
    assert torch.allclose(tuned, given, atol=1e-3)


def test_slices_are_numbered_as_in_the_file(tiny_data, config):
    images = np.load(tiny_data[1] / "scans.npz")["images"]
    for split, subject in (("val", 2), ("test", 3)):
        for n, indices in (
            (1, [2 * subject]),
            (2, [2 * subject, 2 * subject + 1]),
            (9, [2 * subject, 2 * subject + 1]),
        ):
            cases = read_cases(*tiny_data, dataclasses.replace(config, split=split, slices=n))
            assert [(c.dataset, c.subject, c.index) for c in cases] == [("scans", subject, k) for k in indices]
            assert all(np.array_equal(c.image, images[c.index]) for c in cases)


def test_rows_are_the_networks_own_errors_and_scores(tiny_data, tmp_path, config):
    config = few(config, steps=1, seeds=2, lr=0.2)
    train_arms(tmp_path, *tiny_data, config)
    (case,) = read_cases(*tiny_data, config)
    (_, task) = tasks([case], load_arms(tmp_path, config), config)
    rows = dict(zip(task.keys, task.measure(), strict=True))
    problem = measure(case.image, "random", 4, 1000 * 6 + 1)
    truth = problem.target.abs()
    inside = metrics.object_mask(truth)
    for arm in chosen(config):
        row = rows["scans", 3, 6, "random", 4, 1, arm.name, arm.lam]
        model = weights.load(weights_path(tmp_path, arm, config))
        image = model(problem.kspace, problem.sense).abs()
        image = image * (truth * image)[inside].sum() / image[inside].square().sum()
        nrmse = ((image - truth)[inside].square().sum() / truth[inside].square().sum()).sqrt()
        assert row["nrmse"] == pytest.approx(nrmse.item(), rel=0.02)
        assert row["psnr"] == pytest.approx(metrics.psnr(image, truth, inside).item(), abs=0.1)
        assert row["ssim"] == pytest.approx(metrics.ssim(image, truth, inside).item(), abs=0.01)
        for name, predictor in (("score", config.predictor), ("outside", config.outside)):
            assert row[name] == pytest.approx(score(image[0, 0], predictor).value, abs=0.3)
            assert row[f"true_{name}"] == pytest.approx(score(truth[0, 0], predictor).value, abs=1e-4)
        shown = score(image[0, 0], config.predictor).slices[0]
        assert row["entropy"] == pytest.approx(gradient_entropy(shown.image[0], shown.foreground), abs=1e-3)
    assert len({row["nrmse"] for row in rows.values()}) == len(chosen(config))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"lams": (0.0, 1.0)}, "lams are 0, 1: give different ones above 0"),
        ({"lams": (1.0, 1.0)}, "lams are 1, 1: give different ones above 0"),
        ({"accelerations": ()}, "accelerations are none: give different ones above 1"),
        ({"accelerations": (1, 4)}, "accelerations are 1, 4: give different ones above 1"),
        ({"families": ("spiral",)}, "families are spiral: choose different ones among random, equispaced"),
        ({"slices": 0}, "slices is 0, seeds 1: use 1 or more"),
    ],
)
def test_impossible_measurements_are_refused(tiny_data, config, wrong, says):
    with pytest.raises(ValueError, match=says):
        read_cases(*tiny_data, dataclasses.replace(config, **wrong))


def test_kspace_is_left_out_and_nothing_left_is_told(tiny_data, config):
    manifest, root = tiny_data
    kspace = dataclasses.replace(manifest.split("test")[0], path="scans.h5")
    more = dataclasses.replace(manifest, sources=(*manifest.sources, kspace))
    assert len(read_cases(more, root, config)) == 1
    with pytest.raises(ValueError, match="manifest tiny has no slices marked test: choose another split"):
        read_cases(dataclasses.replace(manifest, sources=(kspace,)), root, config)


def rows(changes=None, n=6):
    """Rows in which the start is bad, truth best and held-out lines near it; the score pleases and harms."""
    usual = {"start": 0.0, "supervised": 3.0, "held-out": 2.5, "measured": 0.0, "held-out-1": 2.0, "measured-1": -1.0}
    rng, result = np.random.default_rng(0), []
    base = 28 + rng.standard_normal((n, 2, 2))
    for label, gain in (usual | (changes or {})).items():
        scored = label.endswith("-1")
        for subject, k, rate in np.ndindex(n, 2, 2):
            psnr = base[subject, k, rate] + gain + 0.05 * rng.standard_normal()
            nrmse, points = 10 ** (-psnr / 20), 50 + 20 * scored
            key = ("knee", subject, k, "random", 4 + 2 * rate, 0, label.removesuffix("-1"), float(scored))
            result.append(
                (*key, psnr, 1 - nrmse, nrmse, points, 90 - gain, nrmse, 60, 99, 0.01, "qf-mri", "qf-gray", "5 steps")
            )
    order = rng.permutation(len(result))
    columns = zip((*KEY, *COLUMNS), zip(*result, strict=True), strict=True)
    return {name: np.array(column)[order] for name, column in columns}


def test_verdicts_follow_the_table():
    table = where(rows(), acceleration=4)
    supervised, held, measured, start = (Arm(name) for name in ("supervised", "held-out", "measured", "start"))
    assert verdict(table, supervised, start) == "better"
    assert verdict(table, held, supervised) == "worse"
    assert verdict(table, measured, start) == "undecided"
    assert verdict(table, Arm("measured", 1.0), measured) == "worse"
    mixed = table | {"ssim": np.where(table["arm"] == "supervised", 0.5, table["ssim"])}
    assert verdict(mixed, supervised, start) == "mixed"
    tiny = table | {"psnr": table["psnr"] / 1e5, "ssim": table["ssim"] / 1e5}
    assert verdict(tiny, supervised, start) == "undecided"  # not more than nothing, as printed
    assert verdict(where(table, subject=[0, 1]), supervised, start) == "too few subjects"


def test_every_arm_is_held_against_its_own_without_score():
    compared = comparisons(where(rows(), acceleration=6))
    for name in ("held-out", "measured"):
        assert (Arm(name, 1.0), Arm(name)) in compared
    assert (Arm("held-out"), Arm("supervised")) in compared
    assert (Arm("measured", 1.0), Arm("start")) in compared


def test_answer_tells_gains_and_what_pleases_without_being_better(tmp_path):
    table = rows()
    text = answer(table)
    assert "## R = 4: 12 measurements of 6 subjects, masks random" in text
    assert "| held-out | supervised | -0.5" in text
    assert "truth brings +3.0" in text and "(λ = 1)" in text
    told = "beside all measured samples makes images better at no λ, and worse at λ = 1; worse although the score rises"
    assert told in text
    assert "exceeds the truth's own at λ = 1" in text
    draw_changes(table, tmp_path / "changes.png")
    assert (tmp_path / "changes.png").read_bytes().startswith(b"\x89PNG")


def test_unfinished_tables_are_told():
    table = rows()
    (first, *_) = np.flatnonzero(table["acceleration"] == 4)
    with pytest.raises(ValueError, match="R = 4: not all arms were measured alike: let the study end"):
        answer({name: np.delete(column, first) for name, column in table.items()})


def test_pictures_show_truth_and_all_arms(tiny_data, tmp_path, config):
    config = dataclasses.replace(config, steps=1, lams=())
    train_arms(tmp_path, *tiny_data, config)
    cases, arms = read_cases(*tiny_data, config), load_arms(tmp_path, config)
    images = pictures(cases, arms, config)
    assert list(images) == [f"{rate}/{name}" for rate in (2, 4) for name in ("truth", *LABELS[:4])]
    assert all(image.shape == (144, 144) and image.dtype == np.uint8 for image in images.values())
    assert np.array_equal(images["2/truth"], images["4/truth"])
    assert np.abs(images["4/start"].astype(int) - images["4/truth"]).mean() > 1
    assert all(isinstance(model, recon.MoDL) and not model.training for model in arms.values())
    draw_pictures(images, tmp_path / "pictures.png")
    assert (tmp_path / "pictures.png").read_bytes().startswith(b"\x89PNG")


def test_command_trains_measures_answers_and_draws_again(tiny_data, tmp_path, capsys, config):
    root, out = tiny_data[1], tmp_path / "out"
    words = ["study", "tuning", str(root / "tiny.toml"), "--data", str(root), "--out", str(out), "--steps", "1"]
    words += ["--unrolls", "1", "--features", "2", "--families", "random", "--slices", "1", "--threads", "1"]
    words += ["--accelerations", "4", "--lams", "0.5", "--predictor", config.predictor, "--outside", config.outside]
    words += ["--arms", str(tmp_path / "arms")]
    assert main(words) == 0
    streams = capsys.readouterr()
    assert streams.out == (out / "answer.md").read_text(encoding="utf-8")
    assert "too few subjects" in streams.out  # one has no interval
    assert "measured-0.5: step 1/1" in streams.err
    kept = sorted(path.stem for path in (tmp_path / "arms").glob("*.safetensors"))
    assert kept == sorted(LABELS)
    figures = {name: (out / name).read_bytes() for name in ("changes.png", "pictures.png")}
    assert main(["study", "tuning", "--out", str(out)]) == 0
    assert capsys.readouterr().out == streams.out
    assert {name: (out / name).read_bytes() for name in figures} == figures
    assert main([*words, "--seeds", "2"]) == 1
    assert "holds a study with config.seeds" in capsys.readouterr().err
    assert main(["study", "tuning", str(root / "tiny.toml"), "--out", str(out)]) == 2
    assert "say with --data where its files are" in capsys.readouterr().err
