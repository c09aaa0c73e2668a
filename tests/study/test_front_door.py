"""``imagenot VERB`` is ``python -m toolkit.VERB``, and ``imagenot data SOURCE`` is ``python -m data_prep.SOURCE``."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit import __version__
from toolkit.__main__ import SOURCES, VERBS, main
from toolkit.cli import parser
from toolkit.errors import UsageError

ROOT = Path(__file__).parents[2]
EVERY_VERB = [verb for group in VERBS.values() for verb in group]
EVERY_SOURCE = [source for group in SOURCES.values() for source in group.split()]


def test_help_names_every_verb_and_version_is_told(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in [*EVERY_VERB, *EVERY_SOURCE])
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"imagenot-toolkit {__version__}\n"


def test_every_verb_and_source_is_a_module():
    assert all(importlib.util.find_spec(f"toolkit.{verb}") for verb in EVERY_VERB)
    assert all(importlib.util.find_spec(f"data_prep.{source}") for source in EVERY_SOURCE)


@pytest.mark.parametrize("call", [["lanch"], ["data", "imagefoldr"], ["data"]])
def test_a_slip_is_answered_with_what_there_is(call):
    with pytest.raises(UsageError, match=r"launch|imagefolder"):
        main(call)


def test_an_install_that_cannot_write_datasets_says_what_to_install():
    code = "import sys; sys.modules['blake3'] = None; from toolkit.__main__ import entry; entry()"
    command = [sys.executable, "-c", code, "data", "imagefolder", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    wanted = (
        "error: data_prep.imagefolder needs blake3, which is not installed here: pip install 'imagenot-toolkit[train]'"
    )
    assert done.stderr.splitlines() == [wanted]


def test_a_verb_behaves_as_its_module():
    one, other = (
        subprocess.run([sys.executable, "-m", *words, "--help"], capture_output=True, text=True, check=True).stdout
        for words in (["toolkit", "status"], ["toolkit.status"])
    )
    assert one == other


@pytest.fixture
def shell(tmp_path):
    """A function from the words of a line, the last to be completed, to what bash offers."""
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "data" / "emoji").mkdir(parents=True)
    (tmp_path / "data" / "emoji" / "dataset.json").touch()
    command = f"{sys.executable} -m toolkit"

    def offered(*words: str) -> set[str]:
        script = (
            f'imagenot() {{ {command} "$@"; }}; eval "$(imagenot completion)"; COMP_WORDS=("$@"); '
            'COMP_CWORD=$(($# - 1)); _imagenot; echo "${COMPREPLY[@]}"'
        )
        called = ["bash", "-c", script, "bash", "imagenot", *words]
        quiet = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        return set(subprocess.run(called, cwd=tmp_path, env=quiet, capture_output=True, text=True).stdout.split())

    return offered


def test_the_shell_completes_verbs_options_studies_and_datasets(shell):
    assert shell("") == {*EVERY_VERB, "data", "completion"}
    assert shell("data", "imagen") == {"imagenet", "imagenot"}
    assert shell("launch", "--data") == {"--data", "--dataset"}
    assert shell("launch", "--dataset", "") == {"emoji"}
    assert shell("status", "f") == {"first"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ([], [1, 2]),
        (["--k", "3"], [3]),
        (["--k", "3", "4", "--k", "5"], [3, 4, 5]),
        (["--k", "1", "2", "--k", "2"], [1, 2, 2]),
    ],
)
def test_an_option_given_twice_adds_up_and_takes_the_defaults_place(typed: list[str], meant: list[int]) -> None:
    options = parser("x", "")
    options.add_argument("--k", nargs="+", type=int, default=[1, 2])
    assert options.parse_args(typed).k == meant
    assert options.parse_args([]).k == [1, 2]


PRINTS = {
    "text": "from toolkit.cli import say as show",
    "table": "from rich.console import Console; show = Console().print",
}


@pytest.mark.parametrize("how", PRINTS)
def test_a_reader_that_has_seen_enough_is_no_error(how):
    code = f"{PRINTS[how]}\nfrom toolkit.cli import run\nrun(lambda argv: [show('x' * 99) for _ in range(9999)] and 5)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, "")
