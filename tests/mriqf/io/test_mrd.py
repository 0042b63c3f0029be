"""ISMRMRD raw data: acquisitions come to their places."""

import ismrmrd
import numpy as np
import pytest

from mriqf.io import ReadError, mrd, read_kspace

RNG = np.random.default_rng(0)
NX, NY, NZ = 12, 10, 4
XML = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<trajectory>{trajectory}</trajectory>
<encodedSpace><matrixSize><x>12</x><y>10</y><z>{nz}</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>6</x><y>10</y><z>{nz}</z></matrixSize></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>9</maximum><center>{center}</center>
</kspace_encoding_step_1></encodingLimits>
<parallelImaging><calibrationMode>{calibration}</calibrationMode></parallelImaging></encoding></ismrmrdHeader>"""


def draw(*shape):
    return (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype(np.complex64)


def line(samples, *flags, y=0, **index):
    """Acquisition of one line (c, x)."""
    acquisition = ismrmrd.Acquisition.from_array(samples)
    acquisition.idx.kspace_encode_step_1 = y
    for key, value in index.items():
        setattr(acquisition.idx, key, value)
    for flag in flags:
        acquisition.setFlag(flag)
    return acquisition


def write(path, acquisitions, *, nz=1, center=5, trajectory="cartesian", calibration="other"):
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=True) as dataset:
        xml = XML.format(nz=nz, center=center, trajectory=trajectory, calibration=calibration)
        dataset.write_xml_header(xml.encode())
        for acquisition in acquisitions:
            dataset.append_acquisition(acquisition)
    return path


def lines(volume):
    """Acquisitions of (s, c, h, w), out of order."""
    places = [(s, y) for s in range(len(volume)) for y in range(NY)]
    return [line(volume[s, :, :, y].copy(), y=y, slice=s) for s, y in RNG.permutation(places).tolist()]


def everything(kspace):
    return np.stack([kspace.read_slice(i) for i in range(kspace.n_slices)])


def test_lines_are_sorted_into_slices(tmp_path):
    volume = draw(3, 4, NX, NY)
    kspace = read_kspace(write(tmp_path / "a.h5", lines(volume)))
    assert (kspace.n_slices, kspace.n_coils, kspace.shape, kspace.image_shape) == (3, 4, (NX, NY), (6, 10))
    assert kspace.mask is None
    np.testing.assert_array_equal(everything(kspace), volume)


def test_limits_put_the_zero_frequency_into_the_middle(tmp_path):
    one, two = draw(2, 4, NX)
    kspace = read_kspace(write(tmp_path / "a.h5", [line(one, y=3), line(two, y=0)], center=3))
    np.testing.assert_array_equal(kspace.read_slice(0)[:, :, [NY // 2, NY // 2 - 3]], np.stack([one, two], -1))
    assert np.count_nonzero(kspace.read_slice(0).any(axis=(0, 1))) == 2


def test_partial_echo_and_discarded_samples(tmp_path):
    part = line(draw(4, 8), y=5)
    part.center_sample, part.discard_pre, part.discard_post = 3, 1, 2
    kspace = read_kspace(write(tmp_path / "a.h5", [part]))
    column = kspace.read_slice(0)[:, :, 5]
    np.testing.assert_array_equal(column[:, NX // 2], part.data[:, 3])
    np.testing.assert_array_equal(np.flatnonzero(column[0]), NX // 2 + np.arange(-2, 3))


def test_averages_are_averaged_and_reversed_lines_turned(tmp_path):
    one, two = draw(2, 4, NX)
    turned = line(two[:, ::-1].copy(), ismrmrd.ACQ_IS_REVERSE, y=2, average=1)
    kspace = read_kspace(write(tmp_path / "a.h5", [line(one, y=2), turned]))
    np.testing.assert_allclose(kspace.read_slice(0)[:, :, 2], (one + two) / 2, rtol=1e-6)


def test_repetitions_and_contrasts_are_slices(tmp_path):
    values = draw(4, 4, NX)
    places = [{"repetition": r, "contrast": c} for r in range(2) for c in range(2)]
    acquisitions = [line(value, y=5, **place) for value, place in zip(values, places, strict=True)]
    kspace = read_kspace(write(tmp_path / "a.h5", acquisitions[::-1]))
    np.testing.assert_array_equal(everything(kspace)[..., 5], values)


@pytest.mark.parametrize(
    "name",
    [
        "NOISE_MEASUREMENT", "NAVIGATION_DATA", "PHASECORR_DATA", "RTFEEDBACK_DATA", "HPFEEDBACK_DATA",
        "DUMMYSCAN_DATA", "SURFACECOILCORRECTIONSCAN_DATA", "PHASE_STABILIZATION", "PHASE_STABILIZATION_REFERENCE",
        "PARALLEL_CALIBRATION",
    ],
)  # fmt: skip
def test_what_is_no_image_is_left_out(tmp_path, name):
    flag = getattr(ismrmrd, f"ACQ_IS_{name}")
    volume = draw(1, 4, NX, NY)
    other = line(draw(4, 40) if name == "NOISE_MEASUREMENT" else draw(4, NX), flag, y=3)  # noise is of any length
    np.testing.assert_array_equal(everything(read_kspace(write(tmp_path / "a.h5", [other, *lines(volume)]))), volume)
    with pytest.raises(ReadError, match=r"b\.h5: none of its 1 acquisitions belongs to an image"):
        read_kspace(write(tmp_path / "b.h5", [other]))


def test_embedded_calibration_is_part_of_the_image(tmp_path):
    acquisition = line(draw(4, NX), ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, y=5)
    assert read_kspace(write(tmp_path / "a.h5", [acquisition], calibration="embedded")).n_slices == 1


def test_three_dimensions(tmp_path):
    slices = draw(NZ, 2, NX, NY)
    partitions = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(slices, axes=0), axis=0, norm="ortho"), axes=0)
    partitions = partitions.astype(np.complex64)
    acquisitions = [
        line(partitions[z, :, :, y].copy(), y=y, kspace_encode_step_2=z) for z in range(NZ) for y in range(NY)
    ]
    kspace = read_kspace(write(tmp_path / "a.h5", acquisitions, nz=NZ))
    assert (kspace.n_slices, kspace.n_coils) == (NZ, 2)
    np.testing.assert_allclose(everything(kspace), slices, atol=1e-5)
    with pytest.raises(ReadError, match=r"b\.h5: 3-D k-space with gaps along z \(39 of 40 lines\)"):
        read_kspace(write(tmp_path / "b.h5", acquisitions[:13] + acquisitions[14:], nz=NZ))


def test_refusals(tmp_path):
    with pytest.raises(ReadError, match=r"a\.h5: radial acquisitions are not Cartesian: grid them first"):
        read_kspace(write(tmp_path / "a.h5", [line(draw(4, NX))], trajectory="radial"))
    with pytest.raises(ReadError, match=r"b\.h5: acquisitions reach y = 11 to 11, beyond the encoded matrix of 10"):
        read_kspace(write(tmp_path / "b.h5", [line(draw(4, NX), y=11)]))
    with pytest.raises(ReadError, match=r"c\.h5: acquisitions have \[2, 4\] coils"):
        read_kspace(write(tmp_path / "c.h5", [line(draw(4, NX)), line(draw(2, NX), y=1)]))
    with ismrmrd.Dataset(str(tmp_path / "d.h5"), "dataset", create_if_needed=True) as dataset:
        dataset.write_xml_header(b"<ismrmrdHeader/>")
        dataset.append_acquisition(line(draw(4, NX)))
    with pytest.raises(ReadError, match=r"d\.h5: cannot be read \(its header has no encoding\)"):
        read_kspace(tmp_path / "d.h5")


def test_flags_are_those_of_the_standard():
    assert 1 << (ismrmrd.ACQ_IS_REVERSE - 1) == mrd.REVERSED
    assert 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1) == mrd.CALIBRATION_ONLY


def test_noise_and_calibration_stand_beside(tmp_path):
    """Order by the positions of the slices, whatever their repetition."""
    volume, centre, noise = draw(2, 4, NX, NY), draw(2, 4, NX, NY), draw(4, 40)
    lines = [line(noise, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    for s in range(2):
        lines += [
            line(centre[s, :, :, y].copy(), ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, y=y, slice=s) for y in range(3, 8)
        ]
        lines += [
            line(volume[s, :, :, y].copy(), y=y, slice=s, repetition=r) for y in range(0, NY, 2) for r in range(2)
        ]
    kspace = read_kspace(write(tmp_path / "a.h5", lines, calibration="separate"))
    np.testing.assert_array_equal(kspace.noise, noise)
    assert kspace.positions == (0, 1, 0, 1)
    assert [kspace.position(i) for i in range(4)] == [0, 1, 0, 1]
    for index in range(4):
        np.testing.assert_array_equal(kspace.read_slice(index)[..., ::2], volume[index % 2, ..., ::2])
        calibration = kspace.read_calibration(index)
        np.testing.assert_array_equal(calibration[..., 3:8], centre[index % 2, ..., 3:8])
        assert not calibration[..., :3].any()
    plain = read_kspace(write(tmp_path / "b.h5", lines[6:], calibration="separate"))
    assert plain.noise is None
    few = read_kspace(write(tmp_path / "c.h5", [line(noise[:, :7], ismrmrd.ACQ_IS_NOISE_MEASUREMENT), *lines[1:]]))
    assert few.noise is None
