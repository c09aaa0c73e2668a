"""Terminal views of a study's states: the table of `toolkit.status`, and the live lines of a local run."""

import contextlib
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from toolkit.launching.efficiency import Efficiency
from toolkit.launching.snapshot import StudySnapshot
from toolkit.render.escape import terminal
from toolkit.study import Study
from toolkit.study import progress as heartbeat
from toolkit.study.declared import Label, several_seeds
from toolkit.study.logs import last_words
from toolkit.study.outcomes import read_outcome
from toolkit.study.states import STATES, State
from toolkit.visible import visible_lines

REFRESH_S = 2.0
LOG_TAIL = 3  # lines
NODES_SHOWN = 8
STYLES: Mapping[State, str] = {
    "done": "green",
    "failed": "red",
    "diverged": "yellow",
    "damaged": "red",
    "running": "cyan",
    "finishing": "cyan",
    "preempted": "yellow",
    "lost": "red",
}


def watch(look: StudySnapshot) -> None:
    """Redraw until nothing is in flight; Ctrl-C only ends the watching."""
    view = Live(overview(look), console=Console(stderr=True), auto_refresh=False, transient=True)
    with view as live, contextlib.suppress(KeyboardInterrupt):
        while look.in_flight:
            time.sleep(REFRESH_S)
            look = look.again()
            live.update(overview(look), refresh=True)


def print_states(look: StudySnapshot, failed: bool) -> None:
    """Print the states; below them the reasons of what ``failed``, or where to read them."""
    console = Console()
    console.print(overview(look))
    if failed or look.trouble():
        console.print(failures(look) if failed else hint(look), soft_wrap=True)  # commands are to be copied


def overview(look: StudySnapshot) -> Group:
    """Datasets by states, the running tasks, and which nets stand where."""
    parts: list[RenderableType] = [_state_table(look)]
    running = _running_table(look)
    if running.row_count:
        parts.append(running)
    if (left := look.seconds_left()) is not None:
        parts.append(Text(f"about {duration(left)} left, at the rates seen so far"))
    parts += [Text(terminal(line), style="dim") for line in _range_lines(look)]
    parts += [
        Text(f"{count} tasks {terminal(reason)}: squeue and scontrol show job say more", style="yellow")
        for reason, count in look.stuck().items()
    ]
    if nodes := look.by_node():
        named = ", ".join(f"{count} on {node}" for node, count in list(nodes.items())[:NODES_SHOWN])
        parts.append(Text(terminal(f"failed or lost: {named}"), style="yellow"))
    if count := look.undeclared:
        said = f"{count} results of tasks that are not declared here: a launch that names them takes them over"
        parts.append(Text(said, style="yellow"))
    if look.warning:
        parts.append(Text(f"warning: {terminal(look.warning)}", style="yellow"))
    return Group(*parts)


