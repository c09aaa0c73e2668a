"""What a launch is asked for, as its options say it; light, so that building one imports nothing else."""

from dataclasses import dataclass
from typing import Literal

from toolkit.ways import Way

ExecutorName = Literal["slurm", "local", "debug"]
Retry = Literal["failed", "lost", "diverged", "all", "nodes"]
"""Tasks in these states; or nodes on which elements ended early."""


POPULATION = "anynetx-500"
"""What ``--array`` counts where no population is named."""


@dataclass(frozen=True)
class LaunchRequest:
    """Which tasks, and how to run them. What is None is as in the study's launch before, else a default."""

    study: str = "study"
    """Name of a folder under runs/, or a path."""
    array: str | None = None
    """Members of the population, such as ``0-499``."""
    population: str = POPULATION
    """What ``array`` counts; another one without ``array`` is meant as a whole."""
    models: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    data: str | None = None
    """Data root."""
    seeds: str | None = None
    """Such as ``0-2``."""
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    """Fields of the recipe, each as ``FIELD=VALUE``."""
    init_from: str | None = None
    """Dataset whose trained nets the tasks start from."""
    executor: ExecutorName | None = None
    jobs: int | None = None
    """Local workers."""
    per_job: int | None = None
    """Tasks of one array element or worker."""
    pack: int | None = None
    """Tasks side by side; 0: as many as measuring suggests."""
    ways: tuple[Way, ...] | None = None
    """What a GPU does other than PyTorch's own."""
    profile: str | None = None
    """File of the cluster profile."""
    image: str | None = None
    on_oom: str | None = None
    """``FACTORxTIMES`` by which memory rises for what ended for want of it."""
    on_timeout: str | None = None
    """The same of the time limit."""
    rates: str | None = None
    """Folder of a run of `toolkit.bench gpu`, by which GPU hours are estimated."""
    max_gpu_hours: float | None = None
    """GPU hours of the whole study."""
    retry: tuple[Retry, ...] = ()

    @property
    def names_nets(self) -> bool:
        """Whether nets are named; else the launch is about those that the study has declared."""
        return bool(self.array or self.models or self.population != POPULATION)
