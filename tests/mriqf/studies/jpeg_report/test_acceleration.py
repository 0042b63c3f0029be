import h5py
import numpy as np
import pytest
import torch

import mriqf
import recon
from mriqf import jpeg
from mriqf.metrics.reference_free import BASELINES
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.table import Table, read_table
from mriqf.studies.jpeg_report.acceleration import (
    FIGURES,
    KEY,
    AccelerationConfig,
    answer,
    claims,
    columns,
    metadata,
    tasks,
)
from mriqf.studies.jpeg_report.acceleration.answer import A7_BAR, curves, spread, within
from mriqf.studies.jpeg_report.acceleration.measure import FULL, score_image, undersample
from mriqf.studies.jpeg_report.acceleration.prediction import estimators, predict, settings


@pytest.fixture
def config(weights_file):
    return AccelerationConfig(
        families=("random", "equispaced"), accelerations=(1, 2, 4), methods=("zero-filled", "cg-sense"),
        weights=(str(weights_file()),), slices=1, seeds=1, n_coils=4,
    )  # fmt: skip


@pytest.fixture
def knees(tmp_path, disc):
    paths = [tmp_path / f"s{k}.npy" for k in range(3)]
    for seed, path in enumerate(paths):
        np.save(path, disc(2, 72, 80, seed=seed))
    return paths


def study(folder, paths, config):
    inputs = read_inputs(paths, kspace=True)
    return Table(folder, KEY, columns(config), metadata(inputs, config)), tasks(inputs, config, folder)


def run(folder, paths, config, most=None):
    table, todo = study(folder, paths, config)
    for done in table.run(todo):
        if done == most:
            break
    return folder / "rows.csv"


def synthetic(sign=-1, noise=0.0, subjects=4, background=0.0):
    """Table of MoDL images whose central score follows R, and whose background may not."""
    rng = np.random.default_rng(0)
    rows = [
        (f"s{s}", i, FULL if r == 1 else f, r)
        for s in range(subjects)
        for i in range(2)
        for r in (1, 2, 4, 8)
        for f in (("random",) if r == 1 else ("random", "poisson"))
    ]
    subject, index, family, rate = (np.array(c) for c in zip(*rows, strict=True))
    rate = rate.astype(float)
    score = 50 + 5 * sign * rate + noise * rng.standard_normal(len(rate))
    whole = score + background * rng.standard_normal(len(rate))
    return {
        "dataset": subject, "subject": subject, "slice": index.astype(float), "family": family, "acceleration": rate,
        "seed": np.zeros(len(rate)), "method": np.full(len(rate), "modl"), "effective_acceleration": rate,
        "nrmse": rate / 50, "ssim": 1 - rate / 50, **{n: rng.standard_normal(len(rate)) for n in BASELINES},
        "w center": score, "w whole": whole, "w foreground": score + 0.1 * rng.standard_normal(len(rate)),
        "w background": whole, "w background_low": np.zeros(len(rate)),
    }  # fmt: skip


def test_rows_are_those_of_the_plan(tmp_path, knees, config):
    result = read_table(run(tmp_path / "out", knees, config))
    # Three subjects; R = 1 once, R = 2 and 4 for two families; two methods.
    assert len(result["subject"]) == 3 * (1 + 2 * 2) * 2
    assert set(result["family"][result["acceleration"] == 1]) == {FULL}
    full, far = result["acceleration"] == 1, (result["acceleration"] == 4) & (result["family"] == "random")
    assert result["nrmse"][full].max() < result["nrmse"][far].min()
    np.testing.assert_allclose(result["effective_acceleration"][far], 4, rtol=0.02)
    for region in ("center", "whole", "foreground"):
        assert np.isfinite(result[f"tiny {region}"]).all()
    assert sorted(p.name for p in (tmp_path / "out").glob("maps-*.npz")) == ["maps-1.npz", "maps-2.npz", "maps-4.npz"]


@pytest.mark.parametrize("most", [1, 7])
def test_cut_off_and_resumed_gives_the_same_table(tmp_path, knees, config, most):
    whole = run(tmp_path / "whole", knees, config).read_bytes()
    run(tmp_path / "cut", knees, config, most)
    assert len((tmp_path / "cut/rows.csv").read_bytes()) < len(whole)
    assert run(tmp_path / "cut", knees, config).read_bytes() == whole


