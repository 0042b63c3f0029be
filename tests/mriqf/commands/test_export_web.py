"""`mriqf export-web` as it is typed, and its page in a real browser where that and the runtime are at hand."""

import csv
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from chromium import CHROMIUM, Browser

import mriqf
from mriqf import web
from mriqf.cli import main
from mriqf.html import read_scores
from mriqf.web.runtime import ABOUT, BINARY, SCRIPT, VERSION

pytestmark = pytest.mark.usefixtures("unchecked")  # the checks look at sizes, which are no numbers while torch traces
MODULE = "var a=1,b=import.meta.url;export{a as Tensor,b as env};\n//# sourceMappingURL=x.map"


@pytest.fixture
def package(tmp_path):
    """Writer of a package that looks like the runtime's."""

    def write(name="runtime", version=VERSION, module=MODULE):
        folder = tmp_path / name
        (folder / "dist").mkdir(parents=True)
        (folder / ABOUT).write_text(json.dumps({"name": "onnxruntime-web", "version": version}))
        (folder / SCRIPT).write_text(module)
        (folder / BINARY).write_bytes(b"binary")
        return folder

    return write


def test_page_is_one_file_that_connects_to_nothing(tmp_path, calibrated_file, package, capsys):
    path, made = calibrated_file()
    tokens = ["export-web", str(tmp_path / "site"), "--model", str(path), "--runtime", str(package())]
    assert main(tokens) == 0
    assert sorted(file.name for file in (tmp_path / "site").iterdir()) == ["index.html", "licence.txt"]
    text = (tmp_path / "site" / "index.html").read_text()
    printed = capsys.readouterr().out.strip().split("\t")
    assert printed == [str(tmp_path / "site" / "index.html"), str(path), f"{len(text.encode()) / 1e6:.2f}"]
    policy = text.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
    assert policy.startswith("default-src &#x27;none&#x27;; script-src &#x27;sha256-")
    assert "connect-src" not in policy
    assert "unsafe-inline" not in policy
    assert not [mark for mark in ("%POLICY%", "%WASM%", "%WORKER%", " src=", "href=", "import(") if mark in text]
    known = json.loads(text.partition('id="parameters">')[2].partition("</script>")[0])
    assert known["calibration"]["domain"]["mean"] == list(made.domain.mean)
    assert (known["stride"], known["pool"]) == (8, "rms")
    cut = made.cut_off()
    assert known["cutOff"] == {"score": cut.score, "limit": 0.1, "withinRejected": cut.within_rejected}
    assert main(tokens) == 2
    assert "exists" in capsys.readouterr().err
    before = text
    assert main([*tokens, "--force"]) == 0
    assert (tmp_path / "site" / "index.html").read_text() == before


def test_runtime_from_a_folder_or_an_archive(tmp_path, package):
    folder = package()
    result = web.read_runtime(folder)
    assert result.binary == b"binary"
    assert result.script.strip() == 'var a=1,b="";const ort = { Tensor: a, env: b };'
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        archive.add(folder, "package")
    assert web.read_runtime(tmp_path / "a.tgz") == result
    installed = tmp_path / "there" / "node_modules"
    installed.mkdir(parents=True)
    shutil.copytree(folder, installed / "onnxruntime-web")
    assert web.read_runtime(tmp_path / "there") == result


