"""The page's modules give what Python gives: each port beside its original, with node; skipped where that is not."""

import dataclasses
import gzip
import json
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from scipy import ndimage

import mriqf
from mriqf import metrics, web
from mriqf.calibration import Calibration
from mriqf.calibration.calibration import REFUSED
from mriqf.calibration.curve import Band
from mriqf.calibration.domain import Domain
from mriqf.io import from_array
from mriqf.jpeg import compress_pixels
from mriqf.metrics.foreground import foreground_mask
from mriqf.predictors.inference import pad_to_cells, read_errors
from mriqf.predictors.unit import score_of_error
from mriqf.scoring.compression import compression_error, jpeg_trace
from mriqf.scoring.foreground import content
from mriqf.scoring.pooling import cell_weight
from mriqf.scoring.resolution import on_grid, resolve, resolved_volume, support, volume_support
from mriqf.scoring.scale import normalise, volume_scale
from mriqf.scoring.slices import enlarge, own_scale

NODE = shutil.which("node")
FOLDER = Path(web.__file__).parent
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def typed(array):
    """An array as the modules take it."""
    array = np.asarray(array)
    kind = {"f4": "Float32Array", "f8": "Float64Array", "u1": "Uint8Array", "b1": "Uint8Array"}[array.dtype.str[1:]]
    return {kind: array.ravel().tolist()}


def call(*calls):
    ended = subprocess.run(
        [NODE, str(Path(__file__).with_name("calls.mjs")), FOLDER.as_uri()],
        input=json.dumps(calls), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def interpolated(image, shape):
    """Zero-filled to a larger matrix."""
    rims = [((n - m) // 2, n - m - (n - m) // 2) for n, m in zip(shape, image.shape, strict=True)]
    spectrum = np.pad(np.fft.fftshift(np.fft.fft2(image)), rims)
    return np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum))).astype(np.float32)


def test_numbers():
    lines = [noise(n) for n in (1, 2, 30, 64, 97)]
    image, holes = noise(21, 34), noise(30, 25, seed=1) < 0.6
    values = noise(1001)
    result = call(
        *(["fourier:fourierLine", typed(line), typed(line[::-1])] for line in lines),
        ["fourier:fourier", typed(image), None, 21, 34],
        ["numeric:gaussian", typed(image), 21, 34, 2],
        ["numeric:fillHoles", typed(holes), 30, 25],
        ["numeric:percentiles", typed(values), [0, 1, 50, 99.9, 100]],
        ["numeric:interpolate", 0.3, [0.1, 0.25, 0.5], [3, 2, 0]],
        ["numeric:roundEven", 2.5],
    )
    for line, (real, imaginary) in zip(lines, result[:5], strict=True):
        expected = np.fft.fft(line + 1j * line[::-1])
        np.testing.assert_allclose(np.array(real) + 1j * np.array(imaginary), expected, atol=1e-10)
    transformed, smooth, filled, percentiles, between, rounded = result[5:]
    np.testing.assert_allclose(np.array(transformed[0]) + 1j * np.array(transformed[1]), np.fft.fft2(image).ravel())
    np.testing.assert_allclose(smooth, ndimage.gaussian_filter(image, 2).ravel())
    assert filled == ndimage.binary_fill_holes(holes).astype(int).ravel().tolist()
    assert filled != holes.astype(int).ravel().tolist()
    np.testing.assert_allclose(percentiles, np.percentile(values, (0, 1, 50, 99.9, 100)))
    assert between == pytest.approx(np.interp(0.3, [0.1, 0.25, 0.5], [3, 2, 0]))
    assert rounded == 2


