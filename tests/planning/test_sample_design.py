"""Would nets drawn evenly over depth and width give narrower intervals? The numbers of docs/planning.md."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from toolkit.analysis.table_source import reference_measurements

NETS, BINS, REPLAYS = 50, (5, 10), 300


def spread(x: np.ndarray, y: np.ndarray, draws: list[np.ndarray]) -> float:
    return float(np.std([spearmanr(x[rows], y[rows])[0] for rows in draws]))


def evenly(depth: np.ndarray, width: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One net out of each cell: fifths by depth, tenths by width within each."""
    order = np.argsort(depth + 1e-9 * rng.random(len(depth)))
    cells = []
    for part in np.array_split(order, BINS[0]):
        by_width = part[np.argsort(width[part] + 1e-9 * rng.random(len(part)))]
        cells += np.array_split(by_width, BINS[1])
    return np.array([rng.choice(cell) for cell in cells])


@pytest.mark.slow
def test_stratified_draws_vary_a_little_less_than_plain_ones() -> None:
    data = reference_measurements("tuggener2022")
    depth, width = (data.attributes[f"cumulative_{name}"].to_numpy() for name in ("depth", "width"))
    rng = np.random.default_rng(0)
    plain = [rng.choice(len(depth), NETS, replace=False) for _ in range(REPLAYS)]
    strata = [evenly(depth, width, rng) for _ in range(REPLAYS)]
    x = data.column("imagenet")
    targets = [name for name in data.datasets if name != "imagenet"]
    ratios = [spread(x, data.column(t), strata) / spread(x, data.column(t), plain) for t in targets]
    assert np.mean(ratios) == pytest.approx(0.9, abs=0.05)
