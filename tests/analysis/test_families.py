"""Nets of one family are drawn together: by a column, or by their names."""

from pathlib import Path

import numpy as np
import pytest

from toolkit import report
from toolkit.analysis.document import analyse
from toolkit.analysis.families import families_in_words, family_of, with_families
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading
from toolkit.errors import UsageError
from toolkit.stats.correlation import bootstrap_correlations, correlations
from toolkit.stats.intervals import correlation_interval, interval_from
from toolkit.stats.resampling import Draws, blocks

FAST = Settings(resamples=200)
NAMES = ("resnet", "vgg", "vit_", "swin_", "densenet", "regnet", "convnext_", "mobilenetv", "efficientnetv")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Nine families of four nets each, near-copies of one another, and a column that says so."""
    rng = np.random.default_rng(0)
    rows = ["model,group,imagenet,pets"]
    for name in NAMES:
        x, y = rng.multivariate_normal([70, 80], [[25, 15], [15, 25]])
        rows += [f"{name}{i},{name.strip('_')},{x + i / 50:.3f},{y + rng.normal() / 50:.3f}" for i in range(4)]
    path = tmp_path / "nets.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("torchvision/resnet152", "resnet"), ("timm/vit_base_patch16_224", "vit"), ("ViT-B/16", "vit"),
        ("EfficientNetV2-L", "efficientnet"), ("mobilenet_v3_large", "mobilenet"), ("anynetx-500/17", "anynetx-500/17"),
        ("timm/resnet50.a1_in1k", "resnet"), ("42", "42"), ("convnext_large.fb_in22k", "convnext"),
    ],
)  # fmt: skip
def test_the_first_word_of_a_name_is_its_family(name: str, family: str) -> None:
    assert family_of(name) == family


def test_families_are_drawn_whole_and_as_often_as_each_other() -> None:
    families = np.array([0, 0, 1, 1, 1, 2])
    (weights,) = blocks(6, Draws(200, 0, families))
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all()


@pytest.mark.slow
def test_weights_of_families_are_the_rows_repeated() -> None:
    rng = np.random.default_rng(0)
    values, families, pair = rng.standard_normal((12, 2)), np.repeat(np.arange(4), 3), np.array([[0, 1]])
    drawn = Draws(20, 5, families)
    (weights,) = blocks(12, drawn)
    for i, name in enumerate(("spearman", "kendall", "pearson")):
        found = bootstrap_correlations(values, pair, drawn)[i][0]
        expected = [getattr(correlations(np.repeat(values, w, axis=0), pair), name)[0] for w in weights]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def rho(path: Path, cluster: str | None, reading: Reading | None = None) -> tuple[float, float, float, str]:
    data = with_families(load([str(path)], reading or Reading("accuracy"))[0], cluster)
    found = analyse(data, FAST)
    row = found.tables["pairs"].frame.row(0, named=True)
    return row["spearman"], row["spearman_low"], row["spearman_high"], " ".join(found.finding)


def test_families_by_name_widen_the_interval_and_are_said(table: Path) -> None:
    estimate, low, high, said = rho(table, None)
    same, low_alone, high_alone, silent = rho(table, "none")
    assert estimate == same and low < low_alone and high - low > 1.3 * (high_alone - low_alone)
    assert "9 of 36 nets by the first word of their names" in said and "famil" not in silent


def test_a_column_tells_families(table: Path) -> None:
    by_name, by_column = rho(table, None), rho(table, None, Reading("accuracy", cluster="group"))
    assert by_name[:3] == by_column[:3] and "by column 'group'" in by_column[3]


def test_few_families_give_no_interval_where_told_and_a_warning_where_guessed(tmp_path: Path) -> None:
    rows = "".join(f"{n}{i},{i},{i + (i * 7) % 5}\n" for i, n in enumerate(["resnet", "vgg", "vit"] * 4, 60))
    (tmp_path / "t.csv").write_text("model,imagenet,pets\n" + rows)
    data = with_families(load([str(tmp_path / "t.csv")], Reading("accuracy"))[0], None)
    assert not data.families and "3 families, too few" in data.problems[-1]
    (tmp_path / "g.csv").write_text("model,imagenet,pets,family\n" + rows.replace("\n", ",a\n", 6))
    told = load([str(tmp_path / "g.csv")], Reading("accuracy"))[0]
    row = analyse(with_families(told, None), FAST).tables["pairs"].frame.row(0, named=True)
    assert row["spearman_low"] is None and row["note"] == "no interval: 7 families, fewer than 9"


def test_families_of_a_study_are_one_of_its_columns() -> None:
    data = load(["tuggener2022"])[0]
    assert not with_families(data, None).families
    assert "column 'cumulative_depth'" in families_in_words(with_families(data, "cumulative_depth"))
    with pytest.raises(UsageError, match="cumulative_depth"):
        report.main(["tuggener2022", "--cluster", "depht"])


def test_an_unknown_column_and_a_net_of_two_families_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown column 'gruop'"):
        report.main([str(table), "--accuracy", "--cluster", "gruop"])
    (tmp_path / "t.csv").write_text("model,dataset,acc,family\nr,a,1,x\nr,b,2,y\n")
    with pytest.raises(UsageError, match="more than one family"):
        load([str(tmp_path / "t.csv")])


def test_a_difference_of_families_has_a_symmetric_interval_or_none() -> None:
    samples = np.random.default_rng(0).normal(0.3, 0.1, 500)
    low, high = interval_from(10, 0.3, samples, 60, Draws(500, 0, np.repeat(np.arange(20), 3)))
    assert low + high == pytest.approx(0.6) and 0.4 < high - low < 0.5
    few = Draws(500, 0, np.repeat(np.arange(7), 3))
    assert np.isnan(interval_from(10, 0.3, samples, 21, few)).all()
    assert np.isnan(correlation_interval("spearman", 0.3, samples, 21, few)).all()
