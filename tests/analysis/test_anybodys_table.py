"""Tables in the forms that people keep them: read right, or refused with what was seen."""

from pathlib import Path

import polars as pl
import pytest

from toolkit.analysis.document import analyse
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Quantity, Reading, parse_roles
from toolkit.errors import UsageError

TABLES = Path(__file__).parent / "tables"
FAST = Settings(resamples=100)
CIFAR, PETS = 0.7740817475138726, -0.7530659534637223
"""Spearman's rho of the twelve made-up networks between ImageNet and the two others, by scipy."""

FORMS = (
    "base.csv", "semicolon_comma.csv", "utf16.tsv", "gz.csv.gz", "excel.xlsx", "lines.jsonl",
    "transposed.csv", "tidy_acc1.csv", "tidy_top1_err.csv", "pandas_index.csv", "plusminus_one.csv",
    "mixed_scale.csv", "with_param_count.csv", "with_settings_columns.csv",
)  # fmt: skip


def read(name: str, quantity: str | None = "accuracy", **more: object) -> Measurements:
    return load([str(TABLES / name)], Reading(quantity, **more))[0]


def rho(data: Measurements) -> dict[str, float]:
    report = analyse(data, FAST)
    return {
        row["b"]: row["spearman"] for row in report.tables["pairs"].frame.to_dicts() if row["a"] == data.datasets[0]
    }


@pytest.mark.parametrize("name", FORMS)
def test_every_usual_form_says_the_same(name: str) -> None:
    data = read(name, None if name.startswith("tidy") else "accuracy")
    assert data.datasets == ["imagenet", "cifar10", "pets"] and len(data.architectures) == 12
    assert rho(data) == {"cifar10": pytest.approx(CIFAR), "pets": pytest.approx(PETS)}


@pytest.mark.parametrize("name", ["missing_dash.csv", "missing_n_a.csv", "missing_null.csv"])
def test_a_word_for_nothing_costs_its_cell_alone(name: str) -> None:
    report = analyse(read(name), FAST)
    coverage = {row["dataset"]: row for row in report.tables["coverage"].frame.to_dicts()}
    assert (coverage["cifar10"]["paired"], coverage["cifar10"]["missing"]) == (11, 1)
    assert coverage["pets"]["missing"] == 0


def test_files_with_one_heading_are_a_dataset_each() -> None:
    paths = [str(TABLES / f"results-{name}.csv") for name in ("imagenet", "cifar10")]
    data = load(paths)[0]
    assert data.datasets == ["imagenet", "cifar10"] and data.quantity == "accuracy"
    assert rho(data)["cifar10"] == pytest.approx(CIFAR)


def test_a_reference_is_known_by_its_usual_spellings() -> None:
    assert analyse(read("case_imagenet.csv"), FAST).roles.reference == "ImageNet"
    assert analyse(read("openclip_8.csv"), FAST).roles.reference == "ImageNet 1k"


def test_timms_table_has_one_dataset_and_describes_its_nets() -> None:
    data = read("timm_imagenet_8.csv", None)
    assert data.quantity == "accuracy" and len(data.datasets) == 1
    assert {"img_size", "crop_pct"} <= set(data.attributes.columns)


def test_open_clips_networks_have_a_name_of_two_columns() -> None:
    data = read("openclip_8.csv")
    assert len(data.architectures) == len(set(data.architectures)) == 8
    assert not any("params" in name or "FLOPs" in name for name in data.datasets)


def test_measures_of_two_kinds_are_no_repeats() -> None:
    assert "imagenet top5" in read("tidy_metric_column.csv", None).datasets


