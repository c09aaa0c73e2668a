"""Launching is reconciliation: declared minus done, minus what somebody holds, is what is run or submitted."""

import logging
import os
import shutil
import socket
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.cluster import brake
from toolkit.cluster.accounting import submit_limit
from toolkit.cluster.container import ENGINES, HOST, Container, check, contain
from toolkit.cluster.profile import Profile
from toolkit.cluster.queue import job_ids, left_out, queue_of, read_queue, scancel, slurm_here
from toolkit.errors import ToolkitError, UsageError
from toolkit.executors.base import Elements, Executor
from toolkit.executors.debug import DebugExecutor
from toolkit.executors.gpus import gpus
from toolkit.executors.local import Display, LocalExecutor, default_jobs
from toolkit.executors.slurm import SlurmExecutor, try_nodes_again
from toolkit.files import of_another, uncollected
from toolkit.launching.cost import Size, estimate, size_of
from toolkit.launching.gpu_rates import hours_on_a_gpu
from toolkit.launching.memory import LaunchMemory, recalled, recalled_profile
from toolkit.launching.pretrained import keep_weights
from toolkit.launching.priorities import Budget
from toolkit.launching.request import LaunchRequest
from toolkit.launching.rises import RiseRules
from toolkit.launching.selection import select
from toolkit.launching.tasks import element_size, make_elements
from toolkit.launching.work import Work, find_work
from toolkit.study import Study, Task, data_root, find_dataset
from toolkit.study.conditions import conditions
from toolkit.study.declared import DeclaredTasks, Label
from toolkit.study.states import UNFINISHED, Queue, State, TaskState, task_states
from toolkit.study.study import study_path
from toolkit.study.submission import (
    NONE_YET,
    ExecutorName,
    Manner,
    Rises,
    Submission,
    end_launcher,
    launch_lock,
    launcher_lives,
    record_path,
    submissions,
)
from toolkit.ways import check_ways

log = logging.getLogger(__name__)
RETRIES: Mapping[str, frozenset[State]] = {
    "failed": frozenset({"failed", "damaged"}),
    "diverged": frozenset({"diverged"}),
    "lost": frozenset({"lost"}),  # runs again without being asked, too
    "all": frozenset({"failed", "damaged", "diverged", "lost"}),
    "nodes": frozenset(),
}


SMALL, FAR_LARGER = 64, 4
"""Pixels of a crop for a first look, and how many times as large an image is far larger than it: our choice."""


@dataclass(frozen=True)
class Plan:
    """A launch whose every setting was checked."""

    study: Study
    tasks: Mapping[str, Task]
    """What this call is about, by id."""
    executor: ExecutorName
    profile: Profile
    data: Path
    per_job: int | None
    manner: Manner
    jobs: int
    container: Container
    wanted: frozenset[State]
    """States whose tasks are run."""
    texts: Mapping[str, str]
    """Sources and populations of the user's own that the tasks name."""
    weights: str | None
    """What published weights the tasks start from, see `keep_weights`."""
    memory: LaunchMemory
    """What the study's next launch is to know of this one."""
    rules: RiseRules
    budget: Budget | None
    rates: str | None = None
    """Folder of measured rates, by which a preview counts GPU hours."""
    nodes_again: bool = False
    """Whether nodes that were left out are tried again."""

    def to_run(self, states: Mapping[str, TaskState]) -> dict[str, Task]:
        """The tasks in a wanted state that no executor holds; all of them in a study that is not there yet."""
        return {
            task_id: self.tasks[task_id]
            for task_id in self.tasks
            if task_id not in states or (states[task_id].state in self.wanted and not states[task_id].held)
        }

    def elements(self, tasks: Mapping[str, Task]) -> list[tuple[str, ...]]:
        """What one array element or worker takes at a time."""
        return make_elements(tasks, self.per_job, self.manner.pack, self.gpus)

    @property
    def gpus(self) -> int:
        """GPUs of an element; a worker here has one at most."""
        return max(1, self.profile.gpu_count) if self.executor == "slurm" else 1

    def backend(self, display: Display, rises: Rises = NONE_YET) -> Executor:
        """The executor of tasks that have had these rises of memory and time; ``display`` shows a local run."""
        if self.executor == "slurm":
            profile = self.rules.raised(self.profile, rises)
            return SlurmExecutor(self.study, profile, self.data, self.manner, self.container, rises)
        if self.executor == "debug":
            return DebugExecutor(self.study, self.data, self.manner)
        return LocalExecutor(self.study, self.data, self.manner, self.jobs, display, self.container, self.profile.image)


