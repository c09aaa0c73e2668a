"""Do 95% intervals hold the truth in 95% of studies? Simulated; minutes of work."""

import numpy as np
import pytest

from toolkit.stats.correlation import bootstrap_correlations, correlations
from toolkit.stats.fits import ols
from toolkit.stats.resampling import Draws, Interval, percentile_interval

STUDIES, N, B = 2000, 200, 500
RHO_A, RHO_B, RHO_AB = 0.6, 0.35, 0.5
TRUTH = {  # of a bivariate normal (Kendall 1970, ch. 9 and 10)
    "spearman": 6 / np.pi * np.arcsin(RHO_A / 2),
    "kendall": 2 / np.pi * np.arcsin(RHO_A),
    "pearson": RHO_A,
}


def covered(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


@pytest.mark.long
def test_correlations_and_their_differences_cover_the_truth():
    rng = np.random.default_rng(0)
    normal = [[1, RHO_A, RHO_B], [RHO_A, 1, RHO_AB], [RHO_B, RHO_AB, 1]]
    pairs = np.array([(0, 1), (0, 2)])
    hits = dict.fromkeys([*TRUTH, "difference"], 0)
    gap = TRUTH["spearman"] - 6 / np.pi * np.arcsin(RHO_B / 2)
    for study in range(STUDIES):
        samples = bootstrap_correlations(rng.multivariate_normal([0, 0, 0], normal, size=N), pairs, Draws(B, study))
        for name, truth in TRUTH.items():
            hits[name] += covered(percentile_interval(getattr(samples, name)[0]), truth)
        hits["difference"] += covered(percentile_interval(samples.spearman[0] - samples.spearman[1]), gap)
    shares = {name: count / STUDIES for name, count in hits.items()}
    print(shares)
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


@pytest.mark.long
def test_slopes_cover_the_truth():
    rng = np.random.default_rng(1)
    x = rng.normal(60, 10, 30)
    hits = 0
    for _ in range(STUDIES):
        hits += covered(ols(x, 5 + 0.46 * x + rng.normal(0, 4, 30)).line.slope_interval, 0.46)
    assert 0.93 <= hits / STUDIES <= 0.97


def test_the_truths_are_what_large_samples_tend_to():
    rng = np.random.default_rng(2)
    values = rng.multivariate_normal([0, 0], [[1, RHO_A], [RHO_A, 1]], size=20_000)
    found = correlations(values, np.array([[0, 1]]))
    for name, truth in TRUTH.items():
        assert getattr(found, name)[0] == pytest.approx(truth, abs=0.02)
