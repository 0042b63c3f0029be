"""The twelve claims: rows as planned, figures against references, verdicts that follow the table."""

import dataclasses
import itertools
import json
import re

import numpy as np
import pytest
import torch

from mriqf.metrics.reference_free import BASELINES
from mriqf.studies._frame.table import Table, read_table, where
from mriqf.studies.benchmark import (
    FIGURES,
    KEY,
    BenchmarkConfig,
    answer,
    cases,
    columns,
    comparison,
    evidence,
    keep_failures,
    measure,
    metadata,
    probes,
    read_data,
    read_metrics,
    read_runs,
    tasks,
)
from mriqf.studies.benchmark.absolute import remarks
from mriqf.studies.benchmark.answer import EVIDENCE, findings, rises
from mriqf.studies.benchmark.bars import CLAIMS, Bar
from mriqf.studies.benchmark.evidence import Estimate, Finding, prepare
from mriqf.studies.benchmark.metrics import EXPECTED, auroc, error_map, pearson

TRIAL = "score trial"


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(evidence, "DRAWS", 5)


@pytest.fixture
def manifest(tmp_path, disc):
    from mriqf.training.manifest import content_hash

    images = np.concatenate([disc(2, 136, 136, seed=s, background=0.05) for s in range(4)])
    np.savez(tmp_path / "scans.npz", images=images, subject=np.repeat(np.arange(4), 2))
    sha256 = content_hash(tmp_path / "scans.npz")
    text = 'name = "tiny"\n' + "".join(
        f'[[source]]\npath = "scans.npz"\nsplit = "{split}"\nsubjects = {subjects}\nsha256 = "{sha256}"\n'
        for split, subjects in (("train", [0, 1]), ("test", [2, 3]))
    )
    (tmp_path / "tiny.toml").write_text(text)
    return tmp_path / "tiny.toml"


@pytest.fixture
def config(weights_file):
    return BenchmarkConfig(
        weights=(str(weights_file("first.safetensors")), str(weights_file("second.safetensors", seed=1))),
        controls=(str(weights_file("shuffled.safetensors", seed=2)),),
        left_out=(str(weights_file("without-blur.safetensors", seed=3)),),
        parts=("clean", "local", "jpeg", "degraded", "recon"),
        slices=1, training_slices=2, levels=3, families=("noise", "blur", "truncation"), accelerations=(1, 4),
        masks=("random",), methods=("zero-filled", "cg-sense"), recon_slices=2, recon_seeds=1, flaws=1, qualities=1,
    )  # fmt: skip


def run(folder, manifest, config, most=None):
    data = read_data([manifest], manifest.parent)
    metrics = read_metrics(config.weights, config.controls, config.left_out)
    table = Table(folder, KEY, columns(metrics), metadata(data, config))
    for done in table.run(tasks(data, config, metrics)):
        if done == most:
            break
    return folder / "rows.csv"


def test_rows_are_those_of_the_plan_and_have_every_judge(tmp_path, manifest, config):
    table = read_table(run(tmp_path / "out", manifest, config))
    count = {part: len(where(table, part=part, split="test")["subject"]) for part in config.parts}
    assert count == {
        "clean": 2 * 13, "local": 2 * 4, "jpeg": 2 * 2 * 2, "degraded": 2 * 3 * 3, "recon": 2 * 2 * 2,
    }  # fmt: skip
    assert set(where(table, part="as is")["family"]) == {"truncation"}
    train = where(table, split="train")
    assert set(train["part"]) == {"clean", "degraded", "recon"}
    assert not set(train["subject"]) & set(where(table, split="test")["subject"])
    images = where(table, part=["clean", "local", "degraded", "recon"])
    for name in (*BASELINES, "score first", "score second", "control shuffled"):
        assert np.isfinite(images[name]).mean() > 0.95, name  # a measure of the background may have none
    blurred = (table["part"] == "degraded") & (table["family"] == "blur")
    np.testing.assert_array_equal(np.isfinite(table["left-out blur"]), blurred)
    known = where(table, part=["degraded", "recon"])
    assert np.isfinite(known["nrmse"]).all()
    assert np.isfinite(known["ssim"]).all()
    severe = where(known, part="degraded", level=[0.5, 1.0])
    assert np.isfinite(severe["r first"]).all()
    assert np.isfinite(where(table, part="local")["auroc gradient"]).all()
    lattice = where(table, part="jpeg")
    assert np.abs(lattice["lattice"] - lattice["level"]).mean() < 3
    worst = where(known, part="degraded", family="noise", split="test")
    assert worst["nrmse"][worst["level"] == 1].min() > worst["nrmse"][worst["level"] == 0].max()