def make_plan(request: LaunchRequest) -> Plan:
    """Check a launch's options, writing nothing. Raises `UsageError` for whatever is wrong with them."""
    study = Study(study_path(request.study))
    if study.path.exists() and (whose := of_another(study.path)):
        log.info("note: study %s %s: who can write there decides what its tasks are", study.path, whose)
    memory = LaunchMemory.of(study)
    request = recalled(request, memory)
    profile = recalled_profile(request, memory)
    data = data_root(request.data).absolute()
    memory = memory.after(request, profile, data)
    if request.image is not None:
        profile = profile.model_copy(update={"image": request.image or None})
    tasks, texts, weights = select(request, study, data)
    if not isinstance(tasks, DeclaredTasks):
        _tell_of_small_crops(tasks.values(), data)
    executor = _executor(request.executor)
    manner = Manner(1 if request.pack is None else request.pack, request.ways or ())
    if manner.ways:
        check_ways(manner.ways, _gpus(profile, executor))
    if "nodes" in request.retry and executor != "slurm":
        raise UsageError("--retry nodes: nodes are left out by Slurm alone; this launch does not use it")
    return Plan(
        study=study,
        tasks=tasks,
        executor=executor,
        profile=profile,
        data=data,
        per_job=request.per_job,
        manner=manner,
        jobs=(request.jobs or default_jobs()) if executor == "local" else 1,
        container=_container(profile, executor, study, data),
        wanted=UNFINISHED.union(*(RETRIES[kind] for kind in request.retry)),
        texts=texts,
        weights=weights,
        memory=memory,
        rules=RiseRules.parse(request.on_oom, request.on_timeout, profile),
        budget=_budget(request, profile, executor, manner.pack),
        rates=request.rates,
        nodes_again="nodes" in request.retry,
    )


def _gpus(profile: Profile, executor: ExecutorName) -> int:
    """GPUs of an element, or of this machine."""
    return profile.gpu_count if executor == "slurm" else len(gpus())


def _budget(request: LaunchRequest, profile: Profile, executor: ExecutorName, pack: int) -> Budget | None:
    """Raises `UsageError` where no GPU is asked for, or none is here."""
    if request.max_gpu_hours is None:
        return None
    if not (count := _gpus(profile, executor)):
        raise UsageError("--max-gpu-hours: these tasks get no GPU (gpus or gres in the profile asks for them)")
    return Budget(
        request.max_gpu_hours, profile, element_size(request.per_job, pack, count if executor == "slurm" else 1)
    )


def preview(plan: Plan) -> dict[str, Any]:
    """What `carry_out` would do, with the sbatch script of the first array."""
    known = plan.study.labels() if plan.study.room("tasks").is_dir() else {}
    work = _work(plan, _states(plan, known), known)
    stages, elements = work.stages, plan.elements(work.stages.first) + plan.elements(work.stages.second)
    _tell_of_idle_gpus(plan, elements)
    arrays = plan.backend(no_display).describe(elements)
    waiting = {"waiting": f"{len(stages.second)} tasks, for what they start from"} if stages.second else {}
    trained = {"trained_by": "; ".join(conditions(work.tasks.values()))} if work.tasks else {}
    return {**_summary(plan, elements), **trained, **waiting, **_cost(plan, work.tasks), **arrays}


def no_display(_study: Study, _tasks: int) -> Any:
    """For a launch that runs nothing here."""
    raise UsageError("this launch has no display for a local run")