def test_kept_reconstructions_give_the_same_rows_for_other_weights(tmp_path, knees, config, monkeypatch):
    import mriqf.studies.jpeg_report.acceleration.measure as module

    inputs = read_inputs(knees[:1], kspace=True)

    def rows(folder, images):
        table = Table(tmp_path / folder, KEY, columns(config), metadata(inputs, config))
        list(table.run(tasks(inputs, config, tmp_path / folder, images)))
        return (tmp_path / folder / "rows.csv").read_bytes()

    plain, kept = rows("plain", None), rows("kept", tmp_path / "images")
    assert kept == plain
    assert len(list((tmp_path / "images").glob("*.npz"))) == 5
    monkeypatch.setattr(module, "undersample", lambda *_: pytest.fail("reconstructed again"))
    assert rows("again", tmp_path / "images") == plain


def test_figures_and_answer_come_from_the_table_alone(tmp_path, knees, config):
    path = run(tmp_path / "out", knees, config)
    table = read_table(path)
    text = answer(table)
    assert "| A7 |" in text
    assert "3 subjects" in text
    for name, draw in FIGURES:
        draw(table, tmp_path / "out" / name)
        first = (tmp_path / "out" / name).read_bytes()
        draw(read_table(path), tmp_path / "out" / name)
        assert (tmp_path / "out" / name).read_bytes() == first


def test_raw_data_are_taken_as_they_are(tmp_path, disc, config):
    image = torch.from_numpy(disc(1, 64, 64)).to(torch.complex64)[None]
    csm = recon.birdcage(4, (64, 64))
    np.save(tmp_path / "raw.npy", recon.simulate_kspace(image, csm, 0.1, 0).numpy())
    result = read_table(run(tmp_path / "out", [tmp_path / "raw.npy"], config))
    full = result["acceleration"] == 1
    assert result["nrmse"][full & (result["method"] == "zero-filled")].max() < 1e-3
    assert result["nrmse"][~full].min() > 1e-3


def test_raw_data_are_looked_at_where_the_image_is(tmp_path, disc, config):
    """As fastMRI's are: the read-out is oversampled, and the columns are padded."""
    image = torch.zeros(1, 1, 128, 80, dtype=torch.complex64)
    image[..., 32:96, 8:72] = torch.from_numpy(disc(1, 64, 64)).to(torch.complex64)[None]
    header = (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><reconSpace><matrixSize>'
        "<x>64</x><y>64</y><z>1</z></matrixSize></reconSpace></encoding></ismrmrdHeader>"
    )
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["kspace"] = recon.simulate_kspace(image, recon.birdcage(4, (128, 80)), 0.1, 0).numpy()
        file["ismrmrd_header"] = header.encode()
    (subject,) = read_inputs([tmp_path / "raw.h5"], kspace=True).subjects
    kspace, sense, truth, crop = undersample(subject, 0, FULL, 1, 0, config)
    assert kspace.shape == (1, 4, 128, 80)
    assert truth.shape == (1, 1, 64, 64)
    torch.testing.assert_close(crop(recon.zero_filled(kspace, sense)).abs(), truth, rtol=1e-2, atol=10)


