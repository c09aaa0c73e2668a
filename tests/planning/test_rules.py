"""A rule is frozen once; what is trained next follows from it and from the results alone. Nothing is trained here."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.studies import make_result, make_task, write_study
from toolkit.analysis.families import with_families
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import roles
from toolkit.analysis.settings import Settings
from toolkit.analysis.table_source import Reading, table_measurements
from toolkit.errors import ToolkitError, UsageError
from toolkit.launching.request import LaunchRequest
from toolkit.planning.epochs import curves
from toolkit.planning.goal import Goal, chance_of_verdict, judge, looks
from toolkit.planning.halving import BIASED, best_of, halving_rule, rungs, survivors
from toolkit.planning.nets import Assumption, ClassDraws, assumed, nets_table, pilot_assumptions, width_curves
from toolkit.planning.replay import outcome, replay_tables, replays
from toolkit.planning.request import WaveRequest
from toolkit.planning.rest import Rest
from toolkit.planning.stopping import StoppingRule, progress, rule_path, standings_table, stopping_rule, wanted
from toolkit.stats.sequential import Estimate, boundaries, interval_at
from toolkit.study import Progress, Study, Task


def tasks_on(datasets: Sequence[str], nets: int, seeds: int = 1, epochs: int = 4) -> dict[str, Task]:
    made = [
        make_task(f"anynetx-500/{net}", dataset, seed, epochs=epochs)
        for dataset in datasets for net in range(nets) for seed in range(seeds)
    ]  # fmt: skip
    return {task.id: task for task in made}


def declared(path: Path, tasks: dict[str, Task]) -> Study:
    return write_study(path, [], tasks.values())


def finish(study: Study, tasks: dict[str, Task], errors: dict[str, int], dataset: str) -> None:
    for task in tasks.values():
        if task.dataset == dataset and task.architecture in errors:
            make_result(task, errors[task.architecture]).write(study.result_path(task.id))


def pause(study: Study, task: Task, epoch: int, error: float | None) -> None:
    beat = Progress(phase="paused", epoch=epoch, epochs=4, error=error, updated=0.0, host="h", pid=1)
    beat.write(study.progress_path(task.id))


def test_the_order_is_the_same_for_every_study_of_the_same_nets() -> None:
    tasks = tasks_on(["b", "imagenet", "a"], 40)
    rule = stopping_rule(tasks.values(), Goal("verdict", 0.2), 16, 30)
    assert (rule.reference, rule.targets, rule.goal) == ("imagenet", ("b", "a"), "verdict=0.2")
    assert sorted(rule.order) == sorted(f"anynetx-500/{net}" for net in range(40)) and list(rule.order) != sorted(
        rule.order
    )
    assert rule.looks == looks(30, 16)
    assert rule.candidates == hashlib.sha256("".join(sorted(tasks)).encode()).hexdigest()
    other = stopping_rule(reversed(tasks_on(["x", "y"], 40, 2).values()), Goal("width", 0.3), 8, None)
    assert (other.reference, other.targets, other.order) == ("y", ("x",), rule.order)
    assert other.looks == looks(40, 8)
    for uneven in (tasks_on(["a"], 3), tasks_on(["a", "b"], 3) | tasks_on(["a"], 4), {}):
        with pytest.raises(UsageError, match="two or more, all with the same nets"):
            stopping_rule(uneven.values(), Goal("verdict", 0.2), 16, None)


def test_a_rule_is_frozen_once(tmp_path: Path) -> None:
    tasks = tasks_on("ab", 20)
    study = declared(tmp_path / "s", tasks)
    rule = stopping_rule(tasks.values(), Goal("verdict", 0.2), 16, None)
    rule.freeze(study, tasks)
    assert StoppingRule.read(rule_path(study)) == rule
    rule.freeze(study, tasks)
    other = stopping_rule(tasks.values(), Goal("width", 0.3), 16, 18)
    with pytest.raises(UsageError, match=r"froze the rule before the first result: goal verdict=0.2, looks \(16, 20\)"):
        other.freeze(study, tasks)
    with pytest.raises(UsageError, match=r"has 40 tasks that are none of this call: give the same nets"):
        rule.freeze(study, tasks_on("ab", 20, epochs=3))
    halving = halving_rule(tasks_on("a", 8).values(), 1)
    with pytest.raises(UsageError, match="was launched with --until"):
        halving.freeze(study, tasks)


def test_a_target_gets_the_nets_of_its_next_look_and_the_reference_the_most(tmp_path: Path) -> None:
    tasks = tasks_on(["imagenet", "same", "noise"], 40)
    study = declared(tmp_path / "s", tasks)
    rule = stopping_rule(tasks.values(), Goal("verdict", 0.0), 16, None)
    assert rule.looks[:2] == (16, 24)
    first = rule.wave(study, tasks)
    assert len(first.tasks) == 48 and not first.settled and first.reached == 0
    assert first.facts == {"nets": dict.fromkeys(("imagenet", "same", "noise"), 16), "of": 40}
    assert {task.architecture for task in first.tasks.values()} == set(rule.order[:16])
    place = {net: 100 + 10 * i for i, net in enumerate(rule.order)}
    noise = dict(zip(rule.order, np.random.default_rng(1).permutation(40) * 7 + 200, strict=True))
    for dataset, errors in (("imagenet", place), ("same", place), ("noise", noise)):
        finish(study, tasks, {net: int(errors[net]) for net in rule.order[:16]}, dataset)
    found = progress(study, rule)
    assert found.standings["same"].verdict == "transfers" and found.standings["same"].settled
    assert found.needs == {"imagenet": 24, "same": 16, "noise": 24} and not found.settled
    second = rule.wave(study, tasks)
    assert second.tasks == wanted(rule, found.needs, tasks) and len(second.tasks) == 24 + 16 + 24
    assert second.reached == 48
    rows = {row["target"]: row for row in standings_table(rule, found).frame.to_dicts()}
    assert (rows["same"]["nets"], rows["same"]["settled"], rows["same"]["why"]) == (16, True, "verdict")
    assert (rows["noise"]["nets"], rows["noise"]["verdict"], rows["noise"]["settled"]) == (16, "open", False)
    low, high = found.standings["noise"].interval
    assert (rows["noise"]["rho_low"], rows["noise"]["rho_high"]) == (low, high)
    assert rows["noise"]["rho"] == found.standings["noise"].estimate.rho


def test_nets_that_failed_have_a_result_and_no_value(tmp_path: Path) -> None:
    tasks = tasks_on("ab", 8, seeds=2)
    study = declared(tmp_path / "s", tasks)
    rule = stopping_rule(tasks.values(), Goal("width", 1.9), 8, None)
    place = {net: 100 + i for i, net in enumerate(rule.order)}
    for dataset in "ab":
        finish(study, tasks, place, dataset)
    failed = next(task for task in tasks.values() if task.dataset == "b" and task.seed == 0)
    make_result(failed, None, status="failed").write(study.result_path(failed.id))
    assert progress(study, rule).standings["b"].estimate.n == 8  # by its other seed
    other = next(
        task
        for i, task in tasks.items()
        if task.architecture == failed.architecture and task.dataset == "b" and task.seed
    )
    make_result(other, None, status="diverged").write(study.result_path(other.id))
    found = progress(study, rule).standings["b"]
    assert (found.estimate.n, found.look, found.reason) == (7, 8, "narrow enough")
    study.result_path(other.id).unlink()
    assert progress(study, rule).standings["b"] is None
    assert standings_table(rule, progress(study, rule)).frame.to_dicts() == [
        {"target": "b", "nets": 0, "rho": None, "rho_low": None, "rho_high": None, "verdict": "open"}
        | {"settled": False, "why": "no look yet"}
    ]


@given(
    st.floats(-0.98, 0.98), st.sampled_from([8, 20, 64]), st.sampled_from(["verdict", "width"]), st.floats(0.01, 0.9)
)
@settings(max_examples=40)
def test_a_standing_is_what_its_interval_says(rho: float, n: int, kind: str, value: float) -> None:
    schedule = looks(max(n, 17))
    now = Estimate(rho, float(np.sqrt((1 + rho**2 / 2) / (n - 3))), n)
    edges = boundaries(schedule, schedule[-1])
    for at, look in enumerate(schedule):
        found = judge(now, Goal(kind, value), schedule, at)
        assert found.look == look and found.estimate == now
        assert found.interval == interval_at(now, edges[at] if kind == "verdict" else 1.959963984540054)
        low, high = found.interval
        apart = low > 0.5 or high < 0 or (low > 0 and high < 0.5)
        assert apart == (found.verdict != "open")
        if kind == "width":
            assert (found.reason == "narrow enough") == (high - low <= value)
        else:
            gives_up = chance_of_verdict(now, edges[-1], schedule[-1]) < value
            assert found.reason.startswith("chance of") == (not apart and gives_up)
        assert found.settled == bool(found.reason) and (found.settled or at < len(schedule) - 1)


def test_a_halving_goes_on_with_the_better_half_rung_by_rung(tmp_path: Path) -> None:
    tasks = tasks_on("a", 6, seeds=2)
    study = declared(tmp_path / "s", tasks)
    rule = halving_rule(tasks.values(), 1)
    assert (rule.rungs, rule.epochs, rule.goal, best_of(rule.goal)) == ((1, 2), 4, "best=1", 1)
    assert rule.outlook() == {"halving": "best=1", "rungs_after_epochs": [1, 2]}
    rule.freeze(study, tasks)
    first = rule.wave(study, tasks)
    assert (first.tasks, first.pause, first.reached, first.settled) == (tasks, 1, 0, False)
    for task in tasks.values():
        net = int(task.architecture.rpartition("/")[2])
        pause(study, task, 1, 0.5 - 0.1 * net / 6 + (0.2 if task.seed else 0.0))
    second = rule.wave(study, tasks)
    (path,) = second.decided
    rung = second.decided[path]
    assert path == study.path / "rungs" / "1.json" and rung.after == 1
    assert rung.kept == {"a": ("anynetx-500/5", "anynetx-500/4", "anynetx-500/3")}
    assert rung.errors["a"]["anynetx-500/0"] == pytest.approx(0.6)
    assert (second.pause, second.reached, len(second.tasks)) == (2, 12, 6)
    row = second.standing.frame.to_dicts()[0]
    assert (row["rank"], row["epoch"], row["nets_left"]) == (1, 2, 3) and "rung 2 of 3" in second.standing.note
    path.parent.mkdir()
    rung.write(path)
    finish(study, tasks, {"anynetx-500/3": 100, "anynetx-500/4": 300, "anynetx-500/5": 200}, "a")
    last = rule.wave(study, tasks)
    assert last.settled and last.pause is None and not last.tasks
    assert last.standing.frame["architecture"].to_list() == ["anynetx-500/3"]
    assert last.standing.frame["error"].to_list() == [0.1]
    assert last.decided[study.path / "rungs" / "2.json"].kept == {"a": ("anynetx-500/3", "anynetx-500/5")}


def test_a_net_that_failed_is_out_of_a_halving(tmp_path: Path) -> None:
    tasks = tasks_on("a", 4)
    study = declared(tmp_path / "s", tasks)
    finish(study, tasks, {f"anynetx-500/{net}": 100 + net for net in range(4)}, "a")
    best = next(iter(tasks.values()))
    make_result(best, 1, status="diverged").write(study.result_path(best.id))
    rung = halving_rule(tasks.values(), 1).wave(study, tasks).decided[study.path / "rungs" / "1.json"]
    assert rung.kept == {"a": ("anynetx-500/1", "anynetx-500/2")} and "anynetx-500/0" not in rung.errors["a"]


def test_a_halving_is_frozen_once(tmp_path: Path) -> None:
    tasks = tasks_on("ab", 6)
    study = declared(tmp_path / "s", tasks)
    rule = halving_rule(tasks.values(), 2)
    rule.freeze(study, tasks)
    rule.freeze(study, tasks)
    with pytest.raises(UsageError, match="froze another halving"):
        halving_rule(tasks.values(), 1).freeze(study, tasks)
    with pytest.raises(UsageError, match="has 6 tasks that are none of this call"):
        rule.freeze(study, tasks_on("a", 6))
    with pytest.raises(UsageError, match=f"was launched with --halving: {BIASED}"):
        stopping_rule(tasks.values(), Goal("verdict", 0.2), 4, None).freeze(study, tasks)
    with pytest.raises(UsageError, match=r"the recipes have \[3, 4\]; halve each dataset by itself"):
        halving_rule((tasks_on("a", 6) | tasks_on("b", 6, epochs=3)).values(), 2)
    with pytest.raises(UsageError, match="--halving 6: 6 nets of 4 epochs leave nothing to halve"):
        halving_rule(tasks.values(), 6)
    assert best_of("verdict=0.2") == best_of("all") == 0


def test_rungs_are_those_of_a_worked_example() -> None:
    seven = halving_rule(tasks_on("a", 8, epochs=7).values(), 2)
    assert seven.rungs == (1, 3)
    assert rungs(range(1, 17), 100, 1) == [1, 2, 4, 8]
    assert rungs([3, 5, 7, 20], 100, 1) == [5, 7]
    assert rungs(range(1, 17), 5, 2) == [4, 8]
    assert survivors({"b": 0.1, "a": 0.1, "c": 0.0}, 4, 1) == ("c", "a")
    assert survivors({"b": 0.1, "a": 0.1, "c": 0.0}, 3, 1, keep=3) == ("c",)


def test_the_rest_is_done_when_every_task_has_a_result(tmp_path: Path) -> None:
    tasks = tasks_on("ab", 2)
    study = declared(tmp_path / "s", tasks)
    finish(study, tasks, {"anynetx-500/0": 5, "anynetx-500/1": 5}, "a")
    found = Rest().wave(study, tasks)
    assert (found.tasks, found.settled, found.reached) == (tasks, False, 2)
    assert found.standing.frame.to_dicts() == [{"tasks": 4, "with_result": 2}]
    finish(study, tasks, {"anynetx-500/0": 5, "anynetx-500/1": 5}, "b")
    assert Rest().wave(study, tasks).settled and Rest().outlook() == {} and Rest().goal == "all"


def test_a_request_is_read_as_it_was_written_and_by_nobody_elses_hand(tmp_path: Path) -> None:
    request = WaveRequest(LaunchRequest(array="0-7", seeds="0-2", retry=("failed",)), "width=0.3", 8, 40, 2.5)
    path = tmp_path / "r.json"
    request.write(path)
    assert WaveRequest.read(path) == request
    assert WaveRequest.read(path) != replace(request, max_hours=None)
    path.chmod(0o666)
    with pytest.raises(ToolkitError, match="can be written by others, so it is not followed: launch again"):
        WaveRequest.read(path)


def test_a_table_of_nets_says_what_is_missing_and_what_it_costs() -> None:
    pilot = Estimate(0.3, float(np.sqrt(1.045 / 37)), 40)
    given = [assumed(0.9), Assumption("t", 0.3, float(np.sqrt(1.045)), pilot), Assumption("u", 0.5, 1.0, pilot)]
    first, second, third = nets_table(given, 0.2, 0.8, ClassDraws(), {"t": 2.0}).frame.to_dicts()
    assert first["pilot"] is None and first["verdict"] is None and first["width_hours"] is None
    assert first["in_words"] == f"{first['verdict_nets']} nets would settle it"
    assert second["pilot"] == 40 and second["verdict"] == "open" and second["seeds"] == 1
    more = second["verdict_nets"] - 40
    assert second["in_words"] == f"{more} more nets ({2 * more:,.1f} hours) would settle it"
    assert (second["width_hours"], second["verdict_hours"]) == (2 * second["width_nets"], 2 * second["verdict_nets"])
    assert third["in_words"] == "no number of nets settles it: rho is too near to a threshold"
    noisy = Assumption("t", 0.45, 1.05, pilot, 0.3)
    (row,) = nets_table([noisy], 0.2, 0.8, ClassDraws(), {}).frame.to_dicts()
    cheapest = min(range(1, 6), key=lambda times: times * (nets(noisy, times) or 10**9))
    assert (row["seeds"], row["verdict_nets"]) == (cheapest, nets(noisy, cheapest)) and cheapest > 1
    assert row["in_words"] == f"{row['verdict_nets']:,} nets of {cheapest} times the seeds would settle it"


def nets(given: Assumption, times: int) -> int | None:
    (row,) = nets_table(
        [replace(given.with_seeds(times), reliability=None)], 0.2, 0.8, ClassDraws(), {}
    ).frame.to_dicts()
    return row["verdict_nets"]


def test_widths_shrink_with_the_nets_and_hours_grow() -> None:
    rows = width_curves([assumed(0.4), assumed(0.6)], ClassDraws(), {"rho 0.6": 3.0})
    assert len({row["target"] for row in rows}) == 2 and (rows[0]["nets"], rows[-1]["nets"]) == (8, 2000)
    for row, after in pairwise(rows):
        assert row["hours"] == row["nets"] * (3.0 if row["target"] == "rho 0.6" else 1.0)
        assert row["target"] != after["target"] or row["width"] > after["width"]


def test_only_nets_with_the_same_epochs_make_a_curve(tmp_path: Path) -> None:
    results = [make_result(make_task(f"anynetx-500/{i}", "a", epochs=3), 100 + i) for i in range(6)]
    odd = make_result(make_task("anynetx-500/9", "a", epochs=2), 50)
    failed = make_result(make_task("anynetx-500/8", "a", epochs=3), 10, status="diverged")
    (curve,) = curves(write_study(tmp_path / "s", [*results, failed, odd]))
    assert curve.errors.shape == (6, 3) and curve.dataset == "a"
    assert sorted(curve.errors[:, -1]) == pytest.approx([0.1 + i / 1000 for i in range(6)])
    assert list(curve.seconds) == sorted(curve.seconds) and curve.epochs == [1, 2, 3]
    with pytest.raises(UsageError, match="no dataset has 5 finished nets with two evaluations or more"):
        curves(write_study(tmp_path / "few", results[:4]))


def of_table(folder: Path, frame: pl.DataFrame) -> Measurements:
    frame.write_csv(folder / "t.csv")
    return table_measurements([folder / "t.csv"], Reading(quantity="error"))


def test_a_replay_saves_what_its_stops_leave_untrained(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(48)
    frame = pl.DataFrame({"architecture": [f"n{i}" for i in range(48)], "ref": 50 + x})
    frame = frame.with_columns(same=pl.Series(50 + x), noise=pl.Series(50 + rng.standard_normal(48)))
    data = of_table(tmp_path, frame)
    found = replays(data, roles(data, Settings(reference="ref")), 4, 0, 1)
    assert (found.targets, found.schedule, found.full[0].rho) == (
        ["same", "noise"],
        looks(48),
        pytest.approx(1, abs=1e-3),
    )
    assert len(found.reordered) == len(found.drawn) == 4
    assert all(replay[k][-1].rho == pytest.approx(found.full[k].rho) for replay in found.reordered for k in (0, 1))
    assert any(replay[1][-1].rho != pytest.approx(found.full[1].rho) for replay in found.drawn)
    hours = {"ref": 1.0, "same": 2.0, "noise": 3.0}
    rows, total = outcome(found, Goal("verdict", 0.0), hours, "ref")
    same, noise = rows
    assert (same["target"], same["full_verdict"], same["same"], same["false"]) == ("same", "transfers", 1.0, 0.0)
    assert same["nets"] < 48 and same["fewer"] == 48 / same["nets"]
    for row in rows:
        assert row["same"] + row["false"] + row["overstated"] + row["withheld"] == pytest.approx(1)
    assert total["nets"] == same["nets"] + noise["nets"] and total["fewer"] == 96 / total["nets"]
    assert total["same"] == (same["same"] + noise["same"]) / 2
    assert max(same["nets"], noise["nets"]) <= total["reference_nets"] <= 48
    assert total["hours"] == total["reference_nets"] + 2 * same["nets"] + 3 * noise["nets"]
    assert total["hours_in_full"] == 6 * 48 and total["fewer_hours"] == 288 / total["hours"]
    assert total["fewer_with_reference"] == 144 / (total["nets"] + total["reference_nets"])
    assert "hours" not in outcome(found, Goal("verdict", 0.0), {"ref": 1.0}, "ref")[1]
    targets, every, cost = replay_tables(found, [Goal("verdict", 0.0), Goal("width", 0.5)], hours, "ref")
    assert targets.frame["target"].to_list() == ["same", "noise"] and targets.frame["nets"].to_list() == [
        same["nets"],
        noise["nets"],
    ]
    assert every.frame["goal"].to_list() == cost.frame["goal"].to_list() == ["verdict=0", "width=0.5"]
    assert every.frame["nets"][0] == total["nets"] and cost.frame["hours"][0] == total["hours"]
    assert "fewer" not in cost.frame.columns and "hours" not in every.frame.columns
    small = of_table(tmp_path, frame.head(31))
    with pytest.raises(UsageError, match="31 nets have all values on 2 targets; a replay needs 32"):
        replays(small, roles(small, Settings(reference="ref")), 1, 0, 1)


def test_nets_of_one_family_count_as_less_in_a_pilot(tmp_path: Path) -> None:
    """Four near-copies of nine nets: their families' spread is a pilot's error, not that of 36 nets by themselves."""
    rng, rows = np.random.default_rng(1), []
    for name in ("resnet", "vgg", "vit_", "swin_", "densenet", "regnet", "convnext_", "mobilenetv", "efficientnetv"):
        x, y = rng.multivariate_normal([70, 80], [[25, 15], [15, 25]])
        rows += [{"model": f"{name}{i}", "ref": x + i / 50, "t": y + rng.normal() / 50} for i in range(4)]
    alone = of_table(tmp_path, pl.DataFrame(rows))
    together = with_families(alone, None)
    given = Settings(reference="ref")
    (by_nets,), (by_families,) = (pilot_assumptions(data, roles(data, given), given) for data in (alone, together))
    assert by_nets.rho == by_families.rho and by_nets.pilot and by_families.pilot
    assert by_families.pilot.z_error > 1.3 * by_nets.pilot.z_error
