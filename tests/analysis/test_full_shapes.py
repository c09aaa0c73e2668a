"""Tables of the full shape and with the quirks of three public ones, made up with a seed: read whole, and reported on.

None of them is in a package of an index: timm's results/*.csv (1,556 models, 7 sets, a file each), open_clip's
openclip_results.csv (121 x 39, a name of two columns) and imagenet-testbed's table (338 x 213, with gaps).
"""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from toolkit import report
from toolkit.analysis.document import analyse
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading

TIMM_SETS = ("imagenet", "imagenet-real", "imagenetv2-matched-frequency", "sketch", "imagenet-a", "imagenet-r", "clean")


def accuracies(nets: int, datasets: int) -> np.ndarray:
    """Shares right of nets that differ in skill, (nets, datasets)."""
    rng = np.random.default_rng(0)
    skill, share = rng.standard_normal((nets, 1)), rng.uniform(0.3, 1, datasets)
    return 1 / (1 + np.exp(-(skill * share + 0.5 * rng.standard_normal((nets, datasets)))))


def timm(folder: Path) -> list[str]:
    """Files of one heading with attributes; each sorted by its own accuracy, and one lacks a net."""
    nets, paths = 1556, []
    for name, share in zip(TIMM_SETS, accuracies(nets, len(TIMM_SETS)).T, strict=True):
        top1 = (100 * share).round(3)
        frame = pl.DataFrame({"model": [f"family{i % 90}_{i}.in1k" for i in range(nets)], "top1": top1})
        five = (100 - (100 - pl.col("top1")) / 4).round(3)
        frame = frame.with_columns(top1_err=(100 - pl.col("top1")).round(3), top5=five, top5_err=(100 - five).round(3))
        frame = frame.with_columns(param_count=25.6, img_size=224, crop_pct=0.875, interpolation=pl.lit("bicubic"))
        frame = frame.sort("top1", descending=True)
        path = folder / f"results-{name}.csv"
        (frame.head(nets - 1) if name == "imagenet-a" else frame).write_csv(path)
        paths.append(str(path))
    return paths


def open_clip(folder: Path) -> list[str]:
    """Nets named by network and pretraining, shares with four digits, costs beside, and a mean over all sets."""
    shares = accuracies(121, 39).round(4)
    frame = {"name": [f"ViT-{i // 4}" for i in range(121)], "pretrained": [f"set{i % 4}_e32" for i in range(121)]}
    frame |= {"params (M)": 100 + np.arange(121), "FLOPs (B)": 20 + np.arange(121) / 10}
    frame |= {"ImageNet 1k": shares[:, 0]} | {f"Task {i}": shares[:, i] for i in range(1, 39)}
    pl.DataFrame(frame).write_csv(folder / "openclip_results.csv")
    return [str(folder / "openclip_results.csv")]


def testbed(folder: Path) -> list[str]:
    """Percent with two digits; every fourteenth net has no value on the last sixty sets."""
    values = (100 * accuracies(338, 213)).round(2)
    values[::14, -60:] = np.nan
    names = ["val", *(f"corruption_{i}.severity_{i % 5 + 1}" for i in range(1, 213))]
    frame = {"model": [f"net_{i}" for i in range(338)]} | dict(zip(names, values.T, strict=True))
    pl.DataFrame(frame).fill_nan(None).write_csv(folder / "results.csv")
    return [str(folder / "results.csv")]


testbed.__test__ = False
SHAPES = {timm: (1556, 7, 1), open_clip: (121, 39, 0), testbed: (338, 213, 25 * 60)}


def read(table, folder: Path) -> Measurements:
    return load(table(folder), Reading("accuracy", "percent" if table is not open_clip else None))[0]


@pytest.mark.slow
@pytest.mark.parametrize("table", SHAPES)
def test_a_public_table_is_read_whole(table, tmp_path: Path) -> None:
    data = read(table, tmp_path)
    nets, datasets, gaps = SHAPES[table]
    assert data.matrix.shape == (nets, datasets) and np.isnan(data.matrix).sum() == gaps
    right = 100 * accuracies(nets, datasets)
    first = next(i for i, name in enumerate(data.architectures) if name.endswith(("_0", "_0.in1k", "set0_e32")))
    assert data.matrix[first, 0] == pytest.approx(right[0, 0], abs=0.01)
    assert data.datasets[0] in ("imagenet", "ImageNet 1k", "val")


@pytest.mark.slow
@pytest.mark.parametrize("table", [pytest.param(timm, marks=pytest.mark.long), open_clip])
def test_a_public_table_has_its_first_report(table, tmp_path: Path) -> None:
    found = analyse(read(table, tmp_path), Settings(resamples=100), brief=True)
    nets, datasets, _ = SHAPES[table]
    assert f"of {datasets - 1} targets" in found.finding[0]
    assert len(found.tables["pairs"].frame) == datasets * (datasets - 1) // 2
    coverage = found.tables["coverage"].frame
    assert (coverage["paired"] + coverage["missing"]).to_list() == [nets] * datasets


@pytest.mark.long
@pytest.mark.parametrize("table", SHAPES)
def test_a_public_table_has_all_its_files(table, tmp_path: Path) -> None:
    unit = [] if table is open_clip else ["--unit", "percent"]
    out = tmp_path / "out"
    assert report.main([*table(tmp_path), "--accuracy", *unit, "--resamples", "500", "--out", str(out)]) == 0
    assert (out / "index.html").stat().st_size > 500_000
    assert {path.stem for path in (out / "figures").glob("*.png")} >= {"correlations", "critical-difference", "scatter"}