@pytest.mark.parametrize("most", [5])
def test_cut_off_and_resumed_gives_the_same_table(tmp_path, manifest, config, most):
    config = dataclasses.replace(config, parts=("local", "degraded"), families=("noise",))
    whole = run(tmp_path / "whole", manifest, config).read_bytes()
    run(tmp_path / "cut", manifest, config, most)
    assert len((tmp_path / "cut/rows.csv").read_bytes()) < len(whole)
    assert run(tmp_path / "cut", manifest, config).read_bytes() == whole


def test_parts_may_follow_in_the_same_folder(tmp_path, manifest, config):
    first, second = (dataclasses.replace(config, parts=(part,)) for part in ("local", "jpeg"))
    run(tmp_path / "out", manifest, first)
    result = read_table(run(tmp_path / "out", manifest, second))
    assert set(result["part"]) == {"local", "jpeg"}


def test_failures_are_kept_and_figures_drawn_again_are_the_same(tmp_path, manifest, config):
    config = dataclasses.replace(config, parts=("degraded",), left_out=(), controls=())
    out = tmp_path / "out"
    table = read_table(run(out, manifest, config))
    data, metrics = read_data([manifest], manifest.parent), read_metrics(config.weights, (), ())
    keep_failures(out, data, config, metrics)
    with np.load(out / "failures.npz") as kept:
        assert kept["0/image"].shape == kept["0/error"].shape == (136, 136)
        # The image was made again from its key: it has the error that the table says.
        true = re.search(r"NRMSE ([\d.]+)", str(kept["0/caption"]))
        inside = kept["0/error"].astype(float)
    assert true is not None
    assert np.sqrt(np.mean(inside[inside > 0] ** 2)) == pytest.approx(float(true[1]), rel=0.35, abs=2e-3)
    for name, draw in FIGURES:
        draw(table, out / name)
        first = (out / name).read_bytes()
        draw(read_table(out / "rows.csv"), out / name)
        assert (out / name).read_bytes() == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": ("speed", "taste")}, "parts has 'taste'"),
        ({"families": ("rust",)}, "families has 'rust'"),
        ({"levels": 1}, "levels is 1"),
        ({"weights": ()}, "weights has no name"),
        ({"left_out": ("qf-gray",)}, "call the file without-<family>"),
    ],
)
def test_errors_are_one_line(tmp_path, manifest, config, change, message):
    with pytest.raises(ValueError, match=message) as error:
        run(tmp_path / "out", manifest, dataclasses.replace(config, **change))
    assert "\n" not in str(error.value)


def test_nothing_is_tested_where_it_was_fitted(manifest):
    with pytest.raises(ValueError, match="choose val or test"):
        read_data([manifest], manifest.parent, "train")
    with pytest.raises(ValueError, match="nothing marked val"):
        read_data([manifest], manifest.parent, "val")


# ------------------------------------------------------------------------------------------------- images and figures


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (9, 9)).astype(float)
    wrong, inside = rng.random((9, 9)) < 0.3, rng.random((9, 9)) < 0.9
    a, b = values[wrong & inside], values[~wrong & inside]
    pairs = (a[:, None] > b).mean() + 0.5 * (a[:, None] == b).mean()
    assert auroc(values, wrong, inside) == pytest.approx(pairs)
    assert np.isnan(auroc(values, np.zeros_like(wrong), inside))


def test_pearson_looks_inside_the_object_alone():
    rng = np.random.default_rng(0)
    a, b, inside = rng.random((8, 8)), rng.random((8, 8)), rng.random((8, 8)) < 0.5
    expected = ((a - a[inside].mean()) * (b - b[inside].mean()))[inside].mean() / a[inside].std() / b[inside].std()
    assert pearson(a, b, inside) == pytest.approx(expected)
    assert np.isnan(pearson(np.ones((8, 8)), b, inside))