@pytest.mark.parametrize(
    ("name", "words"),
    [("base.csv", "add --error or --accuracy; columns seen: 'model'"), ("counts_contradict.csv", "100 wrong of 1000")],
)
def test_what_can_be_read_in_two_ways_is_asked(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(name, None)


def test_a_unit_is_said_where_values_leave_it_open() -> None:
    high = read("percent_below_one.csv", "error", unit="percent").column("mnist").max()
    assert read("percent_below_one.csv", "error", unit="share").column("mnist").max() == pytest.approx(100 * high)


def test_one_missing_count_costs_that_cell_alone() -> None:
    ranking = analyse(read("one_without_counts.csv", None), FAST).tables["ranking"].frame.to_dicts()
    known = [row["value_low"] is not None for row in ranking if row["dataset"] == "imagenet"]
    assert sorted(known) == [False, True, True, True, True]


def test_intervals_of_accuracies_are_those_of_errors_from_the_other_side(tmp_path: Path) -> None:
    found = []
    for quantity, values in (("error", (10, 25, 40, 55)), ("accuracy", (90, 75, 60, 45))):
        nets = [f"n{i},d,{value},{10 + 15 * i},100" for i, value in enumerate(values)]
        (tmp_path / "t.csv").write_text(f"model,dataset,{quantity},wrong,images\n" + "\n".join(nets))
        found.append(analyse(load([str(tmp_path / "t.csv")])[0], FAST).tables["ranking"].frame)
    errors, accuracies = found
    assert errors["architecture"].equals(accuracies["architecture"]) and errors["rank_high"].equals(
        accuracies["rank_high"]
    )
    for end, other in (("value", "value"), ("value_low", "value_high"), ("value_high", "value_low")):
        assert accuracies[end].to_list() == pytest.approx((100 - errors[other]).to_list())


def test_repeats_may_have_names(tmp_path: Path) -> None:
    rows = [f"n{i},d,{fold},{50 + i + k}" for i in range(2) for k, fold in enumerate(("left", "right"))]
    (tmp_path / "t.csv").write_text("model,dataset,fold,accuracy\n" + "\n".join(rows))
    data = load([str(tmp_path / "t.csv")])[0]
    assert data.frame["seed"].to_list() == [1, 2, 1, 2] and data.known_errors["d"][1] == "seeds"


def written(folder: Path, columns: dict[str, list[object]]) -> Measurements:
    path = folder / "t.csv"
    pl.DataFrame(columns, strict=False).write_csv(path)
    return load([str(path)])[0]


NETS: list[object] = [f"net-{i}" for i in range(10)]
RISING: list[object] = [60.0 + i for i in range(10)]


@pytest.mark.parametrize(
    "heading", ["cifar_std", "cifar_acc_sd", "imagenet_acc_low", "delta_acc", "acc_gap", "imagenet_rank"]
)
def test_what_is_told_beside_values_is_no_dataset(tmp_path: Path, heading: str) -> None:
    columns = {"model": NETS, "imagenet_acc": RISING, "cifar_acc": RISING[::-1]}
    ends = {"imagenet_acc_high": RISING} if heading == "imagenet_acc_low" else {}
    data = written(tmp_path, columns | {heading: [0.5] * 10} | ends)
    assert data.datasets == ["imagenet_acc", "cifar_acc"]
    noise = data.errors
    if heading.startswith("cifar"):
        assert noise is not None and noise.rows() == [(net, "cifar_acc", 0.5) for net in NETS]
    else:
        assert noise is None and any(f"'{heading}'" in line for line in data.problems)


def test_a_row_that_sums_up_others_is_no_net(tmp_path: Path) -> None:
    data = written(tmp_path, {"model": [*NETS, "Mean"], "imagenet_acc": [*RISING, 64.5], "cifar_acc": [*RISING, 64.5]})
    assert len(data.architectures) == 10 and "left out: Mean" in data.problems[0]


@pytest.mark.parametrize(
    ("odd", "words"), [(0.0, "0 of net-3 on cifar_acc"), (-1.0, "-1 of net-3"), (404.0, "404 of net-3")]
)
def test_a_number_that_may_stand_for_none_is_named(tmp_path: Path, odd: float, words: str) -> None:
    columns = {"model": NETS, "imagenet_acc": RISING, "cifar_acc": [*RISING[:3], odd, *RISING[4:]]}
    assert any(f"{odd:g} of net-3" in line for line in written(tmp_path, columns).problems)


@pytest.mark.parametrize(
    ("others", "taken"), [("94;92,5", 93.125), ("94;1,281,167", 93125), ("94;94.5", 93125), ("94;12345,5", 93.125)]
)
def test_a_comma_before_three_digits_is_read_as_the_others_say_or_asked(
    tmp_path: Path, others: str, taken: float
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("model;imagenet;cifar;n\na;93,125;90;1\nb;94,500;91;2\nc;92,250;94;3\n")
    with pytest.raises(UsageError, match=r"t\.csv: '93,125' may be 93\.125 or 93125 \(and 2 more\): write decimals"):
        load([str(path)])
    path.write_text(f"model;imagenet;cifar;n\na;93,125;90;1\nb;94,500;91;2\nc;92,250;{others}\n")
    assert load([str(path)], Reading(quantity="accuracy"))[0].column("imagenet")[0] == taken


@pytest.mark.parametrize(
    "text",
    [
        "| model | c_acc | d_acc |\n|:--|--:|--:|\n| a | 90 | 80 |\n| b | 91 | 82 |\n| c | 93 | 81 |\n",
        "+---+-----+\n| model | c_acc | d_acc |\n+---+---+\n| a | 90 | 80 |\n| b | 91 | 82 |\n| c | 93 | 81 |\n+---+\n",
        "| model | c_acc | d_acc |\n| a | 90 | 80 |\n| b | 91 | 82 |\n| c | 93 | 81 |\n",
        "model,c_acc,d_acc\n|a~0|+|b~1|,90,80\n|a~0|+|c~1|,91,82\n|b~0|+|b~1|,93,81\n",
    ],
    ids=["markdown", "database", "no rule", "names with bars"],
)
def test_bars_between_cells_and_in_names(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    data = load([str(tmp_path / "t.txt")])[0]
    assert data.datasets == ["c_acc", "d_acc"] and len(data.architectures) == 3
    assert [list(data.column(name)) for name in data.datasets] == [[90, 91, 93], [80, 82, 81]]


def test_columns_of_repeats_are_no_datasets(tmp_path: Path) -> None:
    columns = {"model": NETS, "seed0": RISING, "seed_1": RISING[::-1]}
    with pytest.raises(UsageError, match="columns 'seed0', 'seed_1' look like repeats, not datasets"):
        written(tmp_path, columns)


def test_a_corruption_error_is_an_error_and_downloads_are_none(tmp_path: Path) -> None:
    columns = {"model": NETS, "imagenet_acc": RISING, "cifar_acc": RISING, "Hub downloads": RISING, "mCE": RISING[::-1]}
    data = written(tmp_path, columns)
    assert data.datasets == ["imagenet_acc", "cifar_acc"] and any("'mCE'" in line for line in data.problems)


STRANGERS: dict[str, tuple[str, Quantity | None, str, float, str]] = {
    "W&B's states": (
        "arch,dataset,State,test/acc\na,c,finished,90\nb,c,finished,80\nc,c,crashed,7\n",
        None,
        "c",
        90,
        "",
    ),
    "a place's state": ("model,state,acc\na,Ohio,90\nb,Utah,80\n", None, "table", 90, "columns not used: 'state'"),
    "a heading behind #": ("# by hand\n#model,c,d\na,90,7\nb,80,8\n", "accuracy", "c", 90, ""),
    "a net named #1": ("model,c\na,90\n#1 net,85\nb,80\n", "accuracy", "c", 90, ""),
    "R's row names": ('"c" "my set"\n"a" 90 7\n"b b" 80 8\n', "accuracy", "c", 90, ""),
    "Excel's sep=": ("sep=;\nmodel;c;d\na;90,5;7\nb;80;8\n", "accuracy", "c", 90.5, ""),
    "dots that group": ("model;c;params\na;90,125;11.689.512\nb;80,250;25.557.032\n", "accuracy", "c", 90.125, ""),
    "a second table of Markdown": (
        "|model|c|\n|-|-|\n|a|90|\n|b|80|\n\n|model|params|\n|-|-|\n|x|3|\n",
        "accuracy",
        "c",
        90,
        "1 further tables",
    ),
    "emphasis": (
        "| **model** | **c** |\n|-|-|\n| **[a](u)** | **90.0**<sup>1</sup> |\nb | 80\u2020\n",
        "accuracy",
        "c",
        90,
        "",
    ),
    "gains in brackets": ("model,c\na,90.0 (+1.5)\nb,80.0 (-0.2)\n", "accuracy", "c", 90, "brackets of 'c' are not"),
    "top-5 in brackets": ("model,c\na,90.0 (98.5)\nb,80.0 (95.2)\n", "accuracy", "c", 90, "brackets of 'c' are not"),
    "losses in rows": (
        "model,dataset,metric,value\na,c,acc,90\na,c,loss,2\nb,c,acc,80\nb,c,loss,3\n",
        None,
        "c",
        90,
        "'loss'",
    ),
    "training in rows": ("model,dataset,split,acc\na,c,test,90\na,d,train,99\nb,c,test,80\n", None, "c", 90, "'train'"),
    "twins": ("model,c,C\na,90,7\nb,80,8\n", "accuracy", "c", 90, "spelling alone"),
    "means of groups": ("model,c,d,natural mean\na,90,70,80\nb,80,60,70\n", "accuracy", "c", 90, "'natural mean'"),
}


@pytest.mark.parametrize("table", STRANGERS)
def test_a_strangers_table_is_read_as_it_was_meant(table: str, tmp_path: Path) -> None:
    text, quantity, dataset, value, note = STRANGERS[table]
    (tmp_path / "table.csv").write_text(text, "utf-8")
    data = load([str(tmp_path / "table.csv")], Reading(quantity))[0]
    nets = 3 if table in ("W&B's states", "a net named #1") else 2
    assert len(data.architectures) == nets and data.architectures[0] == "a"
    assert data.datasets[0] == dataset and data.column(dataset)[0] == value and data.errors is None
    assert "natural mean" not in data.datasets and note in " ".join(data.problems)


def test_brackets_and_columns_of_means_bring_their_error(tmp_path: Path) -> None:
    for text in ("model,c_mean,c_std\na,90,0.5\nb,80,0.5\n", "model,c_mean\na,90.0 (0.5)\nb,80.0 (0.5)\n"):
        (tmp_path / "table.csv").write_text(text)
        told = load([str(tmp_path / "table.csv")], Reading("accuracy"))[0].errors
        assert told is not None and told["noise"].to_list() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model,c_acc,c_std\na,0.9,1.5\nb,0.8,2\n", "a share with an error in percent"),
        ("model,dataset,metric,value\na,c,acc,90\na,c,err,10\nb,c,acc,80\n", "mixes errors and accuracies"),
    ],
)
def test_a_strangers_table_of_two_units_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        load([str(tmp_path / "table.csv")])


def test_columns_that_together_name_a_net_are_told_as_the_message_says(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("model,img_size,top1\na,224,80\na,288,81\nb,224,82\n")
    with pytest.raises(UsageError, match="--map model=architecture --map COLUMN=architecture for nets of their own"):
        load([str(tmp_path / "table.csv")])
    told = parse_roles(["model=architecture", "img_size=architecture"])
    data = load([str(tmp_path / "table.csv")], Reading(columns=told))[0]
    assert data.architectures == ["a 224", "a 288", "b 224"]
