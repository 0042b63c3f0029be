import numpy as np
import pytest
from PIL import Image

import mriqf
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.table import Table, read_table, where
from mriqf.studies.jpeg_report.datasets import (
    COLUMNS,
    KEY,
    DatasetConfig,
    answer,
    claims,
    draw_histograms,
    is_jpeg,
    metadata,
    tasks,
)


@pytest.fixture
def study(tmp_path, texture, disc, weights_file):
    """Inputs and configuration: two photographs and a blank one, grey JPEGs, and a volume."""
    for name in ("photos", "scans"):
        (tmp_path / name).mkdir()
    for seed in range(2):
        Image.fromarray(texture(64, 72, seed=seed, channels=3)).save(tmp_path / "photos" / f"p{seed}.png")
        Image.fromarray(texture(96, 96, seed=seed)).save(tmp_path / "scans" / f"s{seed}.jpg", quality=40)
    Image.fromarray(np.full((64, 64, 3), 9, np.uint8)).save(tmp_path / "photos" / "q.png")
    np.save(tmp_path / "knee.npy", disc(5, 64, 64))
    config = DatasetConfig(
        gray_weights=str(weights_file("gray.safetensors", arch="cui")),
        rgb_weights=str(weights_file("rgb.safetensors", arch="cui", channels=3)),
    )
    return read_inputs([tmp_path / "photos", tmp_path / "scans", tmp_path / "knee.npy"]), config


def carry_out(folder, study, stop=None, report=lambda _: None):
    inputs, config = study
    table = Table(folder, KEY, COLUMNS, metadata(inputs, config))
    for count in table.run(tasks(inputs, config, report)):
        if count == stop:
            break
    return table.path


def test_scores_are_those_of_the_package(tmp_path, study):
    inputs, config = study
    said = []
    columns = read_table(carry_out(tmp_path / "out", study, report=said.append))
    assert len(columns["score"]) == 3 + 2 + 3
    for subject in inputs.subjects:
        rows = where(columns, subject=subject.name)
        indices = subject.slices(3)
        assert rows["slice"].tolist() == indices
        if subject.name == "q":
            assert np.isnan([rows["score"], rows["network"]]).all()
            continue
        weights = config.rgb_weights if subject.data.channels == 3 else config.gray_weights
        assert set(rows["weights"]) == {weights}
        expected = mriqf.score(subject.data, weights, slices=indices)
        assert rows["score"] == pytest.approx(expected.per_slice, abs=1e-3)
    assert len(said) == 1
    assert said[0].startswith("warning: image is constant")
    assert said[0].endswith("q.png is left out")

    scans = where(columns, dataset="scans")
    assert (scans["lattice"] == 40).all()
    assert (scans["score"] != scans["network"]).all()
    assert (scans["jpeg"] == 1).all()
    others = where(columns, dataset=["photos", "knee"])
    assert np.isnan(others["lattice"]).all()
    assert np.array_equal(others["score"], others["network"], equal_nan=True)
    assert (others["jpeg"] == 0).all()


def test_killed_and_resumed_gives_the_same_table(tmp_path, study):
    whole = carry_out(tmp_path / "whole", study)
    for stop in (2, 4, None):
        cut = carry_out(tmp_path / "cut", study, stop)
        if stop:
            with cut.open("a") as file:
                file.write("knee,kn")  # a row that was not written whole
    assert cut.read_bytes() == whole.read_bytes()


def test_a_jpeg_is_known_by_its_content(tmp_path, texture):
    Image.fromarray(texture(16, 16)).save(tmp_path / "a.png", "JPEG")
    Image.fromarray(texture(16, 16)).save(tmp_path / "b.jpg", "PNG")
    assert [is_jpeg(str(tmp_path / name)) for name in ("a.png", "b.jpg", "none.jpg", "")] == [True, False, False, False]


def synthetic(**sets):
    """Columns of a table: mean score and whether JPEG, and weights, of each data set of eight images."""
    noise = np.random.default_rng(0).standard_normal(8)
    rows = [
        {
            "dataset": name, "subject": f"s{k}", "slice": 0.0, "weights": weights, "score": mean + noise[k],
            "network": float(mean), "lattice": np.nan, "jpeg": float(jpeg),
        }
        for name, (mean, jpeg, weights) in sets.items() for k in range(8)
    ]  # fmt: skip
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def test_verdict_follows_the_table():
    good = synthetic(a=(95, False, "w"), b=(99, False, "w"), c=(60, True, "w"), d=(50, False, "other"))
    (claim,) = claims(good)
    assert claim.holds is True
    assert "in 2 of 2 pairs" in claim.measured
    assert "- w: c < a < b" in answer(good)
    assert "- other: d\n" in answer(good) + "\n"
    for name, mean, sd in (("LIVE", 78.0, 5.4), ("Flickr1024", 95.18, 4.3), ("ImageNet", 97.05, 1.7)):
        assert f"| {name}, in the report | its own | | | {mean:.2f} ± {sd} |" in answer(good)

    (claim,) = claims(synthetic(a=(95, False, "w"), b=(60, False, "w"), c=(61, True, "w")))
    assert claim.holds is False
    assert "in 1 of 2 pairs" in claim.measured
    close = synthetic(a=(95, False, "w"), c=(94.9, True, "w"))
    assert claims(close)[0].holds is False  # the intervals touch
    assert "c ≲ a" in answer(close)
    assert claims(synthetic(a=(95, False, "w"), c=(60, True, "other")))[0].holds is None


def test_images_without_a_score_are_counted_out():
    columns = synthetic(a=(95, False, "w"))
    columns["score"][:3] = np.nan
    assert "| a | w | no JPEG | 5 (5) |" in answer(columns)
    assert "- a: 3 images could not be scored." in answer(columns)
    columns["score"][:] = np.nan
    with pytest.raises(ValueError, match="no image has a score"):
        answer(columns)


def test_the_figure_is_the_same_when_it_is_drawn_again(tmp_path):
    columns = synthetic(a=(95, False, "w"), c=(60, True, "w"))
    for name in ("a.png", "b.png"):
        draw_histograms(columns, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert np.ptp(np.asarray(Image.open(tmp_path / "a.png").convert("L"))) > 200