def test_foreground_and_frames(disc):
    (raw,) = disc(1, 80, 70)
    image = (raw / raw.max()).astype(np.float32)
    canvas = np.pad(raw, ((9, 4), (0, 30)))
    small, sides = image[:40, :48], {"leastSide": 64, "stride": 8, "smallest": 32}
    masks = call(
        ["foreground:objectMask", typed(raw), 80, 70],
        ["foreground:foregroundMask", typed(image), 80, 70, 0.2],
        ["foreground:content", typed(canvas), 93, 100, 64],
        ["foreground:content", typed(np.zeros((40, 50), np.float32)), 40, 50, 64],
        ["foreground:enlarge", typed(small), typed(small > 0.3), 40, 48, sides],
    )  # fmt: skip
    assert masks[0] == metrics.object_mask(torch.from_numpy(raw)[None, None]).int().flatten().tolist()
    assert masks[1] == foreground_mask(image[None], 0.2).astype(int).ravel().tolist()
    for result, given in ((masks[2], canvas), (masks[3], np.zeros((40, 50), np.float32))):
        rows, columns = content(given[None], 64)
        assert result == {
            "top": rows.start, "left": columns.start,
            "height": rows.stop - rows.start, "width": columns.stop - columns.start,
        }  # fmt: skip
    large, inside, frame = enlarge(small[None], small > 0.3, mriqf.load("qf-mri"))
    assert masks[4]["image"] == large.ravel().tolist()
    assert masks[4]["inside"] == inside.astype(int).ravel().tolist()
    assert (masks[4]["top"], masks[4]["left"]) == (frame[0].start, frame[1].start)


def test_resolution(disc):
    (image,) = disc(1, 96, 90)
    images = [image, interpolated(image, (160, 90)), interpolated(image, (180, 200)), interpolated(image, (97, 131))]
    result = call(*(["resolution:support", typed(one), *one.shape] for one in images))
    expected = [support(torch.from_numpy(one)[None, None]) for one in images]
    assert list(map(tuple, result)) == expected
    assert expected[0] == (96, 90)
    assert expected[2] != (180, 200)
    size, large = expected[2], np.where(images[2] < 20, 0, images[2])
    own, back, near = call(
        ["resolution:resolve", typed(large), 180, 200, *size],
        ["resolution:onGrid", typed(image), 96, 90, 131, 95],
        ["resolution:onGrid", typed(image > 300), 96, 90, 131, 95, True],
    )
    resolved = resolve(torch.from_numpy(large)[None, None], size).flatten().numpy()
    assert (resolved == 0).any()
    np.testing.assert_allclose(own, resolved, atol=1e-3)
    np.testing.assert_allclose(back, on_grid(image, (131, 95)).ravel(), rtol=1e-5)
    assert near == on_grid(image > 300, (131, 95), nearest=True).astype(int).ravel().tolist()


def test_earlier_jpeg_compression(natural, disc):
    canvas = np.zeros((120, 150), np.uint8)
    canvas[10:110, 20:140] = natural(100, 120).clip(40, 250)
    images = []
    for quality, top, left, unit in ((20, 0, 0, 1.0), (60, 3, 6, 0.013), (90, 0, 5, 31.0)):
        decoded = compress_pixels(canvas, quality)[top:, left:].astype(np.float32)
        images.append(np.float32(unit) * decoded)
    images += [canvas.astype(np.float32), disc(1, 64, 64)[0]]
    traces = call(*(["trace", typed(image), *image.shape] for image in images))
    errors = []
    for image, trace in zip(images, traces, strict=True):
        expected = jpeg_trace(from_array(image), [0])
        assert trace == (None if expected is None else {"quality": expected.quality, "phase": list(expected.phase)})
        errors.append((image, trace, expected, image > 0.2 * image.max()))
    assert [trace and trace["quality"] for trace in traces] == [20, 60, 90, None, None]
    result = call(*(["jpeg:compressionError", typed(i), *i.shape, t, typed(f)] for i, t, e, f in errors if e))
    for here, (image, _, lattice, inside) in zip(result, errors, strict=False):
        assert here == pytest.approx(compression_error(image, lattice, inside), rel=1e-3)


def made_calibration(n, *, own_width=False):
    rng = np.random.default_rng(0)
    band = Band((10.0, 40.0, 90.0), (-1.0, -2.0, -4.0), (0.0, 100.0), (0.2, 0.4), -1.5, 1.2)
    nrmse = dataclasses.replace(band, grid=(), spread=()) if own_width else band
    whitener = tuple(map(tuple, 0.3 * rng.standard_normal((n, n))))
    return Calibration(
        "", "rms", 0.9, "", nrmse, band, None, Domain(tuple(rng.standard_normal(n)), whitener, 0.05), (), ()
    )


def plain(calibration):
    return {"nrmse": dataclasses.asdict(calibration.nrmse), "domain": dataclasses.asdict(calibration.domain)}


