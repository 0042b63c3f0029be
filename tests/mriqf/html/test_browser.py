"""The page in a real browser, driven over Chromium's debugging pipe with real keys; skipped where there is none."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM, Browser

from mriqf.html import Picture, ScoredSlice, ScoredVolume, compare, most_changed, page, read_pairs
from mriqf.html.pictures import encode
from mriqf.scoring.scale import Scale

HOSTILE = "</script><img src=x onerror=\"document.title='taken over'\">.npy"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    driven = Browser(tmp_path_factory.mktemp("profile"))
    yield driven
    driven.close()


def volume(name, score, worst=1):
    scores = [score + 1.0, score + 1.0, score + 1.0]
    scores[worst] = score - 2.0
    slices = tuple(ScoredSlice(3 * k, s, 0.5, None) for k, s in enumerate(scores))
    scale = Scale(0.0, 1.0, 0.1)
    return ScoredVolume(
        name, Path(name), slices, "w", "JPEG quality", "rms", scale, None, None, None, cut_off=80.5, limit=0.1
    )


@pytest.mark.end_to_end
def test_page_in_chromium(browser, tmp_path):
    ramp = np.broadcast_to(np.linspace(0, 1, 48, dtype=np.float32), (40, 48))
    coded = encode(ramp[None].copy(), (100 * ramp).copy(), np.ones(ramp.shape, bool))
    names = ["sub-10.npy", "sub-9.npy", HOSTILE, "sub-1.npy", "sub-2.npy", "sub-3.npy"]
    volumes = [volume(name, score) for name, score in zip(names, (80.0, 81.0, 40.0, 82.0, 83.0, 84.0), strict=True)]
    shown = [([Picture(3 * k, *coded, position=f"S {k}.5 mm") for k in range(3)], "")] * 5
    shown.append(([], "sub-3.npy: does not exist"))
    out = tmp_path / "report.html"
    out.write_bytes(page(volumes, shown, {"x.txt": "x.txt: is empty"}).encode())
    browser.open(out)

    def listed():
        return browser.run("[...document.querySelectorAll('tbody button')].map(b => b.textContent)")

    def press(key, times=1):
        for _ in range(times):
            browser.press(key)

    def focus(script):
        browser.run(f"{script}.focus()")

    def text(name):
        return browser.run(f"document.getElementById('{name}').textContent")

    # What is below the cut-off is first and shown, its worst slice too; its name is text.
    assert listed() == [HOSTILE, "sub-10.npy", "sub-9.npy", "sub-1.npy", "sub-2.npy", "sub-3.npy"]
    flags = "[...document.querySelectorAll('tbody tr')].slice(0, 3).map(r => [...r.querySelectorAll('.flag')]"
    assert browser.run(f"{flags}.map(f => f.textContent).join())") == [
        "below the cut-off,outlier", "below the cut-off", "1 slice below the cut-off",
    ]  # fmt: skip
    assert "few images with an NRMSE of up to 10 % score lower" in text("cut-off")
    assert (text("unscored-title"), text("reasons")) == ("Not scored: 1", "x.txt: is empty")
    assert browser.run("document.getElementById('name').textContent") == HOSTILE
    assert browser.run("document.title") == "mriqf report"
    assert text("caption") == "Slice 3 (of 0 to 6), S 1.5 mm; score 38.00; below the cut-off; the worst"
    size = "Promise.all(['image','map'].map(i => document.getElementById(i).decode())).then(() => image.naturalWidth)"
    assert browser.run(size) == 48
    assert browser.run("document.querySelectorAll('#histogram rect').length") > 5

    # Everything is reached by Tab, in the order of the page, and what has the focus is seen.
    focus("document.querySelector('#meaning summary')")
    press("Tab")
    assert browser.run("document.activeElement.id") == "text"
    seen = set()
    for _ in range(30):
        press("Tab")
        seen.add(browser.run("document.activeElement.id || document.activeElement.textContent"))
        if browser.run("document.activeElement.id") == "opacity":
            break
    assert {"most", "flagged", "Volume", "Score", "sub-2.npy", "slice", "opacity"} <= seen
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    unnamed = "[...document.querySelectorAll('input')].filter(i => !i.labels.length).length"
    assert browser.run(unnamed) == 0

    # Sliders by arrow keys. The map begins thin, and never hides what it judges.
    veil = "getComputedStyle(document.getElementById('map')).opacity"
    assert browser.run(veil) == "0.3"
    press("ArrowLeft", 4)
    assert browser.run(veil) == "0.1"
    press("ArrowRight", 30)
    assert browser.run(veil) == "0.7"
    press("o")
    assert browser.run(veil) == "0"
    press("o")
    assert browser.run("document.getElementById('trends').hidden") is True  # the table says nothing of groups
    focus("document.getElementById('slice')")
    press("ArrowRight")
    assert "Slice 6" in browser.run("document.getElementById('caption').textContent")

    # Sorting by Enter and by Space, numbers in names as numbers.
    focus("document.querySelectorAll('thead button')[0]")
    press("Enter")
    assert listed()[1:] == ["sub-1.npy", "sub-2.npy", "sub-3.npy", "sub-9.npy", "sub-10.npy"]
    focus("[...document.querySelectorAll('thead button')].find(b => b.textContent == 'Score')")
    press(" ")
    assert listed()[0] == HOSTILE
    press(" ")
    assert listed() == ["sub-3.npy", "sub-2.npy", "sub-1.npy", "sub-9.npy", "sub-10.npy", HOSTILE]
    sorted_by = "[...document.querySelectorAll('[aria-sort]')].map(h => h.textContent + ' ' + h.ariaSort)"
    assert browser.run(sorted_by) == ["Score descending"]

    # Arrows in the table choose volume and slice; a volume that is gone says so.
    focus("document.querySelector('tbody button')")
    press("ArrowDown")
    assert browser.run("document.getElementById('name').textContent") == "sub-2.npy"
    press("ArrowLeft")
    assert "Slice 0" in browser.run("document.getElementById('caption').textContent")
    press("ArrowUp")
    assert browser.run("document.getElementById('amiss').textContent") == "sub-3.npy: does not exist"
    assert browser.run("document.getElementById('figure').hidden") is True

    # Ratings by keys, wherever the focus is but in a field for text; kept when the page is loaded again, and saved.
    press("4")
    press("ArrowDown")
    press("5")
    press("ArrowDown")
    press("2")
    press("0")
    assert text("rated") == "2 of 6 volumes rated"
    pressed = "[...document.querySelectorAll('#rating [aria-pressed=true]')].map(b => b.textContent)"
    assert browser.run(pressed) == ["none"]
    press("ArrowUp")
    assert browser.run(pressed) == ["5"]
    # What is typed as a comment rates nothing.
    browser.run("[...document.querySelectorAll('tbody button')].find(b => b.textContent == 'sub-9.npy').click()")
    focus("document.getElementById('comment')")
    for key in "ghost 3":
        press(key)
    assert browser.run(pressed) == ["none"]
    browser.open(out)
    assert text("rated") == "2 of 6 volumes rated"
    browser.ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    focus("document.getElementById('export')")
    press("Enter")
    until = time.monotonic() + 30
    while not (tmp_path / "ratings.tsv").exists() and time.monotonic() < until:
        time.sleep(0.05)
    header, *saved = (line.split("\t") for line in (tmp_path / "ratings.tsv").read_text().splitlines())
    assert header == [
        "input",
        "rating",
        "nrmse",
        "nrmse_low",
        "nrmse_high",
        "score",
        "unit",
        "weights",
        "pool",
        "comment",
    ]
    assert saved == [
        ["sub-9.npy", "", "", "", "", "81", "JPEG quality", "w", "rms", "ghost 3"],
        ["sub-2.npy", "5", "", "", "", "83", "JPEG quality", "w", "rms", ""],
        ["sub-3.npy", "4", "", "", "", "84", "JPEG quality", "w", "rms", ""],
    ]  # fmt: skip

    # All pictures of a volume at once; a click shows one of them.
    focus("document.querySelector('tbody button')")
    press("m")
    tiles = "[...document.querySelectorAll('#mosaic figcaption')].map(c => c.textContent)"
    assert browser.run(tiles) == ["0 · S 0.5 mm · 41.0", "3 · S 1.5 mm · 38.0", "6 · S 2.5 mm · 41.0"]
    visible = "document.getElementById('{}').getClientRects().length"
    assert (browser.run(visible.format("mosaic")), browser.run(visible.format("stack"))) == (1, 0)
    browser.run("document.querySelectorAll('#mosaic button')[2].click()")
    assert (browser.run(visible.format("mosaic")), browser.run(visible.format("stack"))) == (0, 1)
    assert text("caption").startswith("Slice 6 ")

    # Filters.
    focus("document.getElementById('text')")
    for key in "SUB-1":
        press(key)
    assert listed() == ["sub-10.npy", "sub-1.npy"]  # loaded again, it is in its first order
    focus("document.getElementById('most')")
    for key in "81":
        press(key)
    assert listed() == ["sub-10.npy"]
    assert browser.run("document.getElementById('shown').textContent") == "1 of 6 volumes"
    browser.run("document.getElementById('text').value = document.getElementById('most').value = ''")
    focus("document.getElementById('flagged')")
    press(" ")
    # By the worst first: below the cut-off, one slice below it, no pictures.
    assert listed() == [HOSTILE, "sub-10.npy", "sub-9.npy", "sub-1.npy", "sub-3.npy"]

    undisturbed(browser)


@pytest.mark.end_to_end
def test_one_picture_has_neither_mosaic_nor_slider(browser, tmp_path):
    ramp = np.broadcast_to(np.linspace(0, 1, 48, dtype=np.float32), (40, 48))
    coded = encode(ramp[None].copy(), (100 * ramp).copy(), np.ones(ramp.shape, bool))
    shown = [([Picture(3 * k, *coded, position="") for k in range(count)], "") for count in (3, 1)]
    out = tmp_path / "report.html"
    out.write_bytes(page([volume("a.npy", 82.0), volume("b.npy", 83.0)], shown, {}).encode())
    browser.open(out)
    ids = ("mosaic", "stack", "mosaic-button", "slice")
    visible = f"{list(ids)}.map(id => Math.min(document.getElementById(id).getClientRects().length, 1))"
    choose = "[...document.querySelectorAll('tbody button')].find(b => b.textContent == '{}').click()"
    browser.run(choose.format("a.npy"))
    assert browser.run(visible) == [0, 1, 1, 1]
    browser.press("m")
    assert browser.run(visible)[:3] == [1, 0, 1]
    browser.run(choose.format("b.npy"))
    assert browser.run(visible) == [0, 1, 0, 0]
    browser.press("m")
    assert browser.run(visible) == [0, 1, 0, 0]
    undisturbed(browser)


@pytest.mark.end_to_end
def test_trends_in_chromium(browser, tmp_path):
    scanners = ["A", "B", "A", "B", "A", HOSTILE]
    volumes = [
        replace(volume(f"{k}.npy", 80.0 + k), about={"scanner": name, "date": f"2024-01-{28 - k}"})
        for k, name in enumerate(scanners)
    ]
    (tmp_path / "t.html").write_text(page(volumes, [([], "")] * 6), encoding="utf-8")
    browser.open(tmp_path / "t.html")

    def count(selector):
        return browser.run(f"document.querySelectorAll('{selector}').length")

    # Dates come first: a line of running medians, and a point for each volume, which shows it.
    assert browser.run("[...document.querySelectorAll('#column option')].map(o => o.textContent)") == [
        "date",
        "scanner",
    ]
    assert count("#trend circle") == 6
    assert browser.run("document.querySelector('#trend polyline').getAttribute('points').split(' ').length") == 2
    assert "2024-01-23" in browser.run("document.querySelector('#trend svg').textContent")
    points = "[...document.querySelectorAll('#trend circle')]"
    leftmost = f"{points}.sort((a, b) => a.cx.baseVal.value - b.cx.baseVal.value)[0]"
    browser.run(f"{leftmost}.dispatchEvent(new MouseEvent('click'))")
    assert browser.run("document.getElementById('name').textContent") == "5.npy"
    assert browser.run(f"{leftmost}.classList.contains('chosen')") is True

    # Groups, by keys: medians where the scores are; names are text.
    browser.run("document.getElementById('column').focus()")
    browser.press("ArrowDown")
    titles = "[...document.querySelectorAll('#trend .median title')].map(t => t.textContent)"
    assert browser.run(titles) == ["median 85.0", "median 82.0", "median 82.0"]
    assert HOSTILE in browser.run("document.querySelector('#trend svg').getAttribute('aria-label')")
    assert count("#trend img") == 0
    undisturbed(browser)


@pytest.mark.end_to_end
def test_comparison_in_chromium(browser, tmp_path):
    names = [f"sub-{k}.npy" for k in range(6)] + [HOSTILE.replace("/", "")]
    tables = []
    for label, lift in (("raw", 0.0), ("net", 1.0)):
        rows = [
            {"input": f"{label}/{name}", "slice": k, "score": 40.0 + 3 * v + lift * (v - 2 + 4 * k), "unit": "u",
             "pool": "rms", "weights": "w", "foreground_fraction": 0.5, "low": 0, "high": 1, "threshold": 0.1}
            for v, name in enumerate(names) for k in range(2)
        ]  # fmt: skip
        tables.append(tmp_path / f"{label}.json")
        tables[-1].write_text(json.dumps([*rows, rows[0] | {"input": f"{label}/only-{label}.npy"}]))
    pairs, apart = read_pairs((tables[0], tables[1]), ("raw", "net"))
    ramp = np.broadcast_to(np.linspace(0, 1, 48, dtype=np.float32), (40, 48))
    picture = Picture(1, *encode(ramp[None].copy(), (100 * ramp).copy(), np.ones(ramp.shape, bool)))
    first = most_changed(pairs, 3)[0]
    text = compare(pairs, {first: (picture, picture)}, ("raw", "net"), apart, tables=tables, folder=tmp_path)
    (tmp_path / "c.html").write_text(text, encoding="utf-8")
    browser.open(tmp_path / "c.html")

    def texts(selector):
        return browser.run(f"[...document.querySelectorAll('{selector}')].map(e => e.textContent)")

    # Changes of volumes are v - 2 + 2 (mean of both slices): 0 to 6, of which one is not above 0.
    verdict = texts("#verdict")[0]
    assert verdict.startswith("net scores +3.0 [")
    assert "median +3.0" in verdict
    assert "6 of 7 volumes and 11 of 14 slices score higher" in verdict
    assert texts("#unscored-title") == ["Not compared: 2"]
    assert texts("#reasons li") == ["raw/only-raw.npy: only in raw", "net/only-net.npy: only in net"]
    assert texts("#rows th")[0] == "sub-0"  # the least change first
    assert len(texts("#changed tr")) == 14
    assert (len(texts("#histogram line.rug")), len(texts("#histogram line.far"))) == (7, 0)

    # The slice that changed most is shown by both; the map begins hidden, and never hides what it judges.
    assert texts("#name") == [names[-1].removesuffix(".npy")]
    assert texts("#pair figcaption") == ["raw", "net"]
    assert texts("#facts")[0].startswith("slice 1: score 58.0 → 66.0 (+8.0)")
    decoded = "Promise.all([...document.querySelectorAll('#pair img')].map(i => i.decode())).then(() => 'all')"
    assert browser.run(decoded) == "all"
    veil = "getComputedStyle(document.querySelector('#pair .map')).opacity"
    assert browser.run(veil) == "0"
    browser.run("document.getElementById('opacity').focus()")
    for _ in range(20):
        browser.press("ArrowRight")
    assert browser.run(veil) == "0.7"

    # Rows by keys; a slice without pictures says so.
    browser.run("document.querySelector('#rows button').focus()")
    browser.press("Enter")
    assert texts("#name") == ["sub-0"]
    assert texts("#amiss") == ["no pictures of this slice"]
    assert texts("tr.current th") == ["sub-0"]
    undisturbed(browser)


def undisturbed(browser):
    """Nothing was asked of a network, no policy was broken, no error was thrown."""
    asked = {e["params"]["request"]["url"].partition(":")[0] for e in browser.events
             if e["method"] == "Network.requestWillBeSent"}  # fmt: skip
    assert asked <= {"file", "data", "blob"}
    assert [e for e in browser.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")] == []