def carry_out(plan: Plan, display: Display) -> dict[str, Any]:
    """Declare, submit, and for an executor on this machine run to the end; returns the summary.

    Two launchers on one study do not submit a task twice: states are read and submissions recorded under a lock.
    """
    Study.create(plan.study.path)
    with launch_lock(plan.study), uncollected():
        if plan.nodes_again:
            try_nodes_again(plan.study, plan.profile)
        known, fresh = plan.study.labels(), () if isinstance(plan.tasks, DeclaredTasks) else plan.tasks.values()
        states = _states(plan, known)
        _tell_of_braked(plan.study, states)
        work = _work(plan, states, known)
        tasks = work.tasks
        plan.study.keep(plan.texts)
        if plan.weights:
            keep_weights(plan.study, list(tasks.values()), plan.weights, plan.texts)
        for name, stands in plan.study.declare(fresh, known).items():
            log.info(
                "note: by its content %s is %s, under which name this study has its tasks and results", name, stands
            )
        plan.memory.keep(plan.study)
        with _set_aside(plan.study, tasks):
            submitted = _submit(plan, display, work)
    taken = sum(len(submission.tasks) for submission in submitted)
    log.info("study %s: %d tasks, %d to run", plan.study.path, len(plan.tasks), taken)
    beyond = len(tasks) - taken
    if beyond:
        log.info("%d tasks exceed submit_limit %s: a small job launches them later", beyond, _limit(plan.profile))
    try:
        for submission in submitted:
            plan.backend(display).run(submission)
    except KeyboardInterrupt:
        raise Interrupted(_progress_made(plan, tasks)) from None
    document = _outcome(plan, submitted, _states(plan, known) if submitted else states)
    looks = plan.executor == "slurm" and submitted and (plan.rules or plan.profile.notify or work.beyond_budget)
    return document | {"beyond_limit": beyond, "follows": bool(beyond or looks)}


class Interrupted(KeyboardInterrupt):
    """A local run was ended by Ctrl-C, SIGTERM or a closed terminal; the message counts what is done."""


def _progress_made(plan: Plan, tasks: Mapping[str, Task]) -> str:
    done = len(tasks.keys() & plan.study.finished())
    return f"interrupted: {done} done, {len(tasks) - done} go on with the same command"


def cancel(path: str) -> dict[str, Any]:
    """Take a study's jobs out of the queue and end its local runs; running tasks save what they have.

    Raises `ToolkitError` that says what could not be ended, when the rest was.
    """
    study, ended, refused = Study.open(path), list[Submission](), list[str]()
    with launch_lock(study):
        queue = queue_of(study) or {}
        for submission in submissions(study):
            try:
                ended += [submission] if not submission.cancelled and _cancel(study, submission, queue) else []
            except ToolkitError as error:
                refused.append(str(error))
    if refused:
        others = f"; cancelled: {', '.join(s.job or s.name for s in ended)}" if ended else ""
        raise ToolkitError("; ".join(dict.fromkeys(refused)) + others)
    return {"study": str(study.path), "cancelled": [s.name for s in ended], "jobs": [s.job for s in ended if s.job]}


def _cancel(study: Study, submission: Submission, queue: Queue) -> bool:
    """End one submission; False when there was nothing to end."""
    if submission.executor == "slurm":
        if submission.name not in queue:
            return False
        scancel(study, submission)
    elif not launcher_lives(study, submission):
        return False
    elif submission.host != socket.gethostname():
        raise ToolkitError(f"{submission.name} was launched on {submission.host}: end process {submission.pid} there")
    else:
        end_launcher(study, submission)
    submission.model_copy(update={"cancelled": True}).write(record_path(study, submission))
    return True


def _executor(name: ExecutorName | None) -> ExecutorName:
    if name is None:
        name, why = ("slurm", "sbatch is here") if slurm_here() else ("local", "no sbatch here")
        log.info("executor %s (%s; --executor chooses)", name, why)
    if name == "slurm" and not slurm_here():
        raise UsageError("--executor slurm: no sbatch here; work on a login node of the cluster, or --executor local")
    if name == "slurm" and (job := os.environ.get("SLURM_JOB_ID")):
        log.info("note: launched inside job %s; its %d variables stay out of what is submitted", job, len(left_out()))
    return name


