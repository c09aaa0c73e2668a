import os
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.executors.conftest import environment, verb
from toolkit.launch import main
from toolkit.study import Study

LIGHT = ("launch", "status", "logs", "doctor", "report", "plan")
HEAVY = ("torch", "torchvision", "timm", "ffcv", "cv2", "numba", "scipy", "matplotlib", "pyarrow", "submitit")
"""What takes a quarter of a second and more to import."""
SPY = "import atexit, runpy, sys; atexit.register(lambda: print(*sys.modules)); sys.argv = ['x', {}]; "
SPY += "runpy.run_module({!r}, run_name='__main__', alter_sys=True)"


def loaded(tmp_path: Path, module: str, *argv: str) -> set[str]:
    """The modules that a call has imported by its end."""
    code = SPY.format(", ".join(map(repr, argv)), module)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", [f"toolkit.{verb}" for verb in LIGHT])
def test_help_is_light(name: str, tmp_path: Path) -> None:
    assert not loaded(tmp_path, name, "--help") & {*HEAVY, "polars", "pydantic", "numpy", "rich"}


@pytest.mark.parametrize("verb", ["anynet", "bench", "train"])
def test_the_other_verbs_help_is_without_torch(verb: str, tmp_path: Path) -> None:
    assert not loaded(tmp_path, f"toolkit.{verb}", "--help") & {*HEAVY, "polars"}


@pytest.mark.parametrize("source", ["imagefolder", "parquet", "imagenot", "subset", "verify"])
def test_a_sources_help_is_without_codecs(source: str, tmp_path: Path) -> None:
    assert not loaded(tmp_path, f"data_prep.{source}", "--help") & {*HEAVY, "PIL"}


def test_a_study_is_looked_at_without_what_trains_and_draws_it(tmp_path: Path) -> None:
    Study.create(tmp_path / "runs" / "demo")
    for argv in (("status", "demo"), ("status", "demo", "--json"), ("launch", "--study", "demo", "--cancel")):
        assert not loaded(tmp_path, f"toolkit.{argv[0]}", *argv[1:]) & {*HEAVY, "polars"}


