import numpy as np
import pytest

from mriqf.html.trends import MOST, WINDOW, about, read_date, running_median, trends


def test_what_is_known_of_a_volume():
    row = {"Scanner": " Prisma\t3 ", "coil": None, "site": "n/a", "score": 3, "field_t": 3.0, "Rater": "x", 5: "y"}
    assert about(row) == {"scanner": "Prisma 3", "field_t": "3.0"}
    assert about(row, ["Rater"])["Rater"] == "x"


def test_groups_have_medians_of_what_has_a_score():
    scores = np.array([1.0, 2.0, 9.0, np.nan, 5.0, 7.0])
    sites = ["B", "A", "B", "B", "", "C"]
    abouts = [{"site": site, "model": "one", "scanner": str(k)} if site else {} for k, site in enumerate(sites)]
    site, scanner = trends(scores, abouts)  # of one model there is nothing to tell
    assert (site.column, site.groups, site.medians, site.counts) == ("site", ("A", "B", "C"), (2, 5, 7), (1, 2, 1))
    assert site.places == (1, 0, 1, 1, None, 2)
    assert (scanner.medians[3], scanner.counts[3]) == (None, 0)
    many = [{"site": str(k)} for k in range(MOST + 1)]
    assert trends(np.zeros(MOST + 1), many) == []
    assert trends(np.zeros(2), [{"coil A": "1"}, {"coil A": "2"}], ["coil A"])[0].groups == ("1", "2")


def test_a_step_in_time_is_seen_and_one_outlier_is_not():
    scores = np.array([50.0] * 20 + [30.0] * 20)
    scores[5] = 0
    days = [f"2024-{1 + k // 20:02d}-{1 + k % 20:02d}" for k in range(40)]
    shuffled = np.random.default_rng(0).permutation(40)
    (trend,) = trends(scores[shuffled], [{"acq_time": days[k]} for k in shuffled])
    assert (trend.column, trend.window, trend.span) == ("acq_time", WINDOW, ("2024-01-01", "2024-02-20"))
    assert [value for at, value in trend.running if at <= 19] == [50] * (20 - WINDOW // 2)
    assert [value for at, value in trend.running if at >= 31] == [30] * (20 - WINDOW // 2)
    assert trend.places[list(shuffled).index(1)] == 1.0


def test_few_dates_have_no_line():
    (trend,) = trends(np.arange(4.0), [{"date": f"2024010{k + 1}"} for k in range(4)])
    assert trend.running == ()
    assert trend.places == (0, 1, 2, 3)
    assert trends(np.arange(2.0), [{"date": "soon"}, {"date": "2024-01-01"}]) == []


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2024-01-31", "2024-01-31T00:00:00"),
        ("20240131", "2024-01-31T00:00:00"),
        ("2024-01-31T12:30:05", "2024-01-31T12:30:05"),
        ("2024-01-31T12:30:05.250+01:00", "2024-01-31T12:30:05.250000"),
        ("20240131123005.25", "2024-01-31T12:30:05"),
    ],
)
def test_dates_of_bids_and_dicom(text, iso):
    date = read_date(text)
    assert date is not None
    assert date.isoformat() == iso


@pytest.mark.parametrize("text", ["", "soon", "12:30", "123000", "3.0", "2024-13-01"])
def test_what_is_no_date(text):
    assert read_date(text) is None


def test_running_median_is_that_of_its_window():
    rng = np.random.default_rng(1)
    at, values = rng.permutation(30).astype(float), rng.normal(size=30)
    medians = running_median(at, values, 7)
    ordered = values[np.argsort(at)]
    assert [place for place, _ in medians] == list(range(3, 27))
    assert [value for _, value in medians] == [float(np.median(ordered[k : k + 7])) for k in range(24)]