def test_expected_error():
    seen, calls = set(), []
    cases = [(own, score, scale) for own in (False, True) for score in (-5.0, 33.0, 120.0) for scale in (0.1, 1.0, 9.0)]
    for own, score, scale in cases:
        calibration = made_calibration(5, own_width=own)
        features = np.array(calibration.domain.mean) + scale * np.arange(1, 6)
        calls.append(["calibration:expect", plain(calibration), score, features.tolist(), [0.2, 0.5], REFUSED])
    for (own, score, _), result, made in zip(cases, call(*calls), calls, strict=True):
        calibration = made_calibration(5, own_width=own)
        expected = calibration.expect(score, np.array(made[3]), (0.2, 0.5) if own else None)
        seen.add((expected.in_domain, expected.distance > 1))
        assert result["distance"] == pytest.approx(expected.distance)
        assert result["reason"] == expected.reason
        if expected.in_domain:
            assert result["nrmse"] == pytest.approx([expected.nrmse, expected.nrmse_low, expected.nrmse_high])
        else:
            assert result["nrmse"] is None
    assert seen == {(True, False), (True, True), (False, True)}


def network_outputs(model, slice_, scale):
    """What an exported network gives of a slice."""
    rows, columns = content(slice_, model.receptive_field)
    part = normalise(slice_, scale)[:, rows, columns]
    image, inside, _ = enlarge(part, foreground_mask(part, scale.threshold), model)
    weight = cell_weight(torch.from_numpy(inside[None]), model.stride)
    reading = read_errors(model, torch.from_numpy(image[None]), weight)
    quality = score_of_error(10**reading.cells)
    result = {"log_error": reading.cells, "quality": quality, "features": reading.features}
    if reading.width is not None:
        predicted = model.symmetric(pad_to_cells(model, torch.from_numpy(image[None])))
        result["width"] = torch.stack((predicted.below, predicted.above), 1)
    return {name: typed(tensor.float().numpy()) for name, tensor in result.items()}


@pytest.mark.parametrize("kind", ["error", "nrmse"])
def test_scores(disc, error_file, nrmse_file, kind):
    """All around the network, which is Python's: an interpolated volume on a canvas, a slice of which is empty."""
    path = error_file() if kind == "error" else nrmse_file()
    model = mriqf.load(path)
    raw = np.stack([np.pad(interpolated(one, (150, 170)), ((5, 0), (0, 12))) for one in disc(3, 80, 90)])
    raw[1] = 0
    volume = from_array(raw)
    scored = mriqf.Scorer(model, calibration=None, exact=True)(volume)
    n = len(scored.slices[0].ood_features)
    calibration = made_calibration(n, own_width=kind == "nrmse")
    domain = calibration.domain
    near = np.where(np.isfinite(scored.slices[0].ood_features), scored.slices[0].ood_features, 0)
    domain = dataclasses.replace(domain, mean=tuple(near + 0.05), whitener=tuple(map(tuple, np.eye(n) * 3)))
    calibration = dataclasses.replace(calibration, domain=domain)

    size = volume_support(volume)
    seen = resolved_volume(volume, size)
    scale = own_scale(volume_scale(seen), model)
    outputs = [network_outputs(model, seen.read_slice(index), scale) for index in range(3)]
    given = {"count": 3, "rows": 155, "columns": 182, "slices": [typed(one) for one in raw]}
    known = web.parameters(model, calibration)
    (result,) = call(["score", given, outputs, known])
    assert result["resolved"] == list(size) != [155, 182]
    assert (result["scale"]["low"], result["scale"]["high"]) == pytest.approx((scale.low, scale.high), rel=1e-5)
    assert result["scale"]["threshold"] == pytest.approx(scale.threshold, rel=1e-4)
    for here, there in zip(result["slices"], scored.slices, strict=True):
        assert here["share"] == pytest.approx(there.foreground_fraction, abs=1e-3)
        if not here["share"]:
            assert here["score"] == "NaN"
            assert here["expected"]["reason"] == "no foreground"
            continue
        expected = calibration.expect(score_of_error(there.error, clamp=False), there.ood_features, there.width)
        assert here["expected"]["distance"] == pytest.approx(expected.distance, rel=1e-2)
        assert here["score"] == (pytest.approx(there.value, abs=0.02) if expected.in_domain else None)
        np.testing.assert_allclose(here["map"], there.map.ravel(), atol=0.2)
        np.testing.assert_allclose(here["image"], there.image.ravel(), atol=1e-4)
        if expected.in_domain:
            assert here["expected"]["nrmse"][1:] == pytest.approx([expected.nrmse_low, expected.nrmse_high], rel=1e-2)
    assert any(s["expected"]["reason"] == "" for s in result["slices"])


