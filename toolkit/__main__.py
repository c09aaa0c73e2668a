"""Does the architecture that wins on ImageNet win elsewhere?

    imagenot VERB ...          python -m toolkit VERB ... does the same
    imagenot VERB --help       what it takes
    imagenot data SOURCE ...   python -m data_prep.SOURCE ...
    eval "$(imagenot completion)"    completes verbs, options, studies and datasets in bash and zsh

{verbs}
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from toolkit import __version__
from toolkit.cli import Main, run, say
from toolkit.errors import UsageError
from toolkit.names import unknown

VERBS = {
    "train a population": {
        "launch": "submit a study's tasks to Slurm, to a pool here, or run them in this process",
        "status": "what is done, running, failed, lost",
        "logs": "what a task printed",
        "train": "what a job runs; can be run by hand",
    },
    "answer": {
        "report": "rankings and correlations of a study, or of anybody's table",
        "curves": "learning curves: a CSV, or for TensorBoard, MLflow, W&B",
        "plan": "how many nets a verdict needs; what stopping early saves",
    },
    "look at the machine": {
        "doctor": "whether this cluster, profile and image work",
        "bench": "this machine's speed, part by part",
        "anynet": "draw, count and show AnyNetX nets",
    },
}
SOURCES = {
    "write datasets": (
        "cifar concrete ham10000 imagefolder imagenet imagenot insects mlc2008 natural parquet powerline synthetic "
        "webdataset"
    ),
    "work on datasets": "subset verify",
}


def main(argv: Sequence[str]) -> int:
    """Hand the arguments after the verb to its module. Raises `UsageError` for an unknown verb or source."""
    if argv[:1] == ["--version"]:
        say(f"imagenot-toolkit {__version__}")
        return 0
    if not argv or argv[0] in ("-h", "--help"):
        say(_help())
        return 0 if argv else 2
    if argv[0] == "completion":
        say(_completion())
        return 0
    found, rest = _module(argv)
    return found(rest)


def _verbs() -> list[str]:
    return [verb for group in VERBS.values() for verb in group]


def _sources() -> list[str]:
    return [source for group in SOURCES.values() for source in group.split()]


def _completion() -> str:
    script = Path(__file__).with_name("completion.bash").read_text()
    return script.replace("VERBS", " ".join(_verbs())).replace("SOURCES", " ".join(_sources())).rstrip()


def _module(argv: Sequence[str]) -> tuple[Main, Sequence[str]]:
    verbs = _verbs()
    if argv[0] in verbs:
        return _main("toolkit.anynet.__main__" if argv[0] == "anynet" else f"toolkit.{argv[0]}"), argv[1:]
    if argv[0] != "data":
        raise unknown("verb", argv[0], [*verbs, "data", "completion"])
    sources = _sources()
    if argv[1:2] == [] or argv[1] not in sources:
        raise unknown("source", "".join(argv[1:2]), sources)
    return _main("data_prep.imagenot.__main__" if argv[1] == "imagenot" else f"data_prep.{argv[1]}"), argv[2:]


def _main(module: str) -> Main:
    try:
        main: Main = import_module(module).main
    except ModuleNotFoundError as error:
        needed = f"{module.removesuffix('.__main__')} needs {error.name}, which is not installed here"
        raise UsageError(f"{needed}: pip install 'imagenot-toolkit[train]'") from error
    return main


def _help() -> str:
    groups = [
        f"{title}\n" + "\n".join(f"  {verb:8}{text}" for verb, text in verbs.items()) for title, verbs in VERBS.items()
    ]
    groups += [f"{title}\n  data {names}" for title, names in SOURCES.items()]
    return (__doc__ or "").format(verbs="\n".join(groups)).strip()


def entry() -> None:
    """The console command ``imagenot``."""
    run(main)


if __name__ == "__main__":
    entry()