def test_error_maps_rise_where_quality_falls(untrained):
    quality = np.linspace(1, 99, 64, dtype=np.float32).reshape(8, 8)
    assert (np.diff(error_map(untrained(), quality).ravel()) < 0).all()


@pytest.mark.parametrize("level", [3.0, 12.0])
def test_noise_level_and_its_changes(level):
    rng = np.random.default_rng(0)
    image = (500 + level * rng.standard_normal((256, 256))).astype(np.float32)
    assert cases.own_noise(image) == pytest.approx(level, rel=0.05)
    assert cases.own_noise(cases.changed(image, "noise × 2", 1)) == pytest.approx(2 * level, rel=0.06)
    assert cases.own_noise(cases.changed(image, "noise × 0.5", 0)) == pytest.approx(level / 2, rel=0.08)


def test_changes_do_what_their_names_say(disc):
    (image,) = disc(1, 100, 80)
    done = {name: cases.changed(image, name, 0) for name in cases.CHANGES}
    assert done["padded × 1.5"].shape == (150, 120)
    assert done["padded × 1.5"].sum() == pytest.approx(image.sum(), rel=1e-5)
    assert done["cropped to 80 %"].shape == (80, 64)
    assert done["noise × 0.5"].shape == (50, 40)
    assert len(np.unique(done["8 bit"])) <= 256 < len(np.unique(done["12 bit"]))
    np.testing.assert_array_equal(done["flipped up-down"][::-1], image)
    np.testing.assert_array_equal(done["transposed"].T, image)
    np.testing.assert_allclose(done["scale × 10"], 10 * image, rtol=1e-6)


@pytest.mark.parametrize("kind", cases.FLAWS)
def test_flaws_lie_in_their_quadrant(disc, kind):
    (truth,) = disc(1, 128, 128)
    degraded = cases.degrade_locally(truth, kind, 3, 0)
    assert degraded.wrong[64:, 64:].sum() == degraded.wrong.sum() > 100
    moved = np.abs(degraded.image - truth)
    if kind == "missing lesion":
        assert not moved.any()
    else:
        assert moved[degraded.wrong].mean() > 10 * moved[:50, :50].mean()
    again = cases.degrade_locally(truth, kind, 3, 0)
    np.testing.assert_array_equal(again.image, degraded.image)


def test_speed_rows(monkeypatch, weights_file):
    monkeypatch.setattr(probes, "SIDE", 96)
    monkeypatch.setattr(probes, "ROUNDS", 1)
    metrics = read_metrics([str(weights_file())], (), ())
    threads = torch.get_num_threads()
    rows = [
        (key, row)
        for task in probes.speed_tasks(metrics, "test")
        for key, row in zip(task.keys, task.measure(), strict=True)
    ]
    assert torch.get_num_threads() == threads
    values = {key[5:7]: row["value"] for key, row in rows}
    assert set(values) == {(w, t) for w in ("predictor", "scoring") for t in (1, 2)} | {
        ("batch", 0), ("double precision", 0), ("threads", 0),
    }  # fmt: skip
    assert values["predictor", 1] > 0
    assert values["batch", 0] < 1e-3  # points: eight slices do go through the network together


# --------------------------------------------------------------------------------------------------- what tables say