def test_scores_of_what_was_jpeg(natural, error_file):
    canvas = np.zeros((120, 150), np.uint8)
    canvas[10:110, 20:140] = natural(100, 120).clip(40, 250)
    raw = compress_pixels(canvas, 15).astype(np.float32)
    model = mriqf.load(error_file())
    volume = from_array(raw)
    (expected,) = mriqf.Scorer(model, calibration=None, exact=True)(volume).slices
    size = volume_support(volume)
    seen = resolved_volume(volume, size)
    outputs = [network_outputs(model, seen.read_slice(0), own_scale(volume_scale(seen), model))]
    given = {"count": 1, "rows": 120, "columns": 150, "slices": [typed(raw)]}
    (result,) = call(["score", given, outputs, web.parameters(model, None)])
    (here,) = result["slices"]
    assert here["error"] == pytest.approx(expected.error, rel=1e-3)
    assert here["score"] == pytest.approx(expected.value, abs=0.02)
    np.testing.assert_allclose(here["map"], expected.map.ravel(), atol=0.2)


def test_files(tmp_path, disc):
    raw = disc(3, 40, 36)
    rng = np.random.default_rng(0)
    complex_ = (raw + 1j * rng.standard_normal(raw.shape)).astype(np.complex64)
    np.save(tmp_path / "a.npy", raw)
    np.save(tmp_path / "b.npy", np.asfortranarray(raw.astype(">f8")))
    np.save(tmp_path / "c.npy", complex_[:, None])
    np.save(tmp_path / "d.npy", raw[0].astype(np.float16))
    scaled = nibabel.Nifti1Image(raw.T.astype(np.float32), np.diag([1, 2, 3, 1]))
    scaled.header.set_data_dtype(np.int16)
    nibabel.save(scaled, tmp_path / "e.nii.gz")
    nibabel.save(nibabel.Nifti2Image(complex_.T[..., None].repeat(2, 3), np.eye(4)), tmp_path / "f.nii")
    swapped = nibabel.Nifti1Image(raw.T, np.eye(4), nibabel.Nifti1Header(endianness=">"))
    nibabel.save(swapped, tmp_path / "g.nii")
    grey = (255 * raw[0] / raw[0].max()).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "h.png")
    Image.fromarray(grey.astype(np.uint16) * 200).save(tmp_path / "i.png")
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "j.png")
    Image.fromarray(grey > 99).save(tmp_path / "k.png")
    paths = sorted(tmp_path.iterdir())
    (result,) = call(["read", [str(path) for path in paths]])
    assert result["failed"] == []
    assert len(result["read"]) == len(paths) == 11
    for volume, path in zip(result["read"], paths, strict=True):
        expected = mriqf.read(path)
        assert (volume["count"], volume["rows"], volume["columns"]) == (expected.n_slices, *expected.shape), path
        assert volume["rowsUp"] == expected.rows_up
        for k, one in enumerate(volume["slices"]):
            np.testing.assert_allclose(one, expected.read_slice(k).ravel(), rtol=1e-5, err_msg=str(path))
    assert result["read"][4]["pixel"] == [1, 2]


def dicom(path, frames, *, syntax=pydicom.uid.ExplicitVRLittleEndian, **attributes):
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.MRImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.generate_uid()
    data.SeriesInstanceUID = "1.2.3"
    data.Rows, data.Columns = frames.shape[-2:]
    if frames.ndim > 2:
        data.NumberOfFrames = len(frames)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = frames.astype("<u2").tobytes()
    for name, value in attributes.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)


