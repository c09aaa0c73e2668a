"""Names: what they stand for, what a wrong one is told, and what the verbs print."""

import json
import subprocess
import sys

import pytest

from toolkit.anynet import POPULATIONS, architecture, load_population
from toolkit.anynet.__main__ import main
from toolkit.bench import main as bench
from toolkit.errors import UsageError


def test_a_sampled_net_by_name() -> None:
    net = architecture("anynetx-500/17")
    assert net.config == load_population("anynetx-500").configs[17]
    assert net.group == "anynetx-500"
    assert net.input_size(97) == 97
    assert net.complexity(64, 10) == net.config.complexity(64, 10)
    attributes = net.attributes()
    assert attributes["depth"] == net.config.cumulative_depth
    assert attributes["width"] == net.config.cumulative_width
    assert [attributes[f"w{i}"] for i in (1, 2, 3, 4)] == list(net.config.widths)


def test_a_named_model_by_name() -> None:
    model = architecture("torchvision/resnet50")
    assert (model.group, model.config, model.attributes()) == ("torchvision", None, {})
    costs = model.complexity(224, 1000)
    assert costs is not None
    assert costs.params == 25_557_032
    assert model.complexity(225, 1000) is None
    assert architecture("timm/resnet50").complexity(224, 1000) is None


def test_every_name_of_every_population_is_known() -> None:
    assert POPULATIONS == ["anynetx-500", "imagenot-9"]
    for population in map(load_population, POPULATIONS):
        for name in population.architectures:
            found = architecture(name)
            assert found.name == name
            assert found.complexity(found.input_size(224), 1000) is not None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("anynetx-500/500", "anynetx-500/0 to anynetx-500/499"),
        ("anynetx-500/-1", "anynetx-500/0 to anynetx-500/499"),
        ("anynetx-500", "anynetx-500/0 to anynetx-500/499"),
        ("anynetx-500/", "anynetx-500/0 to anynetx-500/499"),
        ("anynetx-500/1\n", "anynetx-500/0 to anynetx-500/499"),
        ("anynetx-500/٣", "anynetx-500/0 to anynetx-500/499"),
        ("torchvision/resnet51", "torchvision/resnet50"),
        ("torchvison/resnet50", "torchvision/resnet50"),
        ("timm/vit_base_patch16_22", "timm/vit_base_patch16_224"),
        ("imagenot-9/3", "unknown architecture"),
        ("resnet50", "torchvision/resnet50"),
        ("", "unknown architecture"),
    ],
)
def test_unknown_names_get_the_nearest_known(name: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        architecture(name)
    assert told in str(error.value)


def test_numbers_have_one_spelling() -> None:
    assert architecture("anynetx-500/007").name == "anynetx-500/7"


def test_an_unknown_population() -> None:
    with pytest.raises(UsageError, match="did you mean anynetx-500"):
        load_population("anynet-500")


def test_names_need_no_torch() -> None:
    code = (
        "import sys; from toolkit.anynet import architecture; a = architecture('timm/vit_base_patch16_224');"
        "a.input_size(32); architecture('anynetx-500/3').complexity(32, 10);"
        "assert not {'torch', 'timm', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_population_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert "anynetx-500/499" in printed
    assert "cumulative width" in printed


def test_a_population_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["imagenot-9", "--json", "--classes", "10"]) == 0
    document = json.loads(capsys.readouterr().out)
    sizes = {net["name"]: net["input_size"] for net in document["architectures"]}
    assert sizes["torchvision/inception_v3"] == 299
    assert len(sizes) == 9


def test_a_net_stage_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["anynetx-500/17", "--json", "--resolution", "32"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [stage["side"] for stage in document["stages"]] == [16, 8, 4, 2]
    assert [stage["depth"] for stage in document["stages"]] == document["config"]["depths"]
    assert main(["anynetx-500/17"]) == 0
    assert "374.1" in capsys.readouterr().out


def test_a_model_of_unknown_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timm/inception_v3"]) == 0
    assert "timm/inception_v3 at 299 px" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["nope"], ["--resolution", "0"], ["--classes", "-1"]])
def test_wrong_calls(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        main(argv)


def test_the_benchmark_prints_its_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(["sampler", "--nets", "5", "--repeats", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ratio"] > 1
    assert bench(["sampler", "--nets", "5", "--repeats", "1"]) == 0
    assert "one by one" in capsys.readouterr().out
    with pytest.raises(UsageError, match="did you mean sampler"):
        bench(["samplers"])


@pytest.mark.slow
def test_the_survey_lists_what_is_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import resources

    from toolkit.anynet import survey

    monkeypatch.setattr(survey, "COUNTED", ("torchvision/resnet18",))
    monkeypatch.setattr(survey, "RESOLUTIONS", (32, 64))
    assert survey.main([]) == 0
    fresh = json.loads(capsys.readouterr().out)
    shipped = json.loads((resources.files("toolkit.anynet") / "named.json").read_text())
    assert fresh["models"]["torchvision"].keys() == shipped["models"]["torchvision"].keys()
    assert fresh["models"]["torchvision"]["vit_b_16"] == {"fixed": 224}
    body = fresh["complexity"]["torchvision/resnet18"]["body"]
    assert body.items() <= shipped["complexity"]["torchvision/resnet18"]["body"].items()