def test_undersampled_data_are_refused(tmp_path, config):
    kspace = np.ones((1, 4, 40, 40), np.complex64)
    kspace[..., 1:12:2] = 0
    np.save(tmp_path / "raw.npy", kspace)
    with pytest.raises(ValueError, match="undersampled already"):
        run(tmp_path / "out", [tmp_path / "raw.npy"], config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"families": ("spiral",)}, "families has 'spiral'"),
        ({"methods": ("magic",)}, "methods has 'magic'"),
        ({"accelerations": (0,)}, "accelerations has 0"),
        ({"weights": ("qf-none",)}, "not found"),
    ],
)
def test_errors_name_the_option(tmp_path, knees, config, change, message):
    from dataclasses import replace

    with pytest.raises(ValueError, match=message) as error:
        run(tmp_path / "out", knees, replace(config, **change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("sign", "holds"), [(-1, True), (1, False)])
def test_verdict_on_the_slope_follows_the_table(sign, holds):
    a7, _ = claims(synthetic(sign))
    assert a7.holds is holds
    assert f"{sign:+.2f}" in a7.measured
    assert str(A7_BAR) in a7.measured


@pytest.mark.parametrize(("background", "holds"), [(10.0, True), (0.0, False)])
def test_verdict_on_the_background_follows_the_table(background, holds):
    _, a8 = claims(synthetic(background=background))
    assert a8.holds is holds


def test_curves_begin_fully_sampled_for_every_family():
    curve_of = curves(synthetic())
    assert FULL not in curve_of["family"]
    for family in ("random", "poisson"):
        mine = (curve_of["family"] == family) & (curve_of["subject"] == "s0") & (curve_of["slice"] == 0)
        assert sorted(curve_of["acceleration"][mine]) == [1, 2, 4, 8]


def test_spread_is_among_slices_and_not_among_rates():
    assert spread(synthetic(), "w center") == pytest.approx(0, abs=1e-9)
    assert spread(synthetic(noise=2.0), "w center") == pytest.approx(2, rel=0.3)


def test_within_gives_mean_and_extremes():
    mean, least, greatest, interval = within(curves(synthetic()), "w center", "effective_acceleration")
    assert (mean, least, greatest) == pytest.approx((-1, -1, -1))
    assert interval == pytest.approx((-1, -1))


def test_a_score_that_follows_the_rate_predicts_it_on_unseen_subjects():
    table = synthetic(noise=0.2)
    fits = estimators(["w center"])
    good = predict(table, fits["isotonic on w center"], "good")
    blind = predict(table, fits["constant (median R)"], "constant")
    assert good.top1 == 1
    assert good.mae < 0.2 < blind.mae
    assert good.top1_interval == (1, 1)
    left = predict(table, fits["isotonic on w center"], "good", leave_family=True)
    assert left.mae < 0.2


def test_nothing_of_the_subject_itself_is_fitted_on():
    # Scores tell subjects apart and nothing else: an estimator that saw the subject would be right.
    table = synthetic(subjects=2)
    codes = np.unique(table["subject"], return_inverse=True)[1]
    table["acceleration"] = 1.0 + codes
    table["w center"] = 10.0 * codes
    result = predict(table, estimators(["w center"])["isotonic on w center"], "x")
    assert result.top1 == 0


def test_one_subject_or_one_family_cannot_be_left_out():
    table = synthetic(subjects=1)
    with pytest.raises(ValueError, match="nothing was fitted on: give two or more"):
        predict(table, estimators(["w center"])["constant (median R)"], "x")
    assert list(settings(table)) == ["modl"]


@pytest.mark.parametrize("rates", [(1, 2, 4, 8), (1, 4)])
def test_one_subject_gets_the_figures_and_the_answer_that_it_can_have(tmp_path, rates):
    table = synthetic(subjects=1)
    table = {name: column[np.isin(table["acceleration"], rates)] for name, column in table.items()}
    text = answer(table)
    assert "1 subjects" in text
    assert "R from one image is tried on subjects that nothing was fitted on: give two or more." in text
    assert ("mean -1.00, from -1.00 to -1.00" in text) is (len(rates) > 2)
    assert ("unknown: it takes three rates" in text) is (len(rates) < 3)
    assert "+nan" not in text
    for name, draw in FIGURES:
        if name != "maps.png":  # of reconstructions, which a table alone does not have
            draw(table, tmp_path / name)
            assert (tmp_path / name).stat().st_size > 1000


def test_one_slice_at_one_seed_has_no_spread_to_judge():
    table = synthetic(subjects=1)
    _, a8 = claims({name: column[table["slice"] == 0] for name, column in table.items()})
    assert a8.holds is None
    assert "of one image at each R" in a8.measured


def test_images_are_scored_as_the_command_does(texture):
    """The grid of an earlier JPEG compression is looked for."""
    pixels = torch.from_numpy(texture(128, 128)).float()[None, None] / 255
    shown = (255 * jpeg.compress(pixels, 40)).round()[0, 0, 3:, 5:].numpy()
    model = mriqf.load("qf-gray")
    assert mriqf.score(shown, model).lattice is not None
    assert score_image(shown, model).value == mriqf.score(shown, model).slices[0].value