def synthetic(sign=-1.0, noise=0.0, aurocs=0.95, alarms=0.0, shipped=True):
    """A table whose first score follows the error, and whose classical measures do not."""
    rng = np.random.default_rng(0)
    rows = []

    def add(part, split, subject, index, family, level, method="", **values):
        dataset = "head" if subject[0] == "h" else "knee"
        rows.append(
            dict(zip(KEY, (part, split, dataset, subject, index, family, level, 0, method), strict=True)) | values
        )

    count = itertools.count()

    def errors(nrmse):
        score = 60 + sign * 100 * nrmse + noise * rng.standard_normal()
        spread = 0.01
        expected = {
            "nrmse_expected": nrmse + 0.001, "ssim_expected": 1 - nrmse, "in_domain": 1.0, "distance": 1.0,
            "nrmse_low": nrmse - spread if next(count) % 10 else nrmse + spread / 2, "nrmse_high": nrmse + spread,
        }  # fmt: skip
        return {"nrmse": nrmse, "ssim": 1 - nrmse, TRIAL: score, "r trial": 0.8, "rank r": 0.8} | (
            expected if shipped else {}
        )

    for subject in ("s0", "s1", "s2", "s3", "t0", "t1", "t2", "h0"):
        split = "train" if subject[0] == "t" else "test"
        for index in range(1 if subject[0] == "s" else 4):
            for family in ("noise", "blur"):
                for k in range(6):
                    nrmse = 0.01 + 0.05 * k + 0.005 * rng.random()
                    add("degraded", split, subject, index, family, k / 5, **errors(nrmse))
            for rate in (1, 2, 4, 8):
                for k, method in enumerate(("zero-filled", "modl")):
                    nrmse = 0.02 * rate + 0.03 * k
                    family = "full" if rate == 1 else "random"
                    value = errors(nrmse) | {"effective_acceleration": rate}
                    add("recon", split, subject, index, family, rate, method, **value)
            names = cases.CHANGES if split == "test" else ("as is",)
            for change in names:
                worse = 30 * (rng.random() < alarms)
                low = 0.05 if worse else 0.01
                values = {TRIAL: 70 - worse, "noise": 0.02, "nrmse_low": low, "nrmse_high": 0.1}
                add("clean", split, subject, index, change, 0, **values)
            if split == "test":
                for kind in cases.FLAWS:
                    add("local", split, subject, index, kind, 0, **{"auroc trial": aurocs})
                for name, (low, _) in probes.RANGES.items():
                    for grid in probes.GRIDS:
                        add("jpeg", split, subject, index, grid, low, name, **{TRIAL: low + 1.0, "lattice": low})
    for what, value in (("predictor", 10.0), ("scoring", 15.0), ("threads", 0.0)):
        add("speed", "test", "head", 0, what, 1, "trial", value=value)
    names = dict.fromkeys(name for row in rows for name in row)
    maps = ("r intensity", "sharp r", "auroc intensity", "score other", "lattice", "value")
    table = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
    order = [*KEY, TRIAL, *(n for n in table if n not in (*KEY, TRIAL))]
    table = {name: table[name] for name in order}
    for name in (*EXPECTED, *maps):
        table.setdefault(name, np.full(len(rows), np.nan))
    for name in BASELINES:
        table[name] = rng.standard_normal(len(rows))
    return table


def claimed(number, table):
    """Row of the table about one claim."""
    return EVIDENCE[number - 1](prepare(table))


def fails(number, table):
    """True if the claim fails by some bar as proposed."""
    return any("fails" in f.verdict(TRIAL) for f in claimed(number, table))


def test_a_score_that_follows_the_error_passes_everywhere():
    text = answer(synthetic())
    for number in range(1, 13):
        line = next(line for line in text.splitlines() if line.startswith(f"| {number} "))
        assert "fails" not in line, line
    assert "- none" in text


@pytest.mark.parametrize(
    ("change", "numbers"),
    [
        ({"sign": 1.0}, (2, 3, 4, 5)),
        ({"noise": 40.0}, (1, 10)),
        ({"aurocs": 0.4}, (9,)),
        ({"alarms": 0.4}, (8,)),
        ({"shipped": False, "noise": 40.0}, (6, 7)),
    ],
)
def test_verdicts_follow_the_table(change, numbers):
    table = synthetic(**change)
    assert all(fails(number, table) for number in numbers)


def test_every_classical_measure_is_in_every_row_that_it_can_be_in():
    figures = findings(synthetic())
    assert {f.claim for f in figures} == set(range(1, 13))
    for f in figures:
        if f.measure != "refused" and (f.claim <= 8 or (f.claim == 10 and "shipped" not in f.what)):
            assert set(BASELINES) <= set(f.estimates), f.what
            assert "ridge" in f.estimates
        assert f.measure in CLAIMS[f.claim - 1].bars


def test_subjects_are_counted_beside_figures():
    result = {f.what: f for f in claimed(2, synthetic())}
    assert "8 slices, 5 subjects" in result["all"].data
    # Four subjects stand for themselves; of the one head, its slices do.
    assert result["head (unseen)"].data.endswith("4 slices, 1 subject")
    assert np.isfinite(result["head (unseen)"].estimates[TRIAL].low)


