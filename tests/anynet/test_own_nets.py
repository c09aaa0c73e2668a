"""Nets of one's own: what a user writes, what is frozen, and what a wrong net is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.studies import make_result, make_task, write_study
from tests.training.betons import write_dataset
from toolkit.analysis.study_source import study_measurements
from toolkit.anynet import Freezer, architecture, sample
from toolkit.anynet.__main__ import main as anynet
from toolkit.anynet.arguments import parse_arguments, spell_arguments
from toolkit.errors import UsageError
from toolkit.launching.request import LaunchRequest
from toolkit.launching.selection import find_nets
from toolkit.planning.request import WaveRequest
from toolkit.planning.waves import make_waves
from toolkit.study import Study

SOURCE = """
import torch
from torch import nn

DRAWN = torch.rand(3)

class Net(nn.Sequential):
    def __init__(self, num_classes, width=8):
        super().__init__(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))

def text(num_classes): return "no net"
def wide(num_classes): return Net(num_classes + 1)
def flat(num_classes): return nn.Linear(3, num_classes)
def broken(num_classes): raise ZeroDivisionError("on purpose")
"""
VARIANTS = """
models = ["torchvision/resnet18", "./mynets.py:Net"]
nets = [[[1, 1, 1, 1], [8, 8, 16, 16], [1, 1, 2, 2], [8, 8, 8, 8]]]
[variants.thick]
model = "./mynets.py:Net"
width = 32
[variants.sparse]
model = "timm/resnet18"
drop_path_rate = 0.1
"""

values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
).filter(lambda v: "&" not in str(v) and str(v).isprintable())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mynets.py").write_text(SOURCE)
    (tmp_path / "variants.toml").write_text(VARIANTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), values, max_size=4))
@settings(max_examples=40)
def test_arguments_come_back_as_they_were_spelled(arguments: dict) -> None:
    try:
        name = spell_arguments("timm/resnet18", arguments)
    except UsageError:  # an unprintable character inside a list
        return
    assert parse_arguments(name) == ("timm/resnet18", arguments)
    assert spell_arguments(*parse_arguments(name)) == name


def test_arguments_have_one_order_and_one_spelling() -> None:
    assert architecture("timm/resnet18?b=0.10&a=gelu").name == "timm/resnet18?a=gelu&b=0.1"
    assert architecture("timm/vit_base_patch16_224?img_size=96").input_size(32) == 96


@pytest.mark.parametrize("word", ["timm/resnet18?", "timm/resnet18"])
def test_no_arguments_are_the_plain_model(word: str) -> None:
    assert architecture(word).name == "timm/resnet18"


def test_a_name_is_of_the_text_and_builds_it(folder: Path) -> None:
    freezer = Freezer()
    name = freezer.model("./mynets.py:Net?width=16")
    assert name.startswith("mynets@") and name.endswith("/Net?width=16")
    torch.manual_seed(0)
    first = architecture(name, freezer.texts).build(5, 16)
    after = torch.rand(1)
    torch.manual_seed(0)
    second = architecture(name, freezer.texts).build(5, 16)  # the source is not run again
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert torch.equal(after, torch.rand(1)) and first.training
    assert first(torch.zeros(2, 3, 16, 16)).shape == (2, 5) and first[0].out_channels == 16
    (folder / "mynets.py").write_text(SOURCE + "\n# another text\n")
    assert Freezer().model("./mynets.py:Net?width=16") != name


def test_a_population_of_ones_own_holds_nets_names_and_variants(folder: Path) -> None:
    freezer = Freezer()
    names = freezer.population("variants.toml")
    group = names[0].partition("/")[0]
    own = Freezer().model("mynets.py:Net")
    assert names == [f"{group}/0", "torchvision/resnet18", own, f"{group}/thick", f"{group}/sparse"]
    nets = [architecture(name, freezer.texts) for name in names]
    assert [net.name for net in nets] == names
    assert nets[0].attributes()["depth"] == 4
    assert nets[3].build(5, 16)[0].out_channels == 32
    (folder / "variants.toml").write_text("# a comment changes nothing\n" + VARIANTS)
    assert Freezer().population("variants.toml") == names
    (folder / "variants.toml").write_text(VARIANTS.replace("0.1", "0.2"))
    assert Freezer().population("variants.toml")[0] != names[0]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("none.py:Net", "none.py cannot be read"),
        ("mynets.py", "which of its callables? write mynets.py:NAME (known: Net, broken, flat, text, wide)"),
        ("mynets.py:Nat", "did you mean Net"),
        ("mynets.py:text", "gives a str, not a torch.nn.Module"),
        ("mynets.py:wide", "puts out (2, 6), not (2, 5)"),
        ("mynets.py:flat", "on images (2, 3, 16, 16): RuntimeError"),
        ("mynets.py:broken", "ZeroDivisionError: on purpose"),
        ("mynets.py:Net?depth=3", "unexpected keyword argument 'depth'"),
        ("mynets.py:Net?width", "'width' is no argument"),
        ("torchvision/alexnet?depth=3", "cannot be built with depth=3"),
        ("timm/resnet18?day=2020-01-01", "cannot be part of a name"),
        ("anynetx-500/3?depth=3", "takes no arguments"),
        ("mynets@0123456789ab/Net", "has no nets/mynets@0123456789ab.json"),
        ("odd.py:Net", "is no Python"),
        ("beside.py:Net", "imports mynets from its own folder"),
        ("failing.py:Net", "cannot be run: ModuleNotFoundError"),
    ],
)
def test_a_wrong_net_is_told_in_one_line(folder: Path, word: str, told: str) -> None:
    (folder / "odd.py").write_text("class Net:\n  def")
    (folder / "beside.py").write_text("from mynets import Net")
    (folder / "failing.py").write_text("import no_such_package_as_this\nNet = 1")
    freezer = Freezer()
    with pytest.raises(UsageError) as error:
        architecture(freezer.model(word), freezer.texts).build(5, 16)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models = 3", "models must be a list"),
        ("title = 'empty'", "names no net"),
        ("model = ['a']", "did you mean models"),
        ("nets = [[[1], [2], [3], [4]]]", "net 0: depths must be four"),
        ("nets = [[[1,1,1,1],[8,8,8,8],[3,1,1,1],[8,8,8,8]]]", "do not divide"),
        ("[variants.a]\nwidth = 3", "variant a: give model"),
        ("[variants.7]\nmodel = 'timm/resnet18'", "variant '7': name it"),
        ("nets = = 3", "is no TOML"),
    ],
)
def test_a_wrong_population_is_told_in_one_line(folder: Path, text: str, told: str) -> None:
    (folder / "variants.toml").write_text(text)
    with pytest.raises(UsageError, match=told):
        Freezer().population("variants.toml")


def test_a_sampled_population_is_the_sampler_s(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "mine.json"
    assert anynet(["sample", "3", "--flops", "300e6", "340e6", "--seed", "5", "--out", str(out)]) == 0
    assert f"--population {out} --array 0-2" in capsys.readouterr().out
    freezer = Freezer()
    configs = [architecture(name, freezer.texts).config for name in freezer.population(str(out))]
    assert configs == sample(3, (300e6, 340e6), 5)
    with pytest.raises(UsageError, match=r"a population is a \.json file"):
        anynet(["sample", "3", "--out", str(tmp_path / "mine.csv")])


def test_kept_texts_are_what_was_declared(folder: Path) -> None:
    freezer, study = Freezer(), Study.create(folder / "study")
    name = freezer.model("mynets.py:Net")
    study.keep(freezer.texts)
    assert study.texts() == freezer.texts
    [path] = study.room("nets").iterdir()
    path.chmod(0o664)
    assert study.texts() == {}  # others may write what would be run
    path.chmod(0o644)
    path.write_text(SOURCE.replace("width=8", "width=9"))
    with pytest.raises(UsageError, match="has been changed since it was kept"):
        architecture(name, study.texts())


def test_a_report_describes_nets_of_ones_own_population(folder: Path) -> None:
    freezer = Freezer()
    names = freezer.population("variants.toml")
    study = write_study(folder / "runs", [make_result(make_task(name, "a"), wrong=10) for name in names])
    study.keep(freezer.texts)
    depths = dict(study_measurements(study).attributes.select("architecture", "depth").iter_rows())
    assert [depths[name] for name in names] == [4.0, None, None, None, None]


def test_a_controller_is_given_frozen_names(folder: Path) -> None:
    """A later wave must not read a file again that may have changed."""
    for name in "ab":
        write_dataset(folder / "data" / name)
    anynet(["sample", "8", "--out", "mine.json"])
    where = {"study": str(folder / "study"), "data": str(folder / "data"), "dataset": ("a", "b")}
    launch = LaunchRequest(array="0-7", population="mine.json", executor="debug", **where)
    kept = make_waves(WaveRequest(launch, "verdict", first=4)).request.launch
    assert (kept.array, kept.population, len(kept.models)) == (None, "anynetx-500", 8)
    assert kept.models[3].startswith("mine@")


def test_a_population_without_array_is_meant_as_a_whole(folder: Path) -> None:
    assert len(find_nets(None, "variants.toml", [], {}).names) == 5
    assert find_nets("3", "variants.toml", ["timm/resnet18"], {}).names[1:] == ["timm/resnet18"]
    assert find_nets(None, "anynetx-500", ["timm/resnet18"], {}).names == ["timm/resnet18"]


def test_one_s_own_net_is_counted(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert anynet(["mynets.py:Net", "--classes", "5", "--resolution", "16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complexity"]["params"] == 8 * 27 + 8 + 8 * 5 + 5


def test_names_of_ones_own_nets_need_no_torch(folder: Path) -> None:
    code = (
        "import sys; from toolkit.anynet import Freezer; Freezer().population('variants.toml');"
        "print('torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
