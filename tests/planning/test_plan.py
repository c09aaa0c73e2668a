import math
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.studies import make_result, make_task, write_study
from toolkit import plan
from toolkit.errors import UsageError
from toolkit.planning.epochs import Curves, epochs_table, halving_table
from toolkit.planning.nets import Assumption, ClassDraws, assumed, nets_for_verdict, nets_for_width
from toolkit.stats.sequential import interval_at, spearman_estimate


def answer(capsys: pytest.CaptureFixture, *arguments: object) -> dict[str, list[dict]]:
    assert plan.main([*map(str, arguments), "--json"]) == 0
    return {name: t["rows"] for name, t in orjson.loads(capsys.readouterr().out).items()}


@given(st.floats(-0.95, 0.95), st.floats(0.05, 1.0))
def test_the_nets_for_a_width_are_the_fewest(rho: float, width: float) -> None:
    n = nets_for_width(assumed(rho), width)

    def achieved(nets: int) -> float:
        half = 1.959964 * math.sqrt((1 + rho**2 / 2) / (nets - 3))
        return math.tanh(math.atanh(rho) + half) - math.tanh(math.atanh(rho) - half)

    assert achieved(n) <= width + 1e-6
    assert n == 8 or achieved(n - 1) > width - 1e-6


def test_the_power_is_what_simulation_finds() -> None:
    rng = np.random.default_rng(0)
    rho = 6 / math.pi * math.asin(0.7 / 2)
    n = nets_for_verdict(assumed(rho), 0.8)
    pairs = [rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], n).T for _ in range(1000)]
    intervals = [interval_at(spearman_estimate(x, y), 1.96) for x, y in pairs]
    assert np.mean([low > 0.5 or high < 0 or (low > 0 and high < 0.5) for low, high in intervals]) == pytest.approx(
        0.8, abs=0.05
    )


def test_a_threshold_is_never_settled_and_classes_that_differ_set_a_floor() -> None:
    assert nets_for_verdict(assumed(0.5), 0.8) is None
    assert nets_for_width(assumed(0.3), 0.2, ClassDraws(0.1, 1)) is None
    with_draws = nets_for_width(assumed(0.3), 0.2, ClassDraws(0.1, 10))
    assert with_draws > nets_for_width(assumed(0.3), 0.2)


def test_seeds_lift_a_noisy_correlation() -> None:
    noisy = Assumption("t", 0.45, 1.05, None, 0.49)
    assert noisy.with_seeds(2).rho == pytest.approx(0.45 / 0.7 * (1.4 / 1.7))
    assert noisy.with_seeds(1) == noisy
    assert nets_for_verdict(noisy.with_seeds(4), 0.8) < nets_for_verdict(noisy, 0.8)


def test_a_pilot_says_in_words_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal(40)
    frame = pl.DataFrame({"architecture": [f"a{i}" for i in range(40)], "one": 50 + x})
    frame = frame.with_columns(same=pl.col("one") + 0.01, noisy=pl.Series(50 + 0.35 * x + rng.standard_normal(40)))
    frame.write_csv(tmp_path / "pilot.csv")
    rows = {
        row["target"]: row for row in answer(capsys, "nets", tmp_path / "pilot.csv", "--noise", 0.3, "--error")["nets"]
    }
    assert rows["same"]["in_words"] == "settled"
    assert rows["noisy"]["verdict_nets"] > 40
    assert "would settle it" in rows["noisy"]["in_words"]


@pytest.mark.parametrize(
    "call",
    [
        ["nets"],
        ["nets", "tuggener2022", "--rho", "0.3"],
        ["nets", "--rho", "1"],
        ["nets", "--rho", "0", "--power", "1"],
    ],
)
def test_a_wrong_call_is_one_line(call: list[str]) -> None:
    with pytest.raises(UsageError):
        plan.main(call)


@pytest.mark.slow
def test_the_frontier_holds_what_no_cheaper_proxy_beats(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = answer(capsys, "proxies", "tuggener2022", "--out", tmp_path)["proxies"]
    assert len(rows) == 40
    for row in rows:
        cheaper = [r for r in rows if r["target"] == row["target"] and r["hours"] < row["hours"]]
        assert row["frontier"] == all(r["rho"] < row["rho"] for r in cheaper)
    assert (tmp_path / "proxies.png").stat().st_size > 10_000
    assert (tmp_path / "proxies.csv").is_file()


def test_epochs_that_rank_as_the_last_one_are_found() -> None:
    rng = np.random.default_rng(0)
    skill = rng.standard_normal(64)
    noise = np.array([3.0, 1.0, 0.3, 0.1, 0.0, 0.0, 0.0, 0.0])
    errors = skill[:, None] + noise * rng.standard_normal((64, 8))
    curve = Curves("d", list(range(1, 9)), errors, np.arange(1.0, 9))
    rho = epochs_table([curve]).frame["rho"].to_list()
    assert rho[0] < 0.6 < 0.9 < rho[3]
    assert rho[-1] == 1
    (good,) = halving_table([curve], 1, 0).frame.to_dicts()
    assert good["rungs_after_epochs"] == "1, 2, 4"
    assert good["cost"] == pytest.approx((64 * 1 + 32 * 1 + 16 * 2 + 8 * 4) / 64 / 8)
    late = Curves("d", list(range(1, 9)), errors[:, [7] * 8], np.arange(1.0, 9))
    assert halving_table([late], 3, 0).frame["lost"][0] == 0
    early = Curves("d", list(range(1, 9)), np.hstack([rng.random((64, 7)), errors[:, 7:]]), np.arange(1.0, 9))
    assert halving_table([early], 1, 0).frame["lost"][0] > 0.5


def test_a_studys_curves_are_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    results = [make_result(make_task(f"anynetx-500/{i}", "a", epochs=3), 100 + i) for i in range(8)]
    study = write_study(tmp_path / "study", results)
    found = answer(capsys, "epochs", study.path)
    assert [row["epoch"] for row in found["epochs"]] == [1, 2, 3]
    assert found["halving"][0]["lost"] == 0
    with pytest.raises(UsageError, match="no dataset has"):
        plan.main(["epochs", str(write_study(tmp_path / "few", results[:3]).path)])
