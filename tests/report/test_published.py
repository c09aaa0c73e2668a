"""The shipped studies: printed numbers reproduced, errata found, and a study of one's own set beside."""

import json
from pathlib import Path

import polars as pl
import pytest

from toolkit import report
from toolkit.analysis.document import Report, analyse
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading, reference_measurements

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def tuggener() -> Report:
    return analyse(reference_measurements("tuggener2022"), Settings(resamples=200), brief=True)


def test_tables_3_and_4_come_out_as_printed(tuggener):
    printed = tuggener.tables["printed"].frame
    assert len(printed) == 47
    assert printed["difference"].abs().max() <= 0.0121
    assert printed["agrees"].all()


def test_errata_are_found(tuggener):
    errata = {(row["where"], row["dataset"]): row["found"] for row in tuggener.tables["errata"].frame.to_dicts()}
    assert errata["Table 3, average of Spearman with the chosen ImageNet-X", ""].endswith("averages 0.500")
    assert errata["Table 3, average difference", ""].endswith("averages 0.310")
    assert ("Table 3, average of Spearman with ImageNet", "") not in errata
    assert errata["a gain on every dataset", "insects"] == "0.950 is less than 0.967"
    assert errata["the best of the ImageNet-X", "natural"].startswith("imagenet-5 has 0.47")
    assert errata["the best of the ImageNet-X", "ham10000"].startswith("imagenet-10 has 0.71")
    assert ("the best of the ImageNet-X", "mlc2008") not in errata


def test_the_honest_gain_agrees_that_insects_loses(tuggener):
    best = tuggener.tables["best-subset"].frame
    insects = best.filter(pl.col("target") == "insects").row(0, named=True)
    assert insects["honest_gain_high"] < 0
    assert (best.filter(pl.col("target") != "insects")["honest_gain_low"] > 0).all()


def test_nine_models_rank_the_same_on_imagenot():
    found = analyse(reference_measurements("imagenot2024"), Settings(resamples=200, scale="ratio"))
    assert "exactly the same on imagenot" in " ".join(found.finding)
    assert "errata" not in found.tables
    assert found.tables["fits"].frame["slope"][0] == pytest.approx(1.01, abs=0.02)
    best = found.tables["improvement"].frame.row(0, named=True)
    assert best == {"architecture": "torchvision/efficientnet_v2_l", "imagenet": 1.519, "imagenot": 1.509}


def test_ones_own_study_of_the_same_datasets_is_set_beside(tmp_path):
    frame = reference_measurements("tuggener2022").wide.select("architecture", "imagenet", "natural").head(60)
    frame.write_csv(tmp_path / "mine.csv")
    found = analyse(load([str(tmp_path / "mine.csv")], Reading("error"))[0], Settings(resamples=200), brief=True)
    (row,) = found.tables["beside-tuggener2022"].frame.to_dicts()
    assert (row["a"], row["b"], row["n_here"], row["n_published"]) == ("imagenet", "natural", 60, 500)
    assert row["published"] == pytest.approx(-0.380, abs=0.001) and row["overlap"]


def test_the_terminal_fits_100_columns_and_says_the_finding_first(capsys):
    assert report.main(["tuggener2022", "--resamples", "100"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("The ranking on imagenet transfers")
    assert max(map(len, out.splitlines())) <= 100
    assert "B = 100" in out and ".811 .800" in out


def test_the_readme_shows_what_is_printed(capsys):
    assert report.main(["tuggener2022"]) == 0
    printed = {line.rstrip() for line in capsys.readouterr().out.splitlines()}
    block = README.read_text().partition("$ python -m toolkit.report tuggener2022\n")[2].partition("```")[0]
    assert block and not [line for line in block.splitlines() if line not in printed]


def test_json_has_everything(capsys):
    report.main(["imagenot2024", "--resamples", "100", "--json", "--seed", "3"])
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["seed"] == 3 and document["settings"]["reference"] == "imagenet"
    assert {"coverage", "ranking", "pairs", "agreement", "fits", "improvement", "distribution"} <= set(
        document["tables"]
    )