def _container(profile: Profile, executor: ExecutorName, study: Study, data: Path) -> Container:
    """The image's command line, after Python was seen to start in it."""
    if profile.image is None:
        return HOST
    if executor == "debug":
        raise UsageError(
            f"--executor debug trains in this process, not in image {profile.image}: --executor local, or --image ''"
        )
    if executor == "slurm" and profile.image.startswith(ENGINES):
        raise UsageError(f"image {profile.image}: Slurm runs Apptainer images (.sif); build one from containers/")
    gpu = bool(gpus()) if executor == "local" else profile.asks_for_gpus
    for difference in check(contain(profile.image, [data], profile, gpu=False), profile.image):
        log.info("note: %s", difference)
    return contain(profile.image, [data, study.path], profile, gpu)


def _states(plan: Plan, known: Iterable[str]) -> dict[str, TaskState]:
    """The states of the ``known`` tasks and of those that this call is about, of which some may not be declared yet.

    A result counts whoever declared its task, and a result of what nobody declared any more: nothing is done twice.
    """
    there = plan.study.room("tasks").is_dir()
    return (
        task_states(plan.study, queue_of(plan.study, lately=True), dict.fromkeys((*known, *plan.tasks)))
        if there
        else {}
    )


def _work(plan: Plan, states: Mapping[str, TaskState], declared: Mapping[str, Label]) -> Work:
    """The tasks to run; those whose start is still to be trained come second."""
    slurm = [s.name for s in submissions(plan.study) if s.executor == plan.executor == "slurm"]
    return find_work(plan.study, plan.to_run(states), states, declared, slurm, plan.rules, plan.budget)


@contextmanager
def _set_aside(study: Study, tasks: Mapping[str, Task]) -> Iterator[None]:
    """Move results that are tried again out of the way (kept among the logs); their checkpoints start over.

    Where handing over breaks off, those come back of which no record stands. Where it is not known whether they were
    submitted (sbatch got no answer) the record stands, and the job must find no result.
    """
    before, moved = {submission.name for submission in submissions(study)}, dict[Path, Path]()
    for task_id in tasks:
        if (result := study.result_path(task_id)).exists():
            moved[result] = study.room("logs") / f"{task_id}.{result.stat().st_mtime_ns}.superseded.json"
            shutil.move(result, moved[result])  # logs/ may lie on another file system
    try:
        yield
    except BaseException:
        recorded = {i for submission in submissions(study) if submission.name not in before for i in submission.tasks}
        for result, kept in moved.items():
            if result.stem not in recorded:
                shutil.move(kept, result)
        raise
    for result in moved:
        shutil.rmtree(study.checkpoint_folder(result.stem), ignore_errors=True)


def _submit(plan: Plan, display: Display, work: Work) -> list[Submission]:
    """Hand over what the user's limit leaves room for, ``second`` to start when its starts have been trained."""

    def hand_over(elements: Elements, after: Sequence[str] = ()) -> list[Submission]:
        groups = work.by_rises(elements)
        return [s for rises, group in groups for s in plan.backend(display, rises).submit(group, after)]

    first, second = plan.elements(work.stages.first), plan.elements(work.stages.second)
    _tell_of_idle_gpus(plan, first + second)
    room = _room(plan.profile) if plan.executor == "slurm" and first + second else None
    if room is not None and 1 < room < len(first + second):
        room -= 1  # for the job that launches the rest
    submitted = hand_over(first[:room])
    if second := second[: room and room - len(first[:room])]:
        after = _awaited(plan, submitted, work.stages.after)
        if after:
            log.info("%d tasks wait for what they start from: jobs %s", sum(map(len, second)), ", ".join(after))
        submitted += hand_over(second, after)
    return submitted