def efficiency(found: Efficiency) -> Group:
    """What was used of what was asked, by dataset; and the profile that would have done."""
    gpu_heads = ("GPUs", "busy", "most GB", "kJ") if any(row["gpus"] for row in found.rows) else ()
    heads = ("tasks", "cores", "busy", "GB", "most", *gpu_heads)
    table = Table("dataset", *(Column(head, justify="right") for head in heads))
    for row in found.rows:
        energy = None if row["gpu_joules"] is None else row["gpu_joules"] / 1000
        cells = [str(row["tasks"]), str(row["cpus"]), _percent(row["cpu_use"])]
        cells += map(_amount, (row["memory_gb"], row["memory_most_gb"]))
        gpu = [str(row["gpus"]), _percent(row["gpu_use"]), _amount(row["gpu_memory_most_gb"]), _amount(energy)]
        table.add_row(Text(terminal(row["dataset"])), *cells, *(gpu if gpu_heads else []))
    lines = [Text(f"{found.silent} results do not tell what they used", style="dim")] if found.silent else []
    proposed = [Text("a profile that would have done:", style="dim"), *map(Text, found.proposal)]
    return Group(table, *lines, *(proposed if found.proposal else []))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _amount(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def hint(look: StudySnapshot) -> Text:
    """Where to read why tasks failed, diverged or got lost."""
    return Text(f"reasons: python -m toolkit.status {_quoted(look)} --failed", style="dim")


def failures(look: StudySnapshot) -> Group:
    """Tasks that failed, diverged or got lost, with the reason; the commands that go further."""
    lines = [line for task_id in look.trouble() for line in _failure(look, task_id)]
    if not lines:
        return Group(Text("nothing failed"))
    where = _quoted(look)
    return Group(
        *lines,
        Text(f"the log of one: python -m toolkit.logs {where} TASK", style="dim"),
        Text(f"run them again: python -m toolkit.launch --study {where}{_retry(look)}", style="dim"),
    )


def _quoted(look: StudySnapshot) -> str:
    return visible_lines(shlex.quote(str(look.study.path)))


def _retry(look: StudySnapshot) -> str:
    """The option that asks for what needs to be asked for; lost tasks run again without it."""
    states = {state.state for state in look.trouble().values()}
    kinds = [kind for kind, of in {"failed": {"failed", "damaged"}, "diverged": {"diverged"}}.items() if states & of]
    return f" --retry {' '.join(kinds)}" if kinds else ""


def _failure(look: StudySnapshot, task_id: str) -> list[Text]:
    """Who, what and why; for a task that could not say why itself, also the end of its log."""
    task, state = look.tasks[task_id], look.states[task_id]
    named = task.named(several_seeds(look.tasks.values()))
    head = Text.assemble(task_id, " ", _styled(state.state), " ", terminal(named))
    log = last_words(look.study, task_id)[-LOG_TAIL:] if state.state == "lost" else []
    tail = (Text(f"    {visible_lines(line)}", style="dim") for line in log)
    return [head, Text(f"    {terminal(state.reason)}"), *tail]


def _state_table(look: StudySnapshot) -> Table:
    cells = Counter((task.column, look.states[task_id].state) for task_id, task in look.tasks.items())
    counts = {column: Counter[State]() for column, _ in cells}
    for (column, state), tasks in cells.items():
        counts[column][state] = tasks
    total = sum(counts.values(), Counter[State]())
    shown = [state for state in STATES if total[state]]
    table = Table("dataset", *(Column(name, justify="right") for name in ("tasks", *shown)))
    for column, count in counts.items():
        table.add_row(Text(terminal(column)), str(count.total()), *(_cell(state, count[state]) for state in shown))
    if len(counts) > 1:
        table.add_section()
        table.add_row("all", str(total.total()), *(_cell(state, total[state]) for state in shown))
    return table


def _running_table(look: StudySnapshot) -> Table:
    table = Table("running", "dataset", "epoch", "images/s", "left", "error", "on")
    for task_id, state in look.states.items():
        if state.state == "running" and state.progress:
            table.add_row(*map(Text, running_cells(look.tasks[task_id], state.progress)))
    return table


def _range_lines(look: StudySnapshot) -> list[str]:
    """Where each net stands, unless everything is done."""
    said = several_seeds(look.tasks.values())
    return [
        f"{column} {state}: {group} {names}" + (f", seed {seeds}" if said else "")
        for column, state, group, names, seeds in look.ranges_by_seed(but="done")
    ]


def running_cells(task: Label, progress: heartbeat.Progress) -> list[str]:
    """The cells of a running task, for a terminal."""
    share = progress.step / progress.steps if progress.steps else 0.0
    where = progress.job or f"{progress.host}:{progress.pid}"
    return [
        terminal(task.architecture),
        terminal(task.column),
        f"{progress.epoch + share:.1f}/{progress.epochs}" if progress.phase != "starting" else "starting",
        f"{progress.images_per_s:.0f}" if progress.images_per_s else "",
        duration(progress.seconds_left),
        f"{progress.error:.1%}" if progress.error is not None else "",
        terminal(where) + (f" (restart {progress.restarts})" if progress.restarts else ""),
    ]


def duration(seconds: float | None) -> str:
    """Hours and minutes for people: ``1:05 h``, ``2:03 min``, ``40 s``; empty when unknown."""
    if seconds is None:
        return ""
    if seconds >= 3600:
        return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f} h"
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


class PoolDisplay:
    """What a local run shows on stderr: a bar with running tasks on a terminal, a line for each finished one else."""

    def __init__(self, study: Study, total: int) -> None:
        self.study = study
        self.tasks = study.labels()
        self.several_seeds = several_seeds(self.tasks.values())
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), auto_refresh=False
        )
        self.job = self.bar.add_task("tasks", total=total)
        self.finished_before = study.finished()
        self.finished = set(self.finished_before)
        self.live = Live(self.bar, console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.update([])
        with contextlib.suppress(OSError):
            self.live.stop()

    def update(self, in_flight: Sequence[str]) -> None:
        """Tell what finished since the last call, and where the tasks in flight are.

        A terminal that was closed takes nothing any more. Whether that ends the run is for SIGHUP to say, which a run
        in the background does not get.
        """
        finished = self.study.finished() & self.tasks.keys()
        with contextlib.suppress(OSError):
            for task_id in finished - self.finished:
                self.console.print(self._line(task_id), highlight=False, soft_wrap=True)
            if self.console.is_terminal:
                self.bar.update(self.job, completed=len(finished - self.finished_before))
                self.live.update(Group(self.bar, *self._running(in_flight)), refresh=True)
        self.finished = finished

    def _running(self, in_flight: Sequence[str]) -> list[Text]:
        beats = ((task_id, self.study.progress(task_id)) for task_id in in_flight if task_id not in self.finished)
        cells = (running_cells(self.tasks[task_id], beat)[:5] for task_id, beat in beats if beat)
        return [Text(f"  {net} on {data}: {epoch}  {rate} images/s  {left}") for net, data, epoch, rate, left in cells]

    def _line(self, task_id: str) -> Text:
        state, reason, *_ = read_outcome(self.study.result_path(task_id))
        task = self.tasks[task_id]
        return Text.assemble(
            (f"{state:9}", STYLES.get(state, "")),
            " ",
            terminal(f"{task.named(self.several_seeds)}{': ' if reason else ''}{reason}"),
        )


def _cell(state: State, count: int) -> Text:
    return Text(str(count) if count else "", style=STYLES.get(state, ""))


def _styled(state: State) -> Text:
    return Text(state, style=STYLES.get(state, ""))
