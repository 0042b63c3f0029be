"""Measured samples: columns, points and padding are told apart."""

import numpy as np
import pytest

from mriqf.io import KSpace, ReadError, find_sampling

RNG = np.random.default_rng(0)
FULL = (RNG.normal(size=(3, 2, 20, 32)) + 1j * RNG.normal(size=(3, 2, 20, 32))).astype(np.complex64)


def find(array, mask=None):
    kspace = KSpace("a.h5", len(array), array.shape[1], array.shape[2:], array.__getitem__, mask)
    return find_sampling(kspace, range(len(array)))


def columns(*chosen):
    mask = np.zeros(32, bool)
    mask[list(chosen)] = True
    return mask


def test_fully_sampled():
    sampling = find(FULL)
    assert not sampling.undersampled
    assert (sampling.rows, sampling.columns) == (slice(0, 20), slice(0, 32))
    np.testing.assert_array_equal(sampling.mask, np.ones(32, bool))


@pytest.mark.parametrize(("first", "last"), [(3, 30), (0, 25), (6, 32)])
def test_zeros_at_the_edges_are_padding(first, last):
    mask = columns(*range(first, last))
    sampling = find(FULL * mask)
    assert not sampling.undersampled
    assert sampling.columns == slice(first, last)
    np.testing.assert_array_equal(sampling.mask, mask)


def test_partial_echo_is_no_undersampling():
    half = FULL.copy()
    half[:, :, :6] = 0
    sampling = find(half)
    assert not sampling.undersampled
    assert sampling.rows == slice(6, 20)
    np.testing.assert_array_equal(sampling.mask, np.ones(32, bool))


def test_missing_columns_are_undersampling():
    mask = columns(1, 5, 9, 13, 15, 16, 17, 21, 25, 29)
    sampling = find(FULL * mask)
    assert sampling.undersampled
    np.testing.assert_array_equal(sampling.mask, mask)
    assert sampling.columns == slice(0, 32)  # its ends are gaps like all others
    padded = find(FULL * columns(9, 13, 15, 16, 17, 21))
    assert padded.undersampled
    assert padded.columns == slice(9, 22)  # longer than the gaps


def test_missing_points_are_undersampling():
    mask = RNG.random((20, 32)) < 0.5
    sampling = find(FULL * mask)
    assert sampling.undersampled
    np.testing.assert_array_equal(sampling.mask, mask)


def test_single_zeros_are_samples():
    dotted = FULL.copy()
    dotted[..., 3, 4] = 0
    sampling = find(dotted)
    assert not sampling.undersampled
    np.testing.assert_array_equal(sampling.mask, np.ones(32, bool))


def test_stored_mask_holds_where_the_data_are_full():
    mask = columns(*range(0, 32, 4), 15, 16)
    sampling = find(FULL, mask)
    assert sampling.undersampled
    np.testing.assert_array_equal(sampling.mask, mask)
    padded = find(FULL * columns(*range(2, 30)), np.ones(32, bool))  # a mask that covers the padding too
    assert not padded.undersampled
    np.testing.assert_array_equal(padded.mask, columns(*range(2, 30)))


def test_slices_of_different_patterns_are_refused():
    array = FULL * columns(*range(0, 32, 2))
    array[2] = FULL[2] * columns(*range(1, 32, 2))
    with pytest.raises(ReadError, match=r"a\.h5: slices 0 and 2 sample other columns \(16 and 16 of 32\)"):
        find(array)


def test_mask_that_excludes_all():
    with pytest.raises(ReadError, match=r"a\.h5: its mask of \(32,\) excludes all samples"):
        find(FULL * columns(3, 4, 5), columns(8, 9))


def test_slices_of_zeros_tell_nothing():
    samples = FULL.copy()
    samples[1] = 0
    sampling = find_sampling(KSpace("a.h5", 3, 2, (20, 32), samples.__getitem__), range(3))
    assert sampling.mask.all()
    assert (sampling.undersampled, sampling.empty) == (False, (1,))
    with pytest.raises(ReadError, match=r"slice 1 \(2, 20, 32\) is all zeros"):
        find_sampling(KSpace("a.h5", 3, 2, (20, 32), samples.__getitem__), [1])


@pytest.mark.parametrize("axis", [0, 1])
def test_what_rounding_leaves_was_not_measured(axis):
    lines = np.zeros((20, 32)[axis], bool)
    lines[::2] = lines[8:12] = True
    mask = np.broadcast_to(lines[:, None] if axis == 0 else lines, (20, 32))
    samples = FULL * mask
    samples[0, 0, 1, 15] = samples[1, 1, 3, 17] = 1e-7
    sampling = find_sampling(KSpace("a.h5", 3, 2, (20, 32), samples.__getitem__), range(3))
    np.testing.assert_array_equal(np.broadcast_to(sampling.mask, (20, 32)), mask)
    assert sampling.undersampled
