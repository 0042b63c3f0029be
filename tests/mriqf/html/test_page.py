import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mriqf.calibration import Expected
from mriqf.html import Picture, ScoredSlice, ScoredVolume, page
from mriqf.html.page import histogram
from mriqf.html.pictures import IMAGE, MAP, SIDE, colours, encode
from mriqf.scoring.scale import Scale

HOSTILE = "</script><img src=x onerror=alert(1)>%SCRIPT%%DATA%<!--\u2028'\"&.npy"


def volume(name="a.npy", score=50.0, slices=3, expected=None):
    rows = tuple(ScoredSlice(k, score, 0.5, expected) for k in range(slices))
    return ScoredVolume(name, Path(name), rows, "w", "JPEG quality", "rms", Scale(0.0, 1.0, 0.1), None, None, None)


def embedded(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.all = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))


def test_names_are_data_and_nothing_else():
    plain, text = (page([volume(name, expected=Expected(reason=name))], [([], name)]) for name in ("a", HOSTILE))
    assert Tags(text).all == Tags(plain).all
    first = embedded(text)["volumes"][0]
    assert (first["name"], first["amiss"], first["slices"][0][-1]) == (HOSTILE,) * 3


def test_nothing_is_loaded_and_one_script_runs():
    text = page([volume()], [([Picture(1, b"a", b"b")], "")], tables=[Path("s.csv")])
    tags = Tags(text).all
    policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert not {"link", "iframe", "object", "embed", "base", "video", "audio"} & {tag for tag, _ in tags}
    assert not [a for _, a in tags if {"src", "href", "style", "action"} & a.keys()]
    namespace = "http://www.w3.org/2000/svg"  # a name, which is never loaded
    assert set(re.findall(r"\w+://[^\"'\s]*", text)) == {namespace}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|@import|url\(", text)


def test_data_are_those_of_the_table(tmp_path):
    known = Expected(0.06, 0.04, 0.09, 0.9, 0.8, 0.95, None, None, None, 0.5)
    volumes = [volume("b.npy", 70.0, expected=known), volume("a.npy", 20.123456), volume("c.npy", math.nan)]
    (tmp_path / "x y#?.npy").touch()
    volumes.append(volume(str(tmp_path / "x y#?.npy"), 80.0))
    data = embedded(page(volumes, [([], "")] * 4, folder=tmp_path / "out"))
    assert [v["name"] for v in data["volumes"]] == ["c.npy", "a.npy", "b.npy", volumes[3].name]
    assert [v["score"] for v in data["volumes"]] == [None, 20.1235, 70.0, 80.0]
    assert data["volumes"][0]["flags"] == ["no score"]
    assert data["volumes"][2]["nrmse"] == pytest.approx([0.06, 0.04, 0.09])
    assert data["volumes"][2]["slices"][0] == [0, 70.0, 0.5, 0.06, 0.04, 0.09, "ok"]
    assert [v["href"] for v in data["volumes"]] == [None, None, None, "../x%20y%23%3F.npy"]
    assert (sum(data["counts"]), data["median"]) == (3, 70.0)


@pytest.mark.parametrize("values", [[50.0], [0.0, 100.0], [91.23, 91.24, 91.3], [3.0, 5.0, 5.0, 28.9], [-0.1, 0.1]])
def test_histogram_counts_everything(values):
    edges, counts = histogram(values)
    assert sum(counts) == len(values)
    assert len(edges) == len(counts) + 1 <= 26
    np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])
    assert edges[0] <= min(values) <= max(values) <= edges[-1]
    assert counts[0] > 0
    assert counts[-1] > 0


def test_pictures_show_the_slice_and_its_map():
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    image = (0.5 + 0.5 * x).astype(np.float32)
    inside = np.hypot(x, y) < 0.7
    first, second = encode(image[None], np.full(image.shape, 50, np.float32), inside)
    grey = np.asarray(Image.open(io.BytesIO(first)).convert("L"), float)
    covered = np.asarray(Image.open(io.BytesIO(second)), float)
    assert (grey.shape, covered.shape) == ((144, SIDE), (96, 128, 4))
    assert np.abs(grey - np.linspace(0, 255, SIDE)).mean() < 4
    assert covered[48, 64, 3] == 255
    assert covered[2, 2, 3] == 0
    shown = covered[covered[..., 3] == 255][:, :3].mean(0)
    np.testing.assert_allclose(shown, list(bytes.fromhex(colours([50])[0][1:])), atol=6)


def test_pictures_keep_their_budget_whatever_they_show():
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        noise = rng.random((channels, 512, 512), dtype=np.float32)
        first, second = encode(noise, 100 * rng.random((512, 512), dtype=np.float32), rng.random((512, 512)) > 0.5)
        assert len(first) <= IMAGE
        assert len(second) <= MAP