def test_runtime_that_is_none(tmp_path, package, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tgz").write_text("no archive")
    for path, told in (
        (tmp_path / "empty", "is not there"),
        (tmp_path / "nowhere", "is not there"),
        (tmp_path / "text.tgz", "is no npm package"),
        (package("old", "1.0.0"), f"is onnxruntime-web 1.0.0, and the page is tested with onnxruntime-web {VERSION}"),
        (package("odd", module="var a=1"), "does not look as that of"),
    ):
        with pytest.raises(ValueError, match=rf"{told}.*npm pack onnxruntime-web@{VERSION}.*--runtime"):
            web.read_runtime(path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="npm is not installed: on a machine with npm, get it by"):
        web.fetch(tmp_path)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho no network here >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    with pytest.raises(ValueError, match=r"npm does not bring .* \(no network here\): on a machine with a network"):
        web.fetch(tmp_path)


def test_weights_that_tell_no_errors(tmp_path, weights_file, package, capsys):
    assert main(["export-web", str(tmp_path / "a"), "--model", str(weights_file()), "--runtime", str(package())]) == 1
    assert "tell JPEG quality, and the page shows errors: choose qf-mri" in capsys.readouterr().err


# In the browser


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """The real package: that of MRIQF_WEB_RUNTIME, or what npm brings."""
    if given := os.environ.get("MRIQF_WEB_RUNTIME"):
        return Path(given)
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    try:
        return web.fetch(tmp_path_factory.mktemp("runtime"))
    except (ValueError, subprocess.SubprocessError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    driven = Browser(tmp_path_factory.mktemp("profile"))
    yield driven
    driven.close()


def text(browser, name):
    return browser.run(f"document.getElementById('{name}').textContent")


def settle(browser, wanted):
    until = time.monotonic() + 240
    while (said := text(browser, "status")) != wanted:
        assert time.monotonic() < until, said
        assert "cannot run" not in said, said
        assert "did not start" not in said, said
        time.sleep(0.1)


def drop(browser, *paths):
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.ask("Input.dispatchDragEvent", type=kind, x=200, y=200, data=data)


def saved(browser, folder):
    """Rows of the table that the page saves."""
    browser.ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.run("document.getElementById('save').click()")
    until = time.monotonic() + 30
    while not (folder / "scores.csv").exists() and time.monotonic() < until:
        time.sleep(0.05)
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def reference_images():
    """As the table of reference scores has them."""
    import importlib.util

    path = Path(__file__).parents[1] / "scoring" / "test_reference_scores.py"
    spec = importlib.util.spec_from_file_location("reference_scores", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.images(1), {image: value for (name, image), value in module.table().items() if name == "qf-mri"}


@pytest.mark.end_to_end
@pytest.mark.timeout(900)
def test_page_says_what_python_says(tmp_path, browser, runtime, nrmse_file):
    """The reference images within half a point, and others in all that is shown; nothing leaves the page."""
    images, expected = reference_images()
    site = tmp_path / "site"
    assert main(["export-web", str(site), "--runtime", str(runtime)]) == 0
    paths = {}
    for name, pixels in images.items():
        paths[name] = tmp_path / f"{name}.npy"
        np.save(paths[name], pixels)
    head = images["untouched"].astype(np.float32)
    volume = np.stack(
        [head + k * np.hypot(*np.random.default_rng(k).standard_normal((2, *head.shape))) for k in (0, 9)]
    )
    paths["two"] = tmp_path / "=two.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.float32).T, np.eye(4)), paths["two"])
    paths["odd"] = tmp_path / "odd.npy"
    np.save(paths["odd"], np.sin(np.mgrid[:96, :96][1] / 2) + 1)
    (tmp_path / "a.txt").write_text("words")

    browser.open(site / "index.html")
    settle(browser, "Ready.")
    drop(browser, *(path for name, path in paths.items()), tmp_path / "a.txt")
    settle(browser, f"Ready. {len(paths)} scored.")
    assert text(browser, "reasons").startswith("a.txt: is neither NIfTI")
    rows = {(row["input"], row["slice"]): row for row in saved(browser, tmp_path)}
    for name in images:
        assert float(rows[f"{name}.npy", "0"]["score"]) == pytest.approx(expected[name], abs=0.5)
    scorer = mriqf.Scorer(exact=True)
    assert scorer.calibration is not None
    cut = scorer.calibration.cut_off().score
    assert f"Cut-off {cut:.1f}: " in text(browser, "about")
    cells = "[...document.querySelectorAll('#rows tr')].map(r => [r.cells[0].innerText, r.cells[4].innerText])"
    remarks = dict(browser.run(cells))
    below = {path.name: scorer(mriqf.read(path)).value < cut for name, path in paths.items() if name != "odd"}
    assert {name: "below the cut-off" in remarks[name] for name in below} == below
    for name, path in paths.items():
        for one in scorer(mriqf.read(path)).slices:
            row = rows["./=two.nii.gz" if name == "two" else path.name, str(one.index)]
            assert (float(row["cut_off"]), float(row["limit"])) == (pytest.approx(cut), 0.1)
            assert float(row["foreground_fraction"]) == pytest.approx(one.foreground_fraction, abs=1e-4)
            assert float(row["distance"]) == pytest.approx(one.expected.distance, rel=1e-3)
            if one.expected.unlike:
                assert (row["score"], row["nrmse"]) == ("", "")
                assert row["domain"] == one.expected.reason
            else:
                assert float(row["score"]) == pytest.approx(one.value, abs=0.05)
                result = [float(row[key]) for key in ("nrmse", "nrmse_low", "nrmse_high")]
                wanted = [one.expected.nrmse, one.expected.nrmse_low, one.expected.nrmse_high]
                assert result == pytest.approx(wanted, rel=5e-3)
                assert row["domain"] == "ok"
    assert rows["odd.npy", "0"]["domain"].startswith("unlike calibration")
    assert len(read_scores([tmp_path / "scores.csv"])) == len(paths)  # `mriqf report` takes it

    # The viewer: the volume with two slices, its worst first, and what is unlike the calibration without a map.
    browser.run("[...document.querySelectorAll('tbody button')].find(b => b.textContent == '=two.nii.gz').click()")
    assert text(browser, "name") == "=two.nii.gz"
    worst = int(np.argmin(scorer(mriqf.read(paths["two"])).per_slice))
    other = 1 - worst
    assert text(browser, "caption").startswith(f"Slice {worst} of 0 to 1 · score ")
    browser.run("document.getElementById('slice').focus()")
    browser.press("ArrowRight" if other else "ArrowLeft")
    assert text(browser, "caption").startswith(f"Slice {other} of 0 to 1 · score ")
    veil = "getComputedStyle(document.getElementById('map')).opacity"
    assert browser.run(veil) == "0.3"
    browser.run("document.getElementById('opacity').focus()")
    for _ in range(20):
        browser.press("ArrowRight")
    assert browser.run(veil) == "0.7"
    column = "document.getElementById('image').getContext('2d').getImageData(100, 0, 1, 256).data"
    grey = np.array(browser.run(f"[...{column}]")).reshape(-1, 4)[:, 0]
    assert np.corrcoef(grey, volume[other, ::-1, 100])[0, 1] > 0.999  # rows of NIfTI go up
    covered = "[...document.getElementById('map').getContext('2d').getImageData(0, 0, 64, 64).data]"
    assert 255 in browser.run(covered.replace("0, 0, 64, 64", "64, 64, 64, 64"))[3::4]
    browser.run("[...document.querySelectorAll('tbody button')].find(b => b.textContent == 'odd.npy').click()")
    assert set(browser.run(covered)[3::4]) == {0}

    # Whatever script tries it: nothing goes out.
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.5)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert browser.run(f"fetch('{address}').then(() => 'sent', () => 'refused')") == "refused"
        browser.run(f"new Image().src = '{address}'")
        with pytest.raises(TimeoutError):
            server.accept()
    browser.events = [e for e in browser.events if address not in json.dumps(e)]
    asked = {e["params"]["request"]["url"].partition(":")[0] for e in browser.events
             if e["method"] == "Network.requestWillBeSent"}  # fmt: skip
    assert asked <= {"file", "data", "blob"}
    told = [e["params"]["entry"] for e in browser.events if e["method"] == "Log.entryAdded"]
    assert [e for e in told if e["level"] == "error"] == []
    assert [e for e in browser.events if e["method"] == "Runtime.exceptionThrown"] == []

    # Another network, with intervals of its own but without a calibration.
    other = nrmse_file()
    assert main(["export-web", str(site), "--model", str(other), "--runtime", str(runtime), "--force"]) == 0
    browser.open(site / "index.html")
    settle(browser, "Ready.")
    assert "no calibration" in text(browser, "about")
    drop(browser, paths["two"])
    settle(browser, "Ready. 1 scored.")
    (tmp_path / "scores.csv").unlink()
    result = [float(row["score"]) for row in saved(browser, tmp_path)]
    scored = mriqf.Scorer(other, exact=True)(mriqf.read(paths["two"]))
    assert result == pytest.approx(scored.per_slice.tolist(), abs=0.05)
