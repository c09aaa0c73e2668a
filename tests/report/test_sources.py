"""What a report reads: wide and tidy tables, shipped studies, and what it says about bad ones."""

import polars as pl
import pytest

from toolkit.analysis.document import analyse
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading
from toolkit.errors import UsageError

FAST = Settings(resamples=100)
WIDE = "architecture,flops,a,b\nx,1e9,0.1,0.2\ny,2e9,0.2,0.25\nz,3e9,0.3,0.4\nw,4e9,0.4,0.5\nv,5e9,0.5,0.45\n"


def read(tmp_path, text: str, name: str = "odd 'name'.csv", quantity: str | None = "error"):
    path = tmp_path / name
    path.write_text(text)
    return load([str(path)], Reading(quantity))[0]


def test_a_wide_table(tmp_path):
    data = read(tmp_path, WIDE)
    assert data.datasets == ["a", "b"] and data.attributes.columns == ["architecture", "flops"]
    assert data.column("a").tolist() == pytest.approx([10, 20, 30, 40, 50])
    assert data.scale("a") == "error, %"


def test_tidy_equals_wide_and_parquet_equals_csv(tmp_path):
    wide = read(tmp_path, WIDE)
    frame = pl.read_csv(WIDE.encode()).unpivot(["a", "b"], index=["architecture", "flops"], variable_name="dataset")
    frame.rename({"value": "error"}).write_parquet(tmp_path / "tidy.parquet")
    tidy = load([str(tmp_path / "tidy.parquet")])[0]
    assert tidy.wide.equals(wide.wide) and tidy.attributes.equals(wide.attributes)


def test_several_files_are_one_study(tmp_path):
    for name in "ab":
        pl.read_csv(WIDE.encode()).select("architecture", name).write_csv(tmp_path / f"{name}.csv")
    data = load([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], Reading("error"))[0]
    assert data.datasets == ["a", "b"] and len(data.architectures) == 5


def test_seeds_are_averaged_and_tell_the_noise(tmp_path):
    rows = [f"n{i},{d},{s},{50 + 5 * i + s}" for i in range(5) for d in "ab" for s in (0, 1)]
    report = analyse(read(tmp_path, "model,dataset,seed,acc\n" + "\n".join(rows), quantity=None), FAST)
    assert report.data.quantity == "accuracy"
    best = report.tables["ranking"].frame.row(0, named=True)
    assert (best["architecture"], best["value"], best["noise"]) == ("n4", 70.5, "seeds")
    assert report.tables["noise"].frame["ceiling"][0] > 0.95