def test_predictors_are_held_to_their_sign_and_classical_measures_are_not():
    table = synthetic()
    table["entropy"] = -table[TRIAL]
    right, wrong = claimed(2, table), claimed(2, synthetic(sign=1.0))
    first = right[0]
    assert first.estimates["entropy"].value == pytest.approx(first.estimates[TRIAL].value)
    assert wrong[0].estimates[TRIAL].value < -0.9


def test_ties_are_wrong():
    table = synthetic()
    table[TRIAL] = np.where(table["part"] == "degraded", 50.0, table[TRIAL])
    figures = claimed(4, table)[0]
    assert figures.estimates[TRIAL].value == 0


def test_coverage_and_error_are_those_of_the_calibration():
    table = synthetic()
    result = {f.what: f for f in (*claimed(6, table), *claimed(7, table))}
    assert result["NRMSE, MAE, all"].estimates[TRIAL].value == pytest.approx(0.001, rel=1e-6)
    rows = where(table, part=["degraded", "recon"], split="test")
    share = ((rows["nrmse_low"] <= rows["nrmse"]) & (rows["nrmse"] <= rows["nrmse_high"])).mean()
    assert result["coverage, all"].estimates[TRIAL].value == pytest.approx(share)
    fitted = {f.what: f for f in claimed(6, synthetic(shipped=False))}
    assert 0 < fitted["NRMSE, MAE, all"].estimates[TRIAL].value < 0.01
    assert "has no calibration" in remarks(synthetic(shipped=False))[0]


def test_ridge_is_fitted_to_training_rows_alone():
    table = synthetic()
    before = prepare(table)["ridge"]
    held = table["split"] == "test"
    changed = {**table, "nrmse": np.where(held, table["nrmse"] + 1.0, table["nrmse"])}
    np.testing.assert_array_equal(prepare(changed)["ridge"], before)


def test_rises_are_told():
    table = synthetic()
    mine = (table["part"] == "degraded") & (table["family"] == "blur") & (table["level"] == 1)
    table[TRIAL] = np.where(mine, 90.0, table[TRIAL])
    assert {name for name, *_ in rises(table, TRIAL)} == {"blur, knee", "blur, head"}


def test_bars_say_by_how_much():
    assert Bar(least=0.9).verdict(0.95) == "holds"
    assert Bar(0.8, 1.2).verdict(1.5) == "**fails** by 0.3"
    assert Bar(most=0.02).verdict(float("nan")) == "not measured"
    assert str(Bar(0.8, 1.2)) == "0.8–1.2"


@pytest.mark.parametrize(("low", "apart"), [(0.7, True), (0.5, False)])
def test_intervals_apart(low, apart):
    estimates = {TRIAL: Estimate(0.8, low, 0.9), "entropy": Estimate(0.5, 0.3, 0.6), "efc": Estimate(0.1, 0.0, 0.99)}
    assert Finding(2, "all", "", "", estimates).separated(TRIAL) is apart


def test_parts_that_were_not_measured_are_said():
    table = where(synthetic(), part="degraded")
    lines = answer(where(table, family="blur")).splitlines()
    assert "Not measured." in lines
    assert any(line.startswith("| 3 ") and "holds" in line for line in lines)
    assert any(line.startswith("| 12 ") and "not measured" in line for line in lines)


def test_the_calibration_beside_the_first_weights_is_asked(calibrated_file, disc):
    path, _ = calibrated_file()
    metrics = read_metrics([str(path)], (), ())
    known = metrics.apply(disc(1, seed=10)[0]).row
    assert known["in_domain"] in (0.0, 1.0)
    assert np.isfinite(known["distance"])
    assert np.isfinite(known["nrmse_expected"]) == bool(known["in_domain"])
    assert known["in_domain"] == 0 or known["nrmse_low"] <= known["nrmse_expected"] <= known["nrmse_high"]


# -------------------------------------------------------------------------------------------------------------- sets


def test_truncated_images_are_compared_at_their_own_resolution(disc):
    rng = np.random.default_rng(0)
    (target,) = disc(1, 144, 144)
    target = (target + 0.02 * target.max() * rng.standard_normal(target.shape)).clip(0).astype(np.float32)
    spectrum = np.fft.fftshift(np.fft.fft2(target))
    spectrum[:, :36], spectrum[:, -36:], spectrum[:36], spectrum[-36:] = 0, 0, 0, 0
    image = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum))).astype(np.float32)
    case = cases.at_own_resolution(cases.compare(image, target), target)
    assert case.as_is is not None
    assert case.image.shape == case.error.shape == case.inside.shape
    assert max(case.image.shape) < 90
    assert case.nrmse < 0.3 * case.as_is.nrmse
    whole = cases.at_own_resolution(cases.compare(target, target), target)
    assert whole.as_is is None
    assert whole.image.shape == (144, 144)


