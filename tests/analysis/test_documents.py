"""Every table of some small reports: title, note, first and last row, and the finding, as ``documents.json`` has them.

A reader goes by titles and notes, and a number that moves without a reason is a wrong answer. Whoever means to change
them writes the file anew (``python -m tests.analysis.test_documents``), and the difference is what readers will see.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.report.studies import make_result, make_task, write_study
from toolkit.analysis.document import analyse
from toolkit.analysis.families import with_families
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading, reference_measurements

KEPT = Path(__file__).parent / "documents.json"
FEW = {"resamples": 200}
FAMILIES = ("resnet", "vgg", "vit_", "swin_", "regnet", "densenet", "convnext_", "alexnet", "mnasnet", "googlenet")
NETS = [f"{family}{i}" for i in range(2) for family in FAMILIES]


def counted(folder: Path) -> dict[str, Any]:
    """Counts of wrong images; subsets of the reference in two draws, a size control, columns that describe the nets."""
    lines = ["model,dataset,wrong,images,error,flops,depth"]
    names = {"imagenet": 3, "imagenet-10": 5, "imagenet-10.1": 7, "imagenet-1000-10": 11, "cifar": 4, "pets": 9}
    for k, (dataset, step) in enumerate(names.items()):
        for i, net in enumerate(NETS):
            if (dataset, i) != ("pets", 4):
                wrong = 100 + 20 * i + 10 * k + (step * i * i) % (40 + 20 * k)
                lines.append(f"{net},{dataset},{wrong},1000,{wrong / 10},{1 + (i * i) % 7}e9,{10 + i % 5}")
    (folder / "counted.csv").write_text("\n".join(lines))
    return analyse(load([str(folder / "counted.csv")])[0], Settings(**FEW)).document()


def in_families(folder: Path) -> dict[str, Any]:
    """Errors of no unit with given noise, of nets in families, over the baseline's; subsets of the reference."""
    rows = [
        f"{net},{1 + i % 5 + i / 7:.3f},{2 + i % 4 + i / 5:.3f},{9 - i / 3:.3f},{i % 6 + i / 4:.3f},{i % 7 + i / 8:.3f}"
        for i, net in enumerate(NETS)
    ]
    (folder / "loss.csv").write_text("model,imagenet,birds,cars,birds-5,birds-9\n" + "\n".join(rows))
    data = load([str(folder / "loss.csv")], Reading("error", "none"))[0]
    settings = Settings(**FEW, noise=0.2, scale="ratio", baseline="vgg1", reference="birds")
    return analyse(with_families(data, None), settings).document()


def seeded(folder: Path) -> dict[str, Any]:
    """Accuracies of two seeds each, on a scale of its own; only some nets have one of the three datasets."""
    lines = ["model,dataset,seed,accuracy"]
    for i in range(9):
        for k, dataset in enumerate(("imagenet", "flowers", "moths")[: 3 if i < 6 else 2]):
            lines += [f"n{i},{dataset},{seed},{50 + 3 * i - k * (i % 3) + seed * (i % 4)}" for seed in (0, 1)]
    (folder / "seeds.csv").write_text("\n".join(lines))
    return analyse(load([str(folder / "seeds.csv")])[0], Settings(**FEW, scale="logit")).document()


def beside_a_published_study(folder: Path) -> dict[str, Any]:
    """A part of a shipped study's own points, in another order."""
    frame = reference_measurements("tuggener2022").wide.select("architecture", "natural", "imagenet", "concrete")
    frame.gather_every(12).write_csv(folder / "mine.csv")
    data = load([str(folder / "mine.csv")], Reading("error", "percent"))[0]
    return analyse(data, Settings(**FEW, scale="probit"), brief=True).document()


def of_a_study(folder: Path) -> dict[str, Any]:
    """Two recipes on one dataset, and what failed, diverged or is missing."""
    nets, results = [f"anynetx-500/{i}" for i in range(10)], []
    for i, net in enumerate(nets):
        results += [make_result(make_task(net, dataset), 100 + (17 * i) % 60 + 5 * i) for dataset in ("pets", "birds")]
        results += [make_result(make_task(net, "pets", epochs=3), 90 + 6 * i)] * (i < 4)
    ends = [make_result(make_task(nets[i], "moths"), None, status=end) for i, end in enumerate(("failed", "diverged"))]
    study = write_study(folder / "mine", [*results, *ends], [make_task(net, "moths") for net in nets[2:4]])
    return analyse(load([str(study.path)])[0], Settings(**FEW, given=("depth",)), brief=False).document()


def shipped(folder: Path) -> dict[str, Any]:
    """A shipped study of nine nets."""
    return analyse(reference_measurements("imagenot2024"), Settings(**FEW, scale="raw")).document()


REPORTS = {
    make.__name__: make for make in (counted, in_families, seeded, beside_a_published_study, of_a_study, shipped)
}


def told(name: str, folder: Path) -> dict[str, Any]:
    """What is kept of a report's document, whatever the folder of its source: a line of the file for each."""
    document = REPORTS[name](folder)
    said = {key: document[key] for key in ("source", "settings", "finding", "conditions", "problems")}
    for table, content in document["tables"].items():
        rows = [content["rows"][at] for at in sorted({0, len(content["rows"]) - 1})]
        said[f"table {table}"] = [content["title"], content["note"], *rows]
    return json.loads(json.dumps(said).replace(f"{folder}/", ""))


def close(kept: Any) -> Any:
    """``kept``, with leave for the last digits of numbers."""
    if isinstance(kept, dict):
        return {name: close(value) for name, value in kept.items()}
    if isinstance(kept, list):
        return [close(value) for value in kept]
    return pytest.approx(kept, rel=1e-6, abs=1e-9) if isinstance(kept, float) else kept


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_what_it_was(name: str, tmp_path: Path) -> None:
    found, kept = told(name, tmp_path), json.loads(KEPT.read_text())[name]
    assert list(found) == list(kept)
    for part, content in kept.items():
        assert found[part] == close(content), part


def main() -> None:
    """Write the file anew."""
    blocks = []
    for name in REPORTS:
        with tempfile.TemporaryDirectory() as folder:
            lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in told(name, Path(folder)).items()]
        blocks.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}")
    KEPT.write_text("{\n" + ",\n".join(blocks) + "\n}\n")


if __name__ == "__main__":
    main()
