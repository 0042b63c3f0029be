"""The page in a real browser, driven over Chromium's debugging pipe with real keys; skipped where there is none."""

import time
from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM, Browser

from mriqf.html import Picture, ScoredSlice, ScoredVolume, page
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
    browser.open(out)
    assert text("rated") == "2 of 6 volumes rated"
    browser.ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    focus("document.getElementById('export')")
    press("Enter")
    until = time.monotonic() + 30
    while not (tmp_path / "ratings.tsv").exists() and time.monotonic() < until:
        time.sleep(0.05)
    header, *saved = (line.split("\t") for line in (tmp_path / "ratings.tsv").read_text().splitlines())
    assert header == ["input", "rating", "nrmse", "nrmse_low", "nrmse_high", "score", "unit", "weights", "pool"]
    assert saved == [
        ["sub-2.npy", "5", "", "", "", "83", "JPEG quality", "w", "rms"],
        ["sub-3.npy", "4", "", "", "", "84", "JPEG quality", "w", "rms"],
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

    # Nothing was asked of a network, no policy was broken, no error was thrown.
    asked = {e["params"]["request"]["url"].partition(":")[0] for e in browser.events
             if e["method"] == "Network.requestWillBeSent"}  # fmt: skip
    assert asked <= {"file", "data", "blob"}
    assert [e for e in browser.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")] == []
