"""A shard of a million rows: the rate against the loop, the counts, and the memory it takes."""

import resource
from pathlib import Path

import pytest

from toolkit.benchmarks.match import measure


@pytest.mark.long
def test_a_million_rows(tmp_path: Path) -> None:
    document = measure(tmp_path, 1_000_000, 10_000)
    assert document["stage_over_loop"] > 30
    assert 0.02 < document["matched_share"] < 0.2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20  # KiB; the captions in memory are the test's
