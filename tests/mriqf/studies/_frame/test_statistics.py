import numpy as np

from mriqf.studies._frame.statistics import Ridge, bootstrap, by_group, group_rows


def test_groups_keep_their_rows():
    a, b = np.array(["x", "y", "x", "x"]), np.array([1.0, 1.0, 1.0, 2.0])
    assert [rows.tolist() for rows in group_rows([a, b])] == [[0, 2], [1], [3]]
    np.testing.assert_allclose(by_group(np.sum, [a, b], np.array([1.0, 2.0, 4.0, 8.0])), [5, 2, 8])


def test_interval_is_over_subjects_and_not_over_rows():
    # Three subjects of 1000 equal rows each: rows would promise a narrow interval that subjects do not.
    subject, value = np.repeat(["a", "b", "c"], 1000), np.repeat([0.0, 1.0, 2.0], 1000)
    assert bootstrap(np.mean, subject, value, n=2000) == (0.0, 2.0)


def test_interval_covers_the_mean():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(100):
        value = rng.standard_normal(25)
        low, high = bootstrap(np.mean, np.arange(25), value, n=300, seed=seed)
        inside += low <= 0 <= high
    assert 85 <= inside <= 99


def test_two_subjects_have_no_interval():
    assert np.isnan(bootstrap(np.mean, np.array(["a", "b"]), np.arange(2.0))).all()


def test_ridge_is_least_squares_without_penalty_and_the_mean_with_much():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3)) * [1, 10, 100]
    y = x @ [1.0, 0.2, -0.03] + 4
    np.testing.assert_allclose(Ridge(x, y, lam=0.0)(x), y, atol=1e-9)
    np.testing.assert_allclose(Ridge(x, y, lam=1e9)(x), y.mean(), atol=1e-4)


def test_ridge_takes_a_constant_feature():
    x = np.stack([np.ones(10), np.arange(10.0)], 1)
    assert np.isfinite(Ridge(x, np.arange(10.0))(x)).all()
