"""Arrays: the batch script line by line, and what comes of sbatch's and sinfo's answers."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.cluster.array import JobArray, Refused, array_size, log_folder, python, time_limit
from toolkit.cluster.container import CODE, HOST, Container
from toolkit.cluster.profile import Profile, load_profile
from toolkit.cluster.queue import NoAnswer
from toolkit.errors import ToolkitError, UsageError
from toolkit.executors.slurm import SlurmExecutor
from toolkit.study import Study
from toolkit.study.submission import new_submission

ROOT = Path(__file__).parents[2]
StandsIn = Callable[[str, str], Path]


def test_the_script_line_by_line(tmp_path: Path) -> None:
    study = Study.create(tmp_path / 'it\'s "odd"')
    submission = new_submission(study, "slurm", [["a" * 16], ["b" * 16]], Path("/data")).model_copy(
        update={"name": "name"}
    )
    quoted = str(study.path).replace("'", "'\"'\"'")
    profile = Profile(partition="gpu", cpus=8, gpus=1, memory_gb=20.5, setup=("module load cuda",), max_requeues=3)
    profile = profile.model_copy(update={"sbatch": {"contiguous": True, "overcommit": False, "nice": 5}})
    assert SlurmExecutor(study, profile, Path("/data")).array(submission, throttle=1).script().splitlines() == [
        "#!/bin/bash",
        "",
        "# Parameters",
        "#SBATCH --array=0-1%1",
        "#SBATCH --contiguous",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --job-name=name",
        "#SBATCH --mem=20992M",
        "#SBATCH --nice=5",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output='{quoted}/logs/%A_%a_0_log.out'",
        "#SBATCH --partition=gpu",
        "#SBATCH --requeue",
        "#SBATCH --signal=URG@120",
        "#SBATCH --time=240",
        "",
        "# setup",
        f"nodes='{quoted}/nodes'",
        'node="$nodes/$SLURMD_NODENAME"',
        "brake() {",
        '    case $1 in 0|3|75) rm -f "$node"; return ;; esac',
        '    if [ "$1" -ge 128 ] || [ $SECONDS -gt 120 ]; then return; fi',
        '    echo "$SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID $1" >> "$node"',
        '    if [ "$(wc -l < "$node")" -lt 3 ]; then return; fi',
        '    echo "error: 3 elements ended early on $SLURMD_NODENAME: the rest of the array leaves it out" >&2',
        '    told=$(scontrol update "JobId=$SLURM_ARRAY_JOB_ID" "ExcNodeList=$(cd "$nodes" && '
        'wc -l * | awk \'$2 != "total" && $1 >= 3 {print $2}\' | paste -sd,)" 2>&1)',
        '    if [ $? -ne 0 ] && ! echo "$told" | grep -qE "No error|no longer pending|already finished"; then '
        'echo "$told" >&2; sleep 300; fi',
        "}",
        "trap 'brake $?' EXIT",
        "module load cuda",
        f"export PYTHONPATH={CODE}" + '"${PYTHONPATH:+:$PYTHONPATH}"',
        "export PYTHONSAFEPATH=1",
        "",
        "# command",
        "export SUBMITIT_EXECUTOR=slurm",
        f"srun --unbuffered --output '{quoted}/logs/%A_%a_%t_log.out' {sys.executable} -u -m toolkit.executors.element "
        f"'{quoted}/submissions/name.json'",
        "",
        "",
        "# teardown",
        "status=$?",
        'if [ $status -eq 75 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 3 ]; then',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        "exit $status",
    ]


@pytest.mark.parametrize("shipped", sorted((ROOT / "slurm" / "profiles").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_profiles_are_valid(shipped: Path, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    submission = new_submission(study, "slurm", [["a" * 16]], Path("/data"))
    executor = SlurmExecutor(study, load_profile(str(shipped)), Path("/data"))
    assert "#SBATCH" in executor.array(submission, throttle=1).script()


def an_array(folder: Path, **fields: object) -> JobArray:
    (folder / "logs").mkdir(exist_ok=True)
    of = {"profile": Profile(), "container": HOST, "name": "n", "logs": folder / "logs", "command": ["-m", "x y"]}
    return JobArray(**{**of, "size": 3, "throttle": 2, **fields})


def test_options_are_there_when_they_were_asked_for_alone(tmp_path: Path) -> None:
    plain = an_array(tmp_path).script()
    assert "--array=0-2%2" in plain and f"{sys.executable} -u -m 'x y'" in plain and "--requeue" in plain
    assert not any(word in plain for word in ("URG", "--dependency", "--mem", "--gpus", "# teardown", "scontrol"))
    asked = Profile(account="a", qos="q", constraint="c", exclude="n1", gres="gpu:1", time_min=7, python="py -I")
    full = an_array(tmp_path, profile=asked, after=("4", "5"), setup=("first",), saves=True).script()
    for line in ("account=a", "qos=q", "constraint=c", "exclude=n1", "gres=gpu:1", "time=7", "dependency=afterany:4:5"):
        assert f"#SBATCH --{line}\n" in full
    assert "#SBATCH --signal=URG@120\n" in full and "# setup\nfirst\n" in full and "py -I -u -m 'x y'" in full
    assert '"${SLURM_RESTART_COUNT:-0}" -lt 20 ]' in full


def test_in_an_image_python_is_the_images_and_its_variables_are_exported_as_they_are(tmp_path: Path) -> None:
    image = Container(("run", "an image"), {"PYTHONPATH": "/a b", "X": "1"})
    script = an_array(tmp_path, container=image, profile=Profile(python="py")).script()
    assert "run 'an image' python -u" in script and "export PYTHONPATH='/a b'\nexport X=1\n" in script
    assert python(Profile()) == sys.executable and python(Profile(python="py -I")) == "py -I"


def test_a_script_is_kept_with_the_logs_and_handed_over_in_a_folder_of_ones_own(
    tmp_path: Path, stands_in: StandsIn
) -> None:
    calls = stands_in("sbatch", f"cp \"$2\" {tmp_path}/seen; echo 'job 1 is the best'; echo '57;c'")
    array = an_array(tmp_path)
    assert array.submit() == "57"
    kept = (tmp_path / "logs" / "n.sbatch").read_text()
    assert (tmp_path / "seen").read_text() == kept == array.script()
    parsable, path = calls.read_text().split()
    assert parsable == "--parsable" and Path(path).name == "n.sbatch" and not Path(path).exists()


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        ("echo 'Invalid account' >&2; exit 1", Refused, "sbatch refused the array: Invalid account"),
        ("echo 'Socket timed out' >&2; exit 1", NoAnswer, "so array n may be queued or not"),
        ("echo 'no id here'", NoAnswer, "sbatch's answer holds no job id: 'no id here'"),
    ],
)
def test_what_sbatch_says_is_told(
    tmp_path: Path, stands_in: StandsIn, script: str, kind: type[ToolkitError], says: str
) -> None:
    stands_in("sbatch", script)
    with pytest.raises(kind, match=says):
        an_array(tmp_path).submit()


def test_a_check_asks_sbatch_and_the_partitions_limit(tmp_path: Path, stands_in: StandsIn) -> None:
    calls = stands_in("sbatch", f"cat > {tmp_path}/stdin")
    stands_in("sinfo", "echo 'gpu|2:00:00'; echo 'main*|1-00:00:00'; echo 'free|infinite'")
    array = an_array(tmp_path, profile=Profile(partition="gpu", time_min=120))
    array.check()
    assert calls.read_text() == "--test-only\n" and (tmp_path / "stdin").read_text() == array.script()
    assert not (tmp_path / "logs" / "n.sbatch").exists()
    long = Profile(partition="gpu", time_min=121)
    with pytest.raises(Refused, match="time_min 121 is over the partition's limit of 120 min: such an array waits for"):
        an_array(tmp_path, profile=long).check()
    an_array(tmp_path, profile=long.model_copy(update={"qos": "long"})).check()
    for said, kind in (("Unable to contact slurm", NoAnswer), ("Invalid qos", Refused)):
        stands_in("sbatch", f"echo '{said}' >&2; exit 1")
        with pytest.raises(kind, match=said):
            array.check()


def test_the_longest_of_the_partitions_counts(stands_in: StandsIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SBATCH_PARTITION", raising=False)
    stands_in("sinfo", "echo 'gpu|2:00:00'; echo 'main*|1-00:00:00'; echo 'free|infinite'")
    limits = [time_limit(name) for name in (None, "gpu", "main,gpu", "gpu,free", "none")]
    assert limits == [1440, 120, 1440, math.inf, math.inf]
    monkeypatch.setenv("SBATCH_PARTITION", "gpu")
    assert (time_limit(None), time_limit("main")) == (120, 1440)


def test_an_arrays_size_is_the_clusters(stands_in: StandsIn) -> None:
    for said, size in (("MaxArraySize            = 77", 77), ("MaxJobCount = 5", 1001)):
        stands_in("scontrol", f"echo '{said}'")
        assert array_size() == size
    stands_in("scontrol", "echo 'MaxArraySize = 0'")
    with pytest.raises(ToolkitError, match="takes no job arrays; use --executor local in a job"):
        array_size()


@pytest.mark.parametrize("name", ["100%", "a\nb", "a\\b"])
def test_a_folder_that_slurm_reads_as_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no %, backslash or line break"):
        log_folder(tmp_path / name)
    assert log_folder(Path("logs")) == Path.cwd() / "logs"
