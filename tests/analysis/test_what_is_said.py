"""What is told of a table that was read, and of one that was refused, word by word."""

from pathlib import Path
from typing import Any

import pytest

from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading, parse_roles
from toolkit.errors import UsageError

FOUR = "model,imagenet_acc,pets_acc\na,70,60\nb,71,61\nc,72,62\nd,73,63\n"


def read(folder: Path, texts: dict[str, str], **reading: Any) -> Any:
    for name, text in texts.items():
        (folder / name).write_text(text)
    return load([str(folder / name) for name in texts], Reading(**reading))[0]


@pytest.mark.parametrize(
    ("text", "reading", "said"),
    [
        (FOUR, {}, []),
        (
            FOUR.replace("72,62", "72,about 62").replace("71,61", "71,inf"),
            {},
            [
                "t.csv: 1 cells of 'pets_acc' are no numbers: 'about 62' (c)",
                "t.csv: 1 infinite values count as missing",
            ],
        ),
        (
            "model,comment,imagenet_acc,pets_acc,train_acc\na,good,70,60,90\nb,bad,71,61,91\n,none,1,1,1\n",
            {"columns": (("model", "architecture"),)},
            [
                "t.csv: 1 rows without architecture are left out",
                "t.csv: columns not used: 'comment', 'train_acc' (--map COLUMN=ROLE uses one)",
            ],
        ),
        (
            FOUR + "Average,71.5,61.5\nstd,1,1\n",
            {},
            ["t.csv: rows that sum up others are left out: Average, std"],
        ),
        (
            "model,dataset,accuracy\na,x,70\na,y,60\nb,x,71\nb,,61\n",
            {},
            ["t.csv: 1 rows without dataset are left out"],
        ),
        (
            "model,x_err,y_err\na,0.1,0.3\nb,0.2,0.4\n",
            {},
            ["t.csv: values of at most 1 are read as shares, times 100 (--unit percent if they are percent)"],
        ),
        ("model,x_acc,y_acc\na,0.1,0.3\nb,0.2,0.4\n", {}, []),
        (
            "model,x_acc,y_acc\na,0.1,30\nb,0.2,40\n",
            {},
            ["t.csv: x_acc read as shares, others as percent (--unit)"],
        ),
        (
            "model,x_acc,y_acc\na,50,30\nb,120,40\n",
            {},
            [
                "t.csv: x_acc has values outside 0..100 (120 of b): no dataset is read as percent; if it stands for "
                "no value, empty the cell"
            ],
        ),
        (
            "model,x_acc,y_acc\na,50,30\nb,60,40\nc,1,50\nd,70,0.5\n",
            {},
            ["t.csv: 2 accuracies of at most 1 % are taken as they are, though most are far higher (1 of c on x_acc)"],
        ),
    ],
)
def test_what_was_left_out_or_guessed_is_told(
    text: str, reading: dict[str, Any], said: list[str], tmp_path: Path
) -> None:
    found = read(tmp_path, {"t.csv": text}, **reading)
    assert [line.replace(f"{tmp_path}/", "") for line in found.problems] == said


SEEN = "columns seen: 'model', 'imagenet_acc', 'pets_acc'"


@pytest.mark.parametrize(
    ("texts", "reading", "said"),
    [
        ({"t.csv": FOUR}, {"quantity": "error"}, f"t.csv: --error contradicts its headings; {SEEN}"),
        (
            {"t.csv": FOUR, "u.csv": "model,cars_err\na,3\n"},
            {},
            "some tables hold errors, others accuracies: report them one by one, or --map COLUMN=ignore",
        ),
        (
            {"t.csv": "model,x_acc,y_err\na,1,2\n"},
            {},
            "t.csv mixes errors and accuracies (x_acc, y_err); --map COLUMN=ignore",
        ),
        (
            {"t.csv": "model,dataset,accuracy\na,x,70\na,x,60\n"},
            {},
            "t.csv: 'a' has several rows on 'x'; say which column tells them apart ("
            "--map model=architecture --map COLUMN=architecture for nets of their own, or COLUMN=seed for repeats); "
            "columns seen: 'model', 'dataset', 'accuracy'",
        ),
        (
            {"t.csv": "model,dataset,accuracy\n,x,70\n"},
            {},
            "t.csv has no rows with an architecture and a dataset",
        ),
        (
            {"t.csv": "model,a_err,b_err\nx,0.5,30\ny,0.7,40\n"},
            {},
            "t.csv: are the values of a_err (at most 1) shares or percent? Others are percent: say --unit percent, or "
            "write all in one unit",
        ),
        (
            {"t.csv": "model,dataset,error,wrong,images\na,x,10,200,1000\n"},
            {},
            "t.csv: a on x has 200 wrong of 1000 images, which is no error of 10 %: mend the counts or leave their "
            "columns out (--map wrong=ignore)",
        ),
        (
            {"t.csv": "model,family,x_acc\na,f,50\na,g,60\n"},
            {"columns": (("family", "cluster"), ("x_acc", "accuracy"))},
            "t.csv: 'a' has several rows on 'x_acc'; say which column tells them apart ("
            "--map model=architecture --map COLUMN=architecture for nets of their own, or COLUMN=seed for repeats); "
            "columns seen: 'model', 'family', 'x_acc'",
        ),
        (
            {"t.csv": "model,family,dataset,accuracy\na,f,x,50\na,g,y,60\n"},
            {},
            "t.csv: 'a' has more than one family: mend the column, or name another by --cluster",
        ),
        (
            {"t.csv": "place,comment,x_acc\np,good,3\n"},
            {},
            "t.csv has no column of architectures (one of: architecture, arch, model, net, network, backbone, "
            "model_name); columns seen: 'place', 'comment', 'x_acc'; say --map COLUMN=architecture",
        ),
        (
            {"t.csv": "model," + ",".join(f"c{i}" for i in range(13)) + "\na" + ",x" * 13 + "\n"},
            {},
            "t.csv has neither a column 'dataset' nor a numeric column for each dataset; columns seen: 'model', "
            + ", ".join(f"'c{i}'" for i in range(11))
            + " and 2 more; say --map COLUMN=value",
        ),
        (
            {"t.csv": FOUR},
            {"columns": (("pet", "value"),)},
            "unknown column 'pet'",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_say(
    texts: dict[str, str], reading: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, texts, **reading)
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(said)


def test_roles_are_read_from_words() -> None:
    assert parse_roles(["top5=value", "a=b=ignore"]) == (("top5", "value"), ("a=b", "ignore"))
    for words in ("top5", "top5=", "top5=valu"):
        with pytest.raises(UsageError, match="in --map COLUMN=ROLE"):
            parse_roles([words])
