"""The bar of a stage's shards, on stderr: from the first second it shows what is done inside the shards in hand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Units(ProgressColumn):
    """How many rows, captions, kB or images, and how many a second."""

    def __init__(self, unit: str, through: Callable[[], int]) -> None:
        super().__init__()
        self._unit, self._through = unit, through

    def render(self, task: Task) -> Text:
        done, seconds = self._through(), task.finished_time or task.elapsed or 0
        rate = f", {done / seconds:,.0f}/s" if seconds else ""
        return Text(f"{done:,} {self._unit}{rate}", style="progress.data.speed")


@contextmanager
def shard_bar(stage: str, shards: int, unit: str, through: Callable[[], int]) -> "Iterator[Callable[[], None]]":
    """Show a bar of so many shards; ``through`` tells the units done so far. Yields what to call after each shard."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("shards,"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, _Units(unit, through), *times, console=Console(stderr=True)) as bar:
        task = bar.add_task(stage, total=shards)
        yield lambda: bar.advance(task)
