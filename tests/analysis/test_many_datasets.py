"""Tables over many datasets, and the words before them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.analysis.document import Report, analyse
from toolkit.analysis.finding import NAME, shortened
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading

FAST = Settings(resamples=200)
N = 50


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Datasets with counts: ``twin`` ranks as imagenet, ``other`` the other way round; ``odd`` has one net off."""
    rng = np.random.default_rng(0)
    skill = rng.uniform(-1, 1, N)
    shares = {
        "imagenet": 0.3 - 0.1 * skill, "twin": 0.4 - 0.15 * skill, "other": 0.3 + 0.1 * skill,
        "odd": 0.2 - 0.05 * skill, "lot": 0.3 + 0.05 * rng.standard_normal(N),
    }  # fmt: skip
    shares["odd"][7] += 0.12
    rows = [
        (f"n{i}", name, wrong, 10_000, wrong / 100)
        for name, share in shares.items()
        for i, wrong in enumerate(rng.binomial(10_000, share).tolist())
    ]
    path = tmp_path_factory.mktemp("tables") / "nets.csv"
    pl.DataFrame(rows, schema=["model", "dataset", "wrong", "images", "error"], orient="row").write_csv(path)
    return analyse(load([str(path)])[0], FAST)


def rows(report: Report, name: str, **of: object) -> list[dict[str, object]]:
    return [r for r in report.tables[name].frame.to_dicts() if all(r[key] == value for key, value in of.items())]


def test_without_its_noise_a_twin_agrees_entirely(report: Report) -> None:
    (twin,) = rows(report, "noise", a="imagenet", b="twin")
    assert twin["spearman"] <= twin["ceiling"] < 1 and twin["noiseless_low"] <= twin["noiseless"] <= 1
    assert twin["noiseless"] > twin["spearman"]


def test_a_net_off_the_line_is_the_one_that_is_confirmed(report: Report) -> None:
    confirmed = rows(report, "robustness", dataset="odd", confirmed=True)
    assert [(row["architecture"], row["outside"]) for row in confirmed] == [("n7", True)]
    assert (
        confirmed[0]["residual"] == pytest.approx(-12, abs=2)
        and confirmed[0]["accuracy"] < confirmed[0]["expected_low"]
    )
    assert not any(row["confirmed"] for row in rows(report, "robustness", dataset="twin"))


def test_twins_are_one_group_and_stand_side_by_side(report: Report) -> None:
    groups = {row["dataset"]: row["group"] for row in rows(report, "redundancy")}
    assert groups["imagenet"] == groups["twin"] != groups["lot"]
    order = list(groups)
    assert abs(order.index("imagenet") - order.index("twin")) <= 2


def test_variance_is_split_to_the_last_part(report: Report) -> None:
    shares = {row["source"]: row["share"] for row in rows(report, "variance")}
    assert list(shares) == ["datasets", "nets", "particular", "noise"] and sum(shares.values()) == pytest.approx(1)
    assert all(
        0 < r["share_low"] < r["share"] < r["share_high"] < 1 for r in rows(report, "variance") if r["share"] > 0
    )


def test_the_best_over_all_are_told_with_their_difference(report: Report) -> None:
    (row,) = rows(report, "concordance")
    assert row["nets"] == N and row["left_out"] == 0 and row["datasets"] == 5
    ranks = [r["mean_rank"] for r in rows(report, "mean-ranks")]
    assert ranks == sorted(ranks) and np.mean(ranks) == pytest.approx((N + 1) / 2)
    level = [r["mean_rank"] - ranks[0] <= row["critical_difference"] for r in rows(report, "mean-ranks")]
    assert level == [r["level_with_best"] for r in rows(report, "mean-ranks")]


def test_trying_more_never_loses_more(report: Report) -> None:
    for row in rows(report, "top"):
        lost = [row[f"lost_{k}"] for k in (1, 2, 3, 5, 10, 20)]
        assert lost == sorted(lost, reverse=True) and lost[-1] >= 0


def test_the_finding_says_thresholds_ceilings_and_how_many_targets_there_are(report: Report) -> None:
    first, *others = report.finding
    assert first == "The ranking on imagenet transfers to 2 of 4 targets, reversed on 1, open on 1."
    said = " ".join(others)
    assert "Transfers (Spearman's interval over 0.5): twin" in said and "(noise allows 0.9" in said
    assert "all 4 together (Bonferroni) leave 2 of 2 transferring, 1 of 1 reversed" in said


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=80), st.integers(3, NAME))
def test_names_are_shortened_to_their_ends(name: str, most: int) -> None:
    short = shortened(name, most)
    assert len(short) <= most and short[0] == name[0] and (short == name or short[-1] == name[-1])


@pytest.mark.parametrize("targets", [1, 12])
def test_the_first_sentence_is_one_line_of_a_screen(tmp_path: Path, targets: int) -> None:
    rng = np.random.default_rng(0)
    frame = {"model": [f"n{i}" for i in range(9)], "imagenet_" + "x" * 90: rng.uniform(20, 80, 9)}
    frame |= {f"{'target' * 20}{i}": rng.uniform(20, 80, 9) for i in range(targets)}
    pl.DataFrame(frame).write_csv(tmp_path / "t.csv")
    data = load([str(tmp_path / "t.csv")], Reading("accuracy"))[0]
    found = analyse(data, Settings(resamples=100), brief=True)
    assert len(found.finding[0]) <= 100 and "imagenet_xx" in found.finding[0]


def test_what_few_nets_cannot_tell_is_not_told_and_why(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "model,imagenet,a,b\n" + "".join(f"n{i},{i},{i + i % 2},{9 - i}\n" for i in range(5))
    )
    report = analyse(load([str(tmp_path / "t.csv")], Reading("error", "percent"))[0], FAST)
    assert rows(report, "robustness")[0]["note"] == "fewer than 8 have both"
    assert {row["share_low"] for row in rows(report, "variance")} == {None}
    (tmp_path / "g.csv").write_text("model,imagenet,a,b\nx,1,2,\ny,2,,3\nz,3,1,4\nw,4,5,6\nv,5,6,7\n")
    gaps = analyse(load([str(tmp_path / "g.csv")], Reading("error", "percent"))[0], FAST)
    assert rows(gaps, "concordance")[0]["note"] == "fewer than 4 nets have all"
    assert "fewer than 4" in str(rows(gaps, "variance")[0]["note"])
