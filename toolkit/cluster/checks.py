"""The checks of `toolkit.doctor`: each says what it found and, where something is wrong, what to do."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.cluster.accounting import submit_limit
from toolkit.cluster.container import HOST, Container, check, contain
from toolkit.cluster.kernels import Kernels, try_kernels
from toolkit.cluster.profile import GPU_OPTIONS, Profile
from toolkit.cluster.queue import config, slurm, slurm_environment
from toolkit.errors import ToolkitError
from toolkit.study.dataset import MANIFEST


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    part: str
    good: bool
    text: str
    """What was found; when it is not good, also what to do."""

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def examine(profile: Profile, data: Path, wait_s: float) -> Iterator[Finding]:
    """All checks, the cheap ones first; a job is tried only when all that it needs is good.

    ``wait_s``: how long the job may wait for a node, seconds; 0: no job.
    """
    findings = [*_slurm(profile), *_folders(profile, data), *_image(profile, data)]
    yield from findings
    yield gpu_finding(try_kernels())
    if wait_s and all(finding.good for finding in findings):
        container = contain(profile.image, [data], profile, gpu=profile.asks_for_gpus) if profile.image else HOST
        yield from _job(profile, container, data, wait_s)


def _slurm(profile: Profile) -> Iterator[Finding]:
    missing = [name for name in ("sbatch", "squeue", "srun", "scancel", "scontrol") if not shutil.which(name)]
    if missing:
        yield Finding("slurm", False, f"{', '.join(missing)} not found: work on a login node, or load Slurm's module")
        return
    try:
        limits = config("MaxArraySize", "MaxJobCount", "SLURM_VERSION")
        preemption = config("PreemptMode", "SlurmctldParameters")
        partitions = slurm("sinfo", "--noheader", "--format=%R").split()
    except ToolkitError as error:
        yield Finding("slurm", False, f"{error}: is the controller up, and SLURM_CONF right?")
        return
    shown = ", ".join(f"{key} {value}" for key, value in limits.items())
    yield Finding("slurm", int(limits.get("MaxArraySize", 0)) > 0, f"{shown}; longer arrays are split")
    if (limit := submit_limit()) is not None:
        asked, advice = profile.submit_limit or limit, f"{limit} of your jobs may be in the queue"
        yield Finding("limit", asked <= limit, advice + ("" if asked <= limit else f", the profile says {asked}"))
    if profile.image and "REQUEUE" in preemption.get("PreemptMode", ""):
        yield Finding("preemption", True, _warned(preemption.get("SlurmctldParameters", "")))
    if profile.partition:
        unknown = [name for name in profile.partition.split(",") if name not in partitions]
        advice = f"{', '.join(unknown)} is none of {', '.join(partitions)}: change the profile"
        yield Finding("partition", not unknown, advice if unknown else profile.partition)


def _warned(parameters: str) -> str:
    if "preempt_send_user_signal" in parameters:
        return "a preempted task is warned by URG, and saves itself"
    wish = "SlurmctldParameters=preempt_send_user_signal would let it save itself"
    return f"SIGTERM may end what serves a mounted image: a task goes on from its last checkpoint; {wish}"


def _folders(profile: Profile, data: Path) -> Iterator[Finding]:
    names = sorted(path.parent.name for path in data.glob(f"*/{MANIFEST}"))
    found = f"{len(names)} datasets in {data}: {', '.join(names[:8])}"
    yield Finding("data", bool(names), found if names else f"no dataset in {data}: give --data or set TOOLKIT_DATA")
    for bind in profile.binds:
        source = Path(bind.split(":")[0])
        yield Finding(
            "bind", source.exists(), f"{source}" + ("" if source.exists() else " is not there: change the profile")
        )


def _image(profile: Profile, data: Path) -> Iterator[Finding]:
    if profile.image is None:
        return
    try:
        differences = check(contain(profile.image, [data], profile, gpu=False), profile.image)
    except ToolkitError as error:
        yield Finding("image", False, str(error))
    else:
        yield Finding("image", True, f"{profile.image} starts" + "".join(f"; {text}" for text in differences))


def _job(profile: Profile, container: Container, data: Path, wait_s: float) -> Iterator[Finding]:
    """One short job on a node, as a task would be run, and what it saw."""
    python = [*container.prefix, "python"] if container.prefix else [profile.python or sys.executable]
    command = ["srun", "--quiet", *_options(profile), *python, "-m", "toolkit.cluster.node_check", str(data)]
    try:
        done = subprocess.run(
            command,
            env={**slurm_environment(), **container.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=wait_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield Finding("job", False, f"no node within {wait_s:.0f} s: give a longer --wait, or another partition")
        return
    if done.returncode:
        yield Finding("job", False, f"it failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}")
        return
    yield from _seen(json.loads(done.stdout.splitlines()[-1]), data, profile.asks_for_gpus)


def _seen(seen: Mapping[str, Any], data: Path, gpu_asked: bool) -> Iterator[Finding]:
    """What `toolkit.cluster.node_check` told."""
    host, count, trouble = seen["host"], len(seen["datasets"]), seen["round_trip"]
    yield Finding("job", True, f"ran on {host} with {seen['cores']} cores, GPUs: {seen['gpus'] or 'none'}")
    yield Finding("data on node", count > 0, f"{count} datasets in {data}, seen from {host}")
    yield gpu_finding(Kernels(**seen["kernels"]), gpu_asked, "GPU on node")
    yield Finding("training", not trouble, trouble or "wrote a dataset, read it by FFCV and trained on it")


def gpu_finding(found: Kernels, asked: bool = False, part: str = "GPU") -> Finding:
    """``asked``: whether a GPU must be there."""
    if found.trouble:
        return Finding(part, False, "; ".join(found.trouble))
    if found.right:
        return Finding(part, True, f"a product equals the CPU's on {', '.join(found.right)}")
    if asked:
        return Finding(part, False, "the profile asks for a GPU, and the node shows none: see gpus, gres, constraint")
    return Finding(part, True, "none was promised here, or no PyTorch to ask: nothing was tried")


def _options(profile: Profile) -> list[str]:
    """The profile as options of srun."""
    wanted = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "gres": profile.gres,
        "gpus-per-node": profile.gpus or None,
        "cpus-per-task": profile.cpus,
        "ntasks": 1,
        "time": 5,
        "job-name": "toolkit-doctor",
        **{key: value for key, value in profile.sbatch.items() if key in (*GPU_OPTIONS, "gres", "tres-per-task")},
    }
    return [f"--{key}={value}" for key, value in wanted.items() if value is not None]