def _tell_of_idle_gpus(plan: Plan, elements: Sequence[Sequence[str]]) -> None:
    few = [len(element) for element in elements if len(element) < plan.gpus]
    if few:
        log.info(
            "note: %d of %d elements have fewer tasks (%d) than GPUs (%d), and the other GPUs nothing to do: "
            "a larger --per-job, or fewer gpus in the profile",
            len(few),
            len(elements),
            min(few),
            plan.gpus,
        )


def _tell_of_braked(study: Study, states: Mapping[str, TaskState]) -> None:
    """An array whose last node was left out waits for ever: Slurm has no node that it may use."""
    waiting = sum(state.held and "BadConstraints" in state.reason for state in states.values())
    if waiting and (nodes := brake.described(study.path / brake.FOLDER)):
        log.info(
            "note: %d tasks wait in the queue and no node is left for them: %s; mend what the logs say, then launch "
            "with --retry nodes",
            waiting,
            nodes,
        )


def _awaited(plan: Plan, submitted: Sequence[Submission], sources: Collection[str]) -> list[str]:
    """Ids of the jobs that train what later ones start from."""
    earlier = [submission for submission in submissions(plan.study) if submission.name in sources]
    return [*(submission.job for submission in submitted if submission.job), *(job_ids(earlier) if earlier else [])]


def _room(profile: Profile) -> int | None:
    """Array elements that the user's limit leaves; None: no limit is known."""
    limit = _limit(profile)
    if limit is None:
        return None
    queued = sum(map(len, read_queue().values()))
    if queued >= limit:
        raise ToolkitError(f"{queued} jobs are in the queue, submit_limit is {limit}: launch again later")
    return limit - queued


def _limit(profile: Profile) -> int | None:
    return submit_limit() if profile.submit_limit is None else profile.submit_limit


def _summary(plan: Plan, elements: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {
        "study": str(plan.study.path),
        "executor": plan.executor,
        "tasks": len(plan.tasks),
        "to_run": sum(map(len, elements)),
        "elements": len(elements),
        "per_element": max(map(len, elements), default=0),
        **({"jobs": plan.jobs} if plan.executor == "local" else {}),
    }


def _tell_of_small_crops(tasks: Iterable[Task], data: Path) -> None:
    """A recipe for a first look sees little of a large picture."""
    for (dataset, name), recipe in {(task.dataset, task.recipe_name): task.recipe for task in tasks}.items():
        longest = max(find_dataset(dataset, data).manifest.image_size)
        if recipe.resolution <= SMALL and longest >= FAR_LARGER * recipe.resolution:
            log.info(
                "note: recipe %s trains on %d pixels, images of %s have up to %d: --set resolution=%d shows more",
                name,
                recipe.resolution,
                dataset,
                longest,
                4 * recipe.resolution,
            )


def _cost(plan: Plan, tasks: Mapping[str, Task]) -> dict[str, Any]:
    """What the tasks will take: training images, multiply-adds, and hours by a measured rate."""

    def find(name: str) -> Size:
        return size_of(find_dataset(name, plan.data).manifest)

    cost = estimate(list(tasks.values()), find, plan.texts)
    uncounted = (
        {"uncounted": f"{cost.uncounted} tasks of nets that only building would count: not in these hours"}
        if cost.uncounted
        else {}
    )
    return {
        "images": cost.images,
        "flops": cost.flops,
        "hours": round(cost.hours, 3),
        "hours_on": f"{cost.device} ({cost.basis})",
        **uncounted,
        **(hours_on_a_gpu(list(tasks.values()), find, plan.rates) if plan.rates else {}),
    }


def _outcome(plan: Plan, submitted: Sequence[Submission], states: Mapping[str, TaskState]) -> dict[str, Any]:
    run_here = [task_id for submission in submitted if plan.executor != "slurm" for task_id in submission.tasks]
    return {
        **_summary(plan, [element for submission in submitted for element in submission.elements]),
        "states": dict(Counter(states[task_id].state for task_id in plan.tasks)),
        "jobs": [submission.job for submission in submitted if submission.job],
        # A net that diverges is a finding; a run has failed when a task came to no finding at all.
        "failed_here": sum(states[task_id].state not in ("done", "diverged", "paused") for task_id in run_here),
    }