def test_noise_is_a_share_of_the_object(disc):
    rng = np.random.default_rng(0)
    (clean,) = disc(1, 192, 192)
    clean = (100 * (clean > 0.3 * clean.max())).astype(np.float32)
    noisy = np.abs(clean + 4 * rng.standard_normal(clean.shape)).astype(np.float32)
    assert cases.noise_share(noisy) == pytest.approx(0.04, rel=0.1)


def test_groups_take_turns():
    assert measure.by_turns([[1, 2, 3], [4], [5, 6]]) == [1, 4, 5, 2, 6, 3]
    assert measure.turns(("a", "b", "c"), 4, 2) == ("b", "c")


def test_every_subject_of_a_set_has_a_slice(manifest, config):
    data, metrics = read_data([manifest], manifest.parent), read_metrics(config.weights, (), ())
    config = dataclasses.replace(config, parts=("degraded", "recon"), left_out=(), controls=(), recon_slices=1)
    keys = [task.keys[0] for task in tasks(data, config, metrics)]
    held = {part: {key[3] for key in keys if key[:2] == (part, "test")} for part in config.parts}
    assert {part: len(subjects) for part, subjects in held.items()} == {"degraded": 2, "recon": 1}


def test_mean_of_unseen_sets_weighs_sets_alike():
    table = synthetic()
    result = {f.what: f for f in claimed(2, table)}
    unseen = [f for f in result.values() if f.measure == "unseen" and "alone" not in f.what]
    mean = result["mean of unseen sets"]
    assert len(unseen) == 1
    assert mean.measure == "unseen mean"
    assert mean.estimates[TRIAL].value == pytest.approx(unseen[0].estimates[TRIAL].value)
    figures = evidence.mean_of_sets([{TRIAL: Estimate(x)} for x in (0.2, 0.4, 0.9)])
    assert figures[TRIAL].value == pytest.approx(0.5)


def test_new_anatomies_have_a_mean_of_their_own():
    table = synthetic()
    table["dataset"] = np.where(table["dataset"] == "head", "heart", table["dataset"])
    for number in (2, 3):
        means = [f for f in claimed(number, table) if "mean of unseen anatomies" in f.what]
        assert means
        assert all(f.bar is None for f in means)


def test_alarms_are_intervals_above_the_slices_own_noise():
    table = synthetic()
    alarms = {f.what: f.estimates[TRIAL].value for f in claimed(8, table) if f.measure == "alarms"}
    assert alarms["false alarms, all"] == 0
    table["nrmse_low"] = np.where(table["part"] == "clean", 0.015, table["nrmse_low"])
    assert {f.estimates[TRIAL].value for f in claimed(8, table) if f.measure == "alarms"} == {0.0}
    table["noise"] = np.where(table["part"] == "clean", 0.012, np.nan)
    assert {f.estimates[TRIAL].value for f in claimed(8, table) if f.measure == "alarms"} == {1.0}


def test_tables_of_earlier_versions_are_read():
    table = synthetic()
    del table["noise"]
    assert "# Twelve claims" in answer(table)


def test_runs_are_compared_in_one_table():
    text = comparison({"old": synthetic(sign=1.0), "new": synthetic()})
    lines = [line for line in text.splitlines() if line.startswith("| 2 | knee (other subjects train) |")]
    old, new = lines[0].split(" | ")[3:5]
    assert "fails" in old
    assert "fails" not in new


def test_runs_of_other_images_are_not_compared(tmp_path):
    for name, levels in (("a", 5), ("b", 6)):
        (tmp_path / name).mkdir()
        text = json.dumps({"config": {"levels": levels, "weights": [name]}, "data": {}, "split": "test"})
        (tmp_path / name / "study.json").write_text(text)
    with pytest.raises(ValueError, match="levels differ") as error:
        read_runs([tmp_path / "a", tmp_path / "b"])
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="does not exist"):
        read_runs([tmp_path / "c"])
