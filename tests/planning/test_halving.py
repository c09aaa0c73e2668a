"""Finding the best net by halving, with real training."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.cluster import Cluster
from tests.executors.conftest import errors, launch, start, status, training, verb, wait_for
from toolkit.planning.halving import Rung, rungs, survivors
from toolkit.study import Study

WHAT = ["--array", "0-5", "--dataset", "tiny", "--halving", "--set", "epochs=4"]


@pytest.fixture(scope="session")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same nets, all trained to their end."""
    study = tmp_path_factory.mktemp("runs") / "whole"
    what = [option for option in WHAT if option != "--halving"]
    launch(study, data, *what, "--executor", "local", "--jobs", 2, "--per-job", 3)
    return study


def rung(study: Path, number: int) -> Rung:
    return Rung.read(study / "rungs" / f"{number}.json")


def best_of(whole: Path, nets: set[str], epochs: int) -> dict[str, float]:
    """Errors of the whole runs after so many epochs."""
    results = [Study(whole).result(i) for i in Study(whole).finished()]
    return {r.task.architecture: r.evaluations[epochs - 1].error(r.metric)
            for r in results if r.task.architecture in nets and r.status == "done"}  # fmt: skip


def check(study: Path, whole: Path) -> None:
    """Every rung is decided by the errors that whole runs have there; who is left ends as a whole run does."""
    nets = {task.architecture for task in Study(study).tasks().values()}
    for number, after in ((1, 1), (2, 2)):
        assert rung(study, number).after == after
        expected = best_of(whole, nets, after)
        found = rung(study, number).errors["tiny"]
        assert {net: found[net] for net in expected} == expected  # a net that ends at chance level has none there
        nets = set(rung(study, number).kept["tiny"])
    ended = {Study(study).tasks()[i].architecture for i in errors(study)}
    assert len(nets) == 2 and nets == ended
    assert all(errors(whole)[i] == found for i, found in errors(study).items())


@pytest.mark.slow
def test_halving_leaves_the_best_by_the_errors_of_whole_runs(whole: Path, data: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    planned = launch(study, data, *WHAT, "--executor", "local", "--dry-run")
    assert (planned["rungs_after_epochs"], planned["to_run"]) == ([1, 2], 6) and not study.exists()
    call = ["--study", study, "--data", data, "--recipe", "smoke", *WHAT, "--executor", "local", "--jobs", 2]
    launcher = start("toolkit.launch", *call)
    wait_for((study / "rungs" / "1.json").exists, 240, "the second rung")
    launcher.send_signal(signal.SIGINT)
    launcher.communicate()
    document = launch(study, data, *WHAT, "--executor", "local", "--jobs", 2)
    assert document["settled"] and document["exit"] == 0
    check(study, whole)
    (best,) = document["targets"]
    assert best["rank"] == 1 and best["architecture"] in rung(study, 2).kept["tiny"]
    assert status(study)["states"]["paused"] == 4
    again = launch(study, data, *WHAT, "--executor", "local")
    assert again["targets"] == document["targets"]
    assert best["architecture"] in verb("toolkit.plan", "looks", study).stdout
    refused_for_correlations(study, data)


def refused_for_correlations(study: Path, data: Path) -> None:
    call = ["--study", study, "--data", data, "--recipe", "smoke", "--executor", "local"]
    for done in (
        verb("toolkit.report", study),
        verb("toolkit.plan", "nets", study),
        verb("toolkit.launch", *call, *WHAT, "--until", "verdict"),
        verb(
            "toolkit.launch", *call, *[x if x != "--halving" else "--until=verdict" for x in WHAT], "--dataset", "other"
        ),
    ):
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1 and "design space" in done.stderr and "bias" in done.stderr
    plain = verb("toolkit.launch", "--study", study, "--data", data, "--executor", "local")
    assert plain.returncode == 2 and "give --halving" in plain.stderr


@pytest.mark.cluster
@pytest.mark.long
def test_halving_on_slurm_comes_to_the_same_end(cluster: Cluster, whole: Path, data: Path, tmp_path: Path) -> None:
    study, profile = tmp_path / "it's a study", tmp_path / "profile.toml"
    profile.write_text("cpus = 1\ntime_min = 30\ngrace_s = 10\n")
    launch(study, data, *WHAT, "--executor", "slurm", "--profile", profile, "--per-job", 3)
    wait_for(lambda: training(study), 90, "a task that trains")
    os.kill(Study(study).progress(training(study)[0]).pid, signal.SIGKILL)  # the controller submits it again
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout.strip(), 400, "an empty queue", every=1)
    check(study, whole)


@given(st.integers(1, 300), st.integers(2, 500), st.integers(1, 8))
def test_rungs_rise_below_the_end_and_leave_enough(epochs: int, nets: int, best: int) -> None:
    found = rungs(range(1, epochs + 1), nets, best)
    assert found == sorted(set(found)) and all(0 < epoch <= epochs / 2 for epoch in found)
    left = nets
    for _ in found:
        assert left > best
        left = max(best, -(-left // 2))


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1), st.integers(1, 9))
def test_survivors_are_the_better_half(found: dict[str, float], best: int) -> None:
    kept = survivors(found, len(found), best)
    assert len(kept) == min(len(found), max(best, -(-len(found) // 2)))
    assert all(found[net] <= found[other] for net in kept for other in found.keys() - set(kept))


@pytest.mark.slow
def test_a_halving_of_nothing_is_refused(data: Path, tmp_path: Path) -> None:
    call = ["--study", tmp_path / "s", "--data", data, "--array", "0", "--dataset", "tiny", "--executor", "local"]
    done = verb("toolkit.launch", *call, "--halving", "--json")
    assert done.returncode == 2 and "nothing to halve" in done.stderr