def refuse(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one line a user reads after this call; nothing may be left behind."""
    done = verb("toolkit.launch", *argv)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr and "usage:" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--array", "0-500"], "index 500 is out of range, the last one is 499"),
        (["--array", "7-3"], "runs backwards"),
        (["--models", "torchvision/resnet51"], "did you mean torchvision/resnet50"),
        (["--array", "0", "--population", "anynet-500"], "did you mean anynetx-500"),
        (["--array", "0", "--dataset", "tinny"], "did you mean tiny"),
        (["--array", "0", "--recipe", "smok"], "did you mean smoke"),
        (["--array", "0", "--set", "epoch=3"], "did you mean epochs"),
        (["--array", "0", "--set", "epochs=none"], "epochs"),
        (["--array", "0", "--executor", "slurn"], "invalid choice: 'slurn'"),
        (["--array", "0", "--profile", "no.toml"], "cannot be read"),
        (["--array", "0", "--jobs", "0"], "no positive number"),
        ([], "has declared nothing"),
        (["--recipe", "quick"], "give one"),
        (["--published", "tuggener2022", "--dry-run"], "leave --dataset out"),
        (["--published", "tuggener"], "give --dry-run"),
        (["--published", "tuggener", "--dry-run"], "did you mean tuggener2022"),
        (["--array", "0", "--set", "batch=65"], "batch of 65 is larger than"),
    ],
)
def test_a_wrong_call_is_one_line(
    options: list[str], says: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    defaults = [] if "--dataset" in options else ["--dataset", "tiny"]
    executor = [] if "--executor" in options else ["--executor", "local"]
    assert says in refuse(capsys, "--study", study, "--data", data, *defaults, *executor, *options)
    assert not study.exists()


def test_two_names_of_one_dataset_are_told_and_lose_no_task(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, study = tmp_path / "data", tmp_path / "study"
    for name in ("tiny", "twin"):
        shutil.copytree(data / "tiny", root / name)
    call = ["--array", 0, "--recipe", "smoke", "--executor", "debug", "--data", root, "--study", study]
    assert "tiny and twin hold the same images" in refuse(capsys, *call, "--dataset", "tiny", "twin")
    assert verb("toolkit.launch", *call, "--dataset", "tiny").returncode == 0
    again = verb("toolkit.launch", *call, "--dataset", "twin")
    assert "0 to run" in again.stderr and "by its content twin is tiny" in again.stderr


def test_a_truncated_file_is_named_before_anything_is_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "data" / "tiny"
    shutil.copytree(data / "tiny", copy)
    with (copy / "train.beton").open("r+b") as file:
        file.truncate(1000)
    call = ["--array", "0", "--executor", "local", "--data", tmp_path / "data", "--study", tmp_path / "study"]
    assert "train.beton has 1000 bytes" in refuse(capsys, *call, "--dataset", "tiny")
    (copy / "dataset.json").unlink()
    assert "has no dataset.json" in refuse(capsys, *call, "--dataset", "tiny")
    assert not (tmp_path / "study").exists()


def test_a_folder_that_cannot_be_written_is_status_1(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = verb("toolkit.launch", "--array", 0, "--dataset", "tiny", "--data", data, "--study", tmp_path / "file" / "s")
    assert done.returncode == 1
    assert "cannot be made" in done.stderr


@pytest.mark.parametrize(
    "profile, words",
    [
        ("time_min = 5\ngrace_s = 600", "grace_s 600 is not below time_min 5"),
        ("cpus =", "is no TOML"),
    ],
)
def test_a_bad_profile_is_named_before_anything_is_written(
    data: Path, tmp_path: Path, profile: str, words: str
) -> None:
    path, study = tmp_path / "p.toml", tmp_path / "study"
    path.write_text(profile)
    call = ["--array", 0, "--dataset", "tiny", "--data", data, "--profile", path, "--study", study]
    done = verb("toolkit.launch", *call, "--executor", "local")
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
    assert not study.exists()


def test_profile_help_lists_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    from toolkit.cluster.profile import Profile

    assert main(["--profile-help"]) == 0
    text = capsys.readouterr().out
    assert all(key in text for key in Profile.model_fields)


def test_a_dry_run_writes_nothing_and_prints_one_document(data: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    call = [
        "--array",
        "0-7,12",
        "--models",
        "timm/mobilenetv3_small_050",
        "--seeds",
        "0-1",
        "--dry-run",
        "--json",
        "--executor",
        "local",
    ]
    done = verb("toolkit.launch", *call, "--study", study, "--data", data, "--dataset", "tiny", "other", "--per-job", 4)
    document = orjson.loads(done.stdout)
    assert document["tasks"] == document["to_run"] == 10 * 2 * 2
    assert document["elements"] == 4 * 3
    assert not study.exists()


def test_a_published_study_is_costed_without_its_datasets(tmp_path: Path) -> None:
    call = ["--published", "tuggener2022", "--dry-run", "--json", "--data", tmp_path]
    document = orjson.loads(verb("toolkit.launch", *call).stdout)
    assert (document["tasks"], len(document["datasets"])) == (500 * 13, 13)
    assert document["datasets"]["cifar10"]["images"] == 500 * 30 * 50_000
    imagenet = document["datasets"]["imagenet"]
    passes = 500 * 10 * (3 * 1_300_000 + 50_000)
    assert 360e6 <= imagenet["flops"] / passes <= 400e6  # what the population is sampled for
    assert document["hours"] > imagenet["hours"] > 0 and "measured" in document["hours_on"]
    few = orjson.loads(verb("toolkit.launch", *call, "--array", "0-4", "--set", "epochs=1").stdout)
    assert few["tasks"] == 65 and few["datasets"]["cifar10"]["images"] == 5 * 50_000


def test_the_default_executor_is_said(data: Path, tmp_path: Path) -> None:
    here = "slurm" if shutil.which("sbatch", path=os.environ["PATH"]) else "local"
    call = ["--array", "0", "--dataset", "tiny", "--study", tmp_path / "s", "--data", data, "--dry-run"]
    assert f"executor {here}" in verb("toolkit.launch", *call).stderr


def test_a_study_remembers_how_it_was_launched(data: Path, tmp_path: Path) -> None:
    study, profile = tmp_path / "study", tmp_path / "p.toml"
    profile.write_text("cpus = 2\n")
    what = ["--study", study, "--dataset", "tiny", "--recipe", "smoke", "--executor", "local", "--json"]
    first = verb("toolkit.launch", *what, "--array", "0-1", "--data", data, "--per-job", 2, "--profile", profile)
    assert first.returncode in (0, 1), first.stderr
    profile.write_text("cpus = 3\n")
    again = verb("toolkit.launch", *what, "--array", "0-5", "--dry-run")
    assert (orjson.loads(again.stdout)["elements"], orjson.loads(again.stdout)["per_element"]) == (2, 2)
    assert f"data {data}" in again.stderr and "per_job 2" in again.stderr
    assert "cpus 2 -> 3" in again.stderr
    (study / "launch.json").chmod(0o666)  # another user's shell lines could stand in it
    others = verb("toolkit.launch", *what, "--array", "0-5", "--dry-run", "--data", data)
    assert orjson.loads(others.stdout)["per_element"] == 1
    assert "so it is not used" in others.stderr


@pytest.mark.parametrize(("given", "handed_on"), [("0,1", None), ("", "")])
def test_a_jobs_own_gpus_are_not_handed_on_but_the_wish_for_the_cpu_is(
    given: str, handed_on: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.cluster.queue import slurm_environment

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert slurm_environment().get("CUDA_VISIBLE_DEVICES") == handed_on