def test_dicom(tmp_path, disc):
    raw = disc(4, 40, 36).astype(np.uint16)
    plane = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    series = tmp_path / "series"
    series.mkdir()
    for k, z in enumerate((6, 0, 4, 2)):  # not in the order of names
        dicom(series / f"{k}.dcm", raw[k], ImagePositionPatient=[0, 0, z], InstanceNumber=9 - k, PixelSpacing=[1, 2],
              RescaleSlope=2, RescaleIntercept=-3, **plane)  # fmt: skip
    shared = pydicom.Dataset()
    shared.PixelValueTransformationSequence = [pydicom.Dataset()]
    shared.PixelValueTransformationSequence[0].RescaleSlope = 3
    shared.PixelValueTransformationSequence[0].RescaleIntercept = 1
    many = {"SharedFunctionalGroupsSequence": [shared]}
    implicit, packed = pydicom.uid.ImplicitVRLittleEndian, pydicom.encaps.encapsulate([b"x" * 8])
    dicom(tmp_path / "many.dcm", raw, SeriesInstanceUID="1.2.4", **many)
    dicom(tmp_path / "implicit.dcm", raw, syntax=implicit, SeriesInstanceUID="1.2.5", **many)
    dicom(tmp_path / "white.dcm", raw[0], PhotometricInterpretation="MONOCHROME1", SeriesInstanceUID="1.2.6")
    dicom(tmp_path / "packed.dcm", raw[0], syntax=pydicom.uid.JPEG2000Lossless, PixelData=packed)
    dicom(tmp_path / "mosaic.dcm", raw[0], ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    dicom(tmp_path / "colour.dcm", raw[0], SamplesPerPixel=3)
    (tmp_path / "short.dcm").write_bytes((tmp_path / "white.dcm").read_bytes()[:-1000])
    singles = ["many", "implicit", "white"]
    broken = ["packed", "mosaic", "colour", "short"]
    paths = [*sorted(series.iterdir()), *(tmp_path / f"{name}.dcm" for name in (*singles, *broken))]
    (result,) = call(["read", [str(path) for path in paths]])
    for volume, path in zip(result["read"], [series, *(tmp_path / f"{name}.dcm" for name in singles)], strict=True):
        expected = mriqf.read(path)
        assert volume["count"] == expected.n_slices
        for k, one in enumerate(volume["slices"]):
            np.testing.assert_array_equal(one, expected.read_slice(k).ravel(), err_msg=str(path))
    assert result["read"][0]["name"].endswith("and 3 more")
    assert result["read"][0]["pixel"] == [1, 2]
    reasons = {Path(one["name"]).stem: one["reason"] for one in result["failed"]}
    assert reasons.keys() == set(broken)
    for name, part in zip(broken, ("gdcmconv --raw", "mosaic of slices", "is in colour", "cut short"), strict=True):
        assert part in reasons[name]


def test_files_that_cannot_be_scored(tmp_path, disc):
    (raw,) = disc(1, 40, 36)
    np.save(tmp_path / "nan.npy", np.where(raw > 300, np.nan, raw))
    np.save(tmp_path / "rgb.npy", np.zeros((40, 36, 3), np.uint8))
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "list.npy", np.array([[{}]], object), allow_pickle=True)
    Image.fromarray(np.arange(40 * 36 * 3, dtype=np.uint8).reshape(40, 36, 3)).save(tmp_path / "colour.png")
    nibabel.save(nibabel.Nifti1Image(raw.T, np.eye(4)), tmp_path / "whole.nii")
    whole = (tmp_path / "whole.nii").read_bytes()
    (tmp_path / "whole.nii").unlink()
    (tmp_path / "short.nii").write_bytes(whole[:-9])
    (tmp_path / "half.nii.gz").write_bytes(gzip.compress(whole)[:-99])
    (tmp_path / "a.txt").write_text("words")
    (tmp_path / "empty").write_bytes(b"")
    paths = sorted(tmp_path.iterdir())
    (result,) = call(["read", [str(path) for path in paths]])
    assert result["read"] == []
    reasons = {Path(one["name"]).name: one["reason"] for one in result["failed"]}
    assert reasons.keys() == {path.name for path in paths}
    for name, part in {
        "nan.npy": "slice 0 holds NaN", "rgb.npy": "no stack of grey images", "words.npy": "pickle or a table",
        "list.npy": "save the plain array", "colour.png": "is in colour", "short.nii": "cut short",
        "half.nii.gz": "cannot be unpacked", "a.txt": "is neither NIfTI", "empty": "is neither NIfTI",
    }.items():  # fmt: skip
        assert part in reasons[name], name
    assert not any("\n" in reason for reason in reasons.values())