def test_error_and_accuracy_say_the_same(tmp_path):
    errors = analyse(read(tmp_path, WIDE), FAST)
    frame = pl.read_csv(WIDE.encode()).with_columns((1 - pl.col(name)).alias(name) for name in "ab")
    accuracies = analyse(read(tmp_path, frame.write_csv(), quantity="accuracy"), FAST)
    same = ["spearman", "spearman_low", "kendall", "pearson", "spearman_p"]
    for name in same:
        assert errors.tables["pairs"].frame[name][0] == pytest.approx(accuracies.tables["pairs"].frame[name][0])
    for one, other in (("agreement", "flips"), ("agreement", "regret"), ("fits", "slope"), ("fits", "r2")):
        assert errors.tables[one].frame[other][0] == pytest.approx(accuracies.tables[one].frame[other][0])
    best = [r.tables["ranking"].frame["architecture"][0] for r in (errors, accuracies)]
    assert best == ["x", "x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("place,comment,a\nx,u,1\n", "no column of architectures"),
        ("architecture,label\nx,y\n", "neither a column 'dataset'"),
        ("architecture,dataset,comment\nx,a,good\n", "no column 'error' or 'accuracy'"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_table_that_is_none(tmp_path, text, words):
    with pytest.raises(UsageError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("source", "words"),
    [("tuggener2021", "did you mean tuggener2022"), ("none.csv", "is not there"), ("nothing/here", "unknown source")],
)
def test_a_source_that_is_none(source, words):
    with pytest.raises(UsageError, match=words):
        load([source])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reference": "c"}, "unknown dataset 'c'"),
        ({"targets": ("c",)}, "unknown dataset 'c'"),
        ({"reference": "a", "targets": ("a",)}, "cannot be a target"),
        ({"baseline": "q"}, "unknown architecture 'q'"),
        ({"given": ("width",)}, "unknown column"),
    ],
)
def test_settings_that_name_what_is_not_there(tmp_path, change, words):
    with pytest.raises(UsageError, match=words):
        analyse(read(tmp_path, WIDE), Settings(resamples=100, **change))


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("architecture,a,b\nx,1,2\ny,2,3\nz,3,1\n", "fewer than 4 have both"),
        ("architecture,a,b\nx,2,2\ny,2,3\nz,2,1\nw,2,5\nv,2,7\n", "one of the two is constant"),
        ("architecture,a,b\nx,1,\ny,2,\nz,,3\nw,,5\nv,,7\n", "no architecture has both"),
        ("architecture,a,b\nx,inf,2\ny,nan,3\nz,3,1\nw,4,inf\nv,5,7\n", "fewer than 4 have both"),
        ("architecture,a,b\nx,,2\ny,,3\nz,,1\nw,,5\n", "neither"),
    ],
)
def test_what_has_no_meaning_is_null_with_a_reason(tmp_path, text, note):
    if note == "neither":
        text = text.replace("x,,", "x,-inf,")
        note = "no architecture has both"
    report = analyse(read(tmp_path, text), FAST)
    (row,) = report.tables["pairs"].frame.to_dicts()
    assert row["note"] == note
    assert all(row[name] is None for name in row if name.startswith(("spearman", "kendall", "pearson")))
    assert "No correlation" in report.finding[0]


def test_one_dataset_has_coverage_and_a_ranking(tmp_path):
    report = analyse(read(tmp_path, "architecture,a\nx,1\ny,2\nz,3\n"), FAST)
    assert "pairs" not in report.tables and len(report.tables["ranking"].frame) == 3


def test_draws_and_size_controls_are_told_from_targets(tmp_path):
    names = ["imagenet", "imagenet-10.0", "imagenet-10.1", "imagenet-1000-10", "cifar"]
    rows = [f"n{i}," + ",".join(str((i * k) % 17 + i) for k in (1, 2, 3, 4, 5)) for i in range(12)]
    report = analyse(read(tmp_path, "architecture," + ",".join(names) + "\n" + "\n".join(rows)), FAST)
    assert report.roles.targets == ["cifar"]
    gains = report.tables["gains"].frame
    assert gains.filter(pl.col("kind") == "size control")["subset"].to_list() == ["imagenet-1000-10"]
    assert report.tables["draws"].frame["draws"].to_list() == [2]
    assert report.tables["best-subset"].frame["best_subset"][0] != "imagenet-1000-10"


def test_a_pair_with_gaps_is_what_its_own_rows_give(tmp_path):
    rows = [(f"n{i}", i, (i * 7) % 10, "" if i < 4 else (i * 3) % 10) for i in range(10)]
    gaps = "\n".join(f"{name},{a},{b},{c}" for name, a, b, c in rows)
    alone = "\n".join(f"{name},{a},{c}" for name, a, _, c in rows[4:])
    found = analyse(read(tmp_path, "architecture,a,b,c\n" + gaps), FAST).tables["pairs"].frame
    expected = analyse(read(tmp_path, "architecture,a,c\n" + alone), FAST).tables["pairs"].frame
    columns = ["n", "spearman", "spearman_low", "spearman_high", "kendall", "pearson_p"]
    pair = found.filter((pl.col("a") == "a") & (pl.col("b") == "c"))
    assert pair.select(columns).row(0) == expected.select(columns).row(0)
    assert found["missing"].to_list() == [0, 4, 4]
