"""Cluster profile: what a site wants to be told about a job, in one TOML file."""

import re
import tomllib
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from toolkit.errors import UsageError
from toolkit.names import unknown
from toolkit.study.model import FrozenModel, first_problem
from toolkit.texts import read_text

GPU_OPTIONS = ("gpus", "gpus-per-task", "gpus-per-node", "gpus-per-socket")
COUNT = re.compile(r"(?:^|:)(\d+)$")
"""The number in a value of `GPU_OPTIONS`: ``4``, ``a100:4``."""
GPUS = re.compile(r"gpu(?:[:/][^:=,\s]+)?[:=](\d+)(?![^,(\s])")
"""The number in a list of generic resources: ``gpu:4``, ``gpu:a100:4``, ``gres/gpu=4``."""
OWN_OPTIONS = (
    "array", "job-name", "signal", "requeue", "no-requeue", "output", "error", "open-mode", "dependency", "parsable",
    "wrap", "test-only", "wait", "export", "export-file", "nodes", "ntasks", "ntasks-per-node", "tasks-per-node",
    "ntasks-per-gpu", "clusters", "cluster",
)  # fmt: skip
"""What a launch sets itself: with another value tasks would be lost, trained several times, or have no logs."""
NAMED = {
    "partition": "partition", "account": "account", "qos": "qos", "constraint": "constraint", "exclude": "exclude",
    "time": "time_min", "mem": "memory_gb", "cpus-per-task": "cpus", "gpus-per-node": "gpus", "gres": "gres",
}  # fmt: skip
"""Options of sbatch that a key of the profile stands for."""


OneLine = Annotated[str, Field(pattern=r"^[^\n\r\x00]*$")]
"""What stands in a line of the batch script: a line break would begin one of its own."""


class Notify(FrozenModel):
    """The table ``[notify]``: who is told when nothing of a study runs or waits any more."""

    mail: OneLine | None = None
    """An address; Slurm's own mail, so no local run's."""
    command: OneLine | None = None
    """A shell line; the text is its standard input."""
    webhook: OneLine | None = None
    """An address to which a JSON document with the text goes."""

    def __bool__(self) -> bool:
        """Whether anybody is."""
        return bool(self.mail or self.command or self.webhook)


class Profile(FrozenModel):
    """The keys of a profile file. A key left out leaves the matter to the cluster's own default."""

    partition: OneLine | None = Field(None, description="partition (queue), as sinfo lists them")
    account: OneLine | None = Field(None, description="account that pays")
    qos: OneLine | None = Field(None, description="quality of service")
    constraint: OneLine | None = Field(None, description="features a node must have, such as a100|h100")
    exclude: OneLine | None = Field(None, description="nodes to avoid")
    time_min: int = Field(240, ge=1, description="time limit of one array element, minutes")
    memory_gb: float | None = Field(None, gt=0, description="memory of one array element, GB")
    cpus: int = Field(4, ge=1, description="CPU cores of one array element: loader threads and CPU training")
    gpus: int = Field(0, ge=0, le=16, description="GPUs of one array element; a process for each shares out its tasks")
    gres: OneLine | None = Field(None, description="generic resources, for sites that name GPUs so (gpu:a100:1)")
    throttle: int = Field(256, ge=1, description="array elements of one launch that run at the same time")
    submit_limit: int | None = Field(
        None,
        ge=1,
        description="jobs you may have in the queue, if not what sacctmgr says; a small job launches the rest",
    )
    grace_s: int = Field(120, ge=10, description="warning before the time limit, seconds: time to save a checkpoint")
    max_requeues: int = Field(20, ge=0, description="how often an element that saved itself is queued again")
    setup: tuple[str, ...] = Field((), description="shell lines before the tasks: module load, exports")
    python: OneLine | None = Field(None, description="Python on the nodes; default: the one that launches")
    image: str | None = Field(None, description="Apptainer image (.sif) the tasks run in; --image overrides it")
    binds: tuple[str, ...] = Field(
        (), description="what the image must see besides data, study and code: FOLDER or FOLDER:INSIDE[:ro]"
    )
    code: Literal["snapshot", "checkout"] = Field(
        "snapshot",
        description="what tasks run: a copy of the code, made at submission, or the checkout, unchanged since then",
    )
    apptainer: OneLine = Field("apptainer", description="the Apptainer (or Singularity) command on the nodes")
    image_options: tuple[str, ...] = Field((), description="further options of `apptainer exec` (or `docker run`)")
    notify: Notify = Field(
        Notify(), description="[notify] mail, command, webhook: who is told when nothing of the study runs or waits"
    )
    sbatch: dict[OneLine, OneLine | int | bool] = Field(
        {}, description="other options of sbatch, without dashes; true for one without a value"
    )

    @property
    def asks_for_gpus(self) -> bool:
        """Whether an element gets GPUs, by whichever of Slurm's options."""
        counted = any(self.sbatch.get(key) for key in GPU_OPTIONS)
        return self.gpus > 0 or counted or any(word in self._resources for word in ("gpu", "shard", "mps"))

    @property
    def gpu_count(self) -> int:
        """GPUs of an element, by whichever of Slurm's options; a part, or an unknown number, counts as one."""
        asked = [COUNT.search(str(self.sbatch.get(key, ""))) for key in GPU_OPTIONS] + [GPUS.search(self._resources)]
        return self.gpus or max((int(found[1]) for found in asked if found), default=int(self.asks_for_gpus))

    @property
    def _resources(self) -> str:
        return f"{self.gres or ''} {self.sbatch.get('gres', '')} {self.sbatch.get('tres-per-task', '')}"

    @model_validator(mode="after")
    def _has_no_option_twice(self) -> Self:
        for option in self.sbatch:
            key = option.replace("_", "-")
            if key in OWN_OPTIONS:
                raise ValueError(f"[sbatch] {option}: the launch sets it itself: leave it out")
            if key in NAMED and getattr(self, NAMED[key]) != type(self).model_fields[NAMED[key]].default:
                raise ValueError(f"[sbatch] {option} and {NAMED[key]} say the same thing: give one")
            if key.startswith("mem-per-") and self.memory_gb is not None:
                raise ValueError(f"[sbatch] {option} and memory_gb exclude each other: give one")
        return self

    @model_validator(mode="after")
    def _leaves_time_to_train(self) -> Self:
        if self.grace_s >= 60 * self.time_min:
            raise ValueError(
                f"grace_s {self.grace_s} is not below time_min {self.time_min} (minutes): no time to train"
            )
        return self


def load_profile(path: str | None) -> Profile:
    """The profile in the file ``path``; None: the defaults. Raises `UsageError` on an unknown key or bad value."""
    if path is None:
        return Profile()
    try:
        fields = tomllib.loads(read_text(path))
    except UsageError as error:
        raise UsageError(f"profile {error}; examples: slurm/profiles/") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"profile {path} is no TOML: {error}") from error
    for key in fields:
        if key not in Profile.model_fields:
            raise unknown(f"key of profile {path}", key, Profile.model_fields)
    try:
        return Profile.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"profile {path}: {first_problem(error)}") from error


def profile_help() -> str:
    """Every key with its default and meaning, as lines of text."""
    rows = [
        (name, str(field.annotation).replace("<class '", "").replace("'>", ""), field.default, field.description)
        for name, field in Profile.model_fields.items()
    ]
    lines = (f"{name:13} {about} (default: {_shown(default)})" for name, _, default, about in rows)
    return "Keys of a profile file (TOML); examples in slurm/profiles/.\n\n" + "\n".join(lines)


def _shown(default: object) -> str:
    return str(default) if default or default == 0 else "none"
