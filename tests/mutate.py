"""A sample of a room's code is broken, one place at a time: do the room's tests see it?

    python -m tests.mutate ROOM [--sample N] [--seed N] [--only PATTERN ...]

`make mutate ROOM=stats` calls it, with mutmut from a folder of its own. It works in a copy of the tracked files, draws
``--sample`` mutants of the room, and prints how many the tests killed and what each survivor changed. What belongs to a
room stands in pyproject.toml, in ``[tool.mutation.ROOM]``.
"""

import argparse
import contextlib
import fnmatch
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = re.compile(r"^(\S+)\s+(\S+__mutmut_\d+)$", re.MULTILINE)
KILLED = "🎉"
MAKE = """
from mutmut import __main__ as mutmut
mutmut.set_mutant_under_test("mutant_generation")
mutmut.makedirs("mutants", exist_ok=True)
mutmut.copy_src_dir()
mutmut.copy_also_copy_files()
mutmut.setup_source_paths()
mutmut.create_mutants(2)
"""
"""What ``mutmut run`` begins with: the names to draw among are known only then."""


def main(argv: Sequence[str]) -> int:
    """Break, test, print; status 0 whatever came out, for a rate is no verdict."""
    rooms = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutation"]
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("room", choices=rooms)
    arguments.add_argument("--sample", type=int, default=80, metavar="N", help="mutants drawn (%(default)s)")
    arguments.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (%(default)s)")
    arguments.add_argument("--only", nargs="+", metavar="PATTERN", help="draw among these mutants, or name them")
    given = arguments.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder), rooms[given.room])
        python(folder, "-c", MAKE)
        names = sorted(name for file in Path(folder, "mutants").rglob("*.meta") for name in names_in(file))
        if given.only:
            names = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in given.only)]
        drawn = random.Random(given.seed).sample(names, min(given.sample, len(names)))
        results = {name: sign for sign, name in RESULT.findall(python(folder, "-m", "mutmut", "run", *drawn))}
        for name in (name for name, sign in results.items() if sign != KILLED):
            print(f"{results[name]} {python(folder, '-m', 'mutmut', 'show', name)}")
    killed = sum(sign == KILLED for sign in results.values())
    print(f"{given.room}: {killed} of {len(results)} killed ({killed / len(results):.0%}), of {len(names)} mutants")
    return 0


def copied(folder: Path, room: dict[str, list[str]]) -> None:
    """Copy what git tracks, and add the room's settings for mutmut."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    pack = subprocess.run(["tar", "c", "--null", "-T", "-"], cwd=ROOT, input=tracked, capture_output=True, check=True)
    subprocess.run(["tar", "x"], cwd=folder, input=pack.stdout, check=True)
    settings = [
        f"{name} = {value!r}" for name, value in (("only_mutate", room["code"]), ("do_not_mutate", room["not"]))
    ]
    settings.append(f"pytest_add_cli_args_test_selection = {room['tests']!r}")
    config = folder / "pyproject.toml"
    config.write_text(config.read_text().replace("[tool.mutmut]\n", "[tool.mutmut]\n" + "\n".join(settings) + "\n"))


def names_in(file: Path) -> list[str]:
    """The mutants of one source file, by mutmut's notes on it."""
    return list(json.loads(file.read_text())["exit_code_by_key"])


def python(folder: str, *words: str) -> str:
    """What a Python with mutmut prints. The copy's own code is imported, not that of the installed toolkit."""
    environment = {**os.environ, "PYTHONPATH": os.environ["MUTMUT"]}
    with tempfile.TemporaryFile("w+") as printed:  # a pipe's end would be waited for, and a mutant's orphans hold it
        run = subprocess.Popen([sys.executable, *words], cwd=folder, env=environment, stdout=printed, process_group=0)
        try:
            status = run.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
        printed.seek(0)
        said = printed.read()
    if status:
        sys.exit(f"{' '.join(words[:3])} ended with {status}:\n{said[-4000:]}")
    return said


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
