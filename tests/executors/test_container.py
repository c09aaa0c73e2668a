import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import orjson
import pytest

from slurm.cluster import Cluster
from tests.conftest import real_part
from tests.executors.conftest import errors, launch, status, training, verb, wait_for
from toolkit.cluster.container import CODE, HOST, check, contain, folders
from toolkit.cluster.profile import Profile
from toolkit.cluster.versions import compare, versions
from toolkit.errors import UsageError
from toolkit.study import Study


@pytest.fixture(scope="session")
def linked(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with an odd name whose dataset is a link to another file system's folder."""
    root = tmp_path_factory.mktemp('it\'s, "odd"')
    (root / "tiny").symlink_to(data / "tiny")
    return root


@pytest.mark.cluster
def test_an_array_in_the_image_gives_the_errors_of_the_host(
    cluster: Cluster, data: Path, linked: Path, image_profile: Path, tmp_path: Path
) -> None:
    what = ["--array", "0-3", "--dataset", "tiny"]
    inside, outside = tmp_path / 'it\'s, "inside"', tmp_path / "outside"
    launch(inside, linked, *what, "--executor", "slurm", "--profile", image_profile, "--per-job", 2)
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 120, "the end of the array")
    assert len(errors(inside)) == 4, status(inside)
    launch(outside, data, *what, "--executor", "local", "--jobs", 2)
    assert errors(inside) == errors(outside)
    digest = Study(inside).result(next(iter(errors(inside)))).provenance.image_digest
    assert digest is not None
    assert digest.startswith("sha256:")
    more = [
        "--array",
        "4-5",
        "--dataset",
        "tiny",
        "--recipe",
        "smoke",
        "--executor",
        "slurm",
    ]  # and no word of the rest
    again = verb("toolkit.launch", "--study", inside, *more, "--dry-run", "--json")
    document = orjson.loads(again.stdout)
    (image,) = (line for line in image_profile.read_text().splitlines() if line.startswith("image = "))
    assert image.split('"')[1] in document["script"] and "#SBATCH --time=30" in document["script"]
    assert document["elements"] == 1 and f"data {linked}" in again.stderr


@pytest.mark.cluster
def test_a_warned_task_in_the_image_saves_and_goes_on(
    cluster: Cluster, data: Path, image_profile: Path, tmp_path: Path
) -> None:
    """The signal reaches the process that serves the image's files, too: it must live until the task has saved."""
    study = tmp_path / "study"
    call = [
        "--array",
        "3",
        "--dataset",
        "tiny",
        "--set",
        "epochs=60",
        "--executor",
        "slurm",
        "--profile",
        image_profile,
    ]
    (job,) = launch(study, data, *call)["jobs"]
    wait_for(lambda: training(study), 90, "a task that trains")
    (task,) = training(study)
    cluster.slurm("scancel", "--signal=URG", f"{job}_0")
    wait_for(lambda: Study(study).result_path(task).exists(), 120, "the result of the requeued task")
    result = Study(study).result(task)
    assert len(result.evaluations) == 60
    assert result.provenance.restarts >= 1


def test_a_local_worker_runs_in_the_image(linked: Path, image_profile: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    call = ["--array", "0", "--dataset", "tiny", "--executor", "local", "--profile", image_profile]
    launch(study, linked, *call)
    (task,) = errors(study)
    assert Study(study).result(task).provenance.image_digest


def test_links_are_bound_by_their_real_paths(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "set").symlink_to(tmp_path / "real")
    (tmp_path / "root").symlink_to(tmp_path / "data")
    real = tmp_path / "real"
    assert folders([tmp_path / "root"]) == {tmp_path / "root": tmp_path / "data", CODE: CODE.resolve(), real: real}


def test_other_versions_are_told_and_another_toolkit_refused() -> None:
    here = versions()
    assert compare(here, "x.sif") == []
    assert compare({**here, "numpy": "1.0"}, "x.sif") == [f"numpy is 1.0 in the image, {here['numpy']} here"]
    with pytest.raises(UsageError, match=r"has toolkit 0\.0\.1"):
        compare({**here, "toolkit": "0.0.1"}, "x.sif")
    with pytest.raises(UsageError, match="lacks ffcv, torch"):
        compare({**here, "ffcv": None, "torch": None}, "x.sif")


def test_a_missing_image_or_runtime_is_one_line(data: Path, tmp_path: Path) -> None:
    call = ["--array", "0", "--dataset", "tiny", "--data", data, "--study", tmp_path / "s", "--executor", "local"]
    absent = verb("toolkit.launch", *call, "--image", "no.sif")
    assert absent.returncode == 2
    assert "image no.sif is not there" in absent.stderr
    (tmp_path / "bad.sif").write_bytes(b"no image")
    with pytest.raises(UsageError, match="no-such-runtime does not start"):
        check(contain(str(tmp_path / "bad.sif"), [data], Profile(apptainer="no-such-runtime"), gpu=False), "bad.sif")


def test_docker_gets_binds_user_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker itself cannot start everywhere; the command it is given can be read."""
    engine = tmp_path / "docker"
    engine.write_text("#!/bin/sh\necho sha256:abc\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    data = tmp_path / "a, b"
    data.mkdir()
    container = contain("docker:toolkit:1", [data], Profile(), gpu=True)
    command = shlex.join(container.prefix)
    assert command.startswith("docker run --rm --interactive --pid=host")
    assert f"--user={os.getuid()}:{os.getgid()} --gpus=all" in command
    assert f'--mount=type=bind,"source={data}","destination={data}"' in container.prefix
    assert "--env=TOOLKIT_IMAGE_DIGEST" in container.prefix
    assert container.environment["TOOLKIT_IMAGE_DIGEST"] == "sha256:abc"
    assert container.prefix[-1] == "sha256:abc"  # what was named, whatever gets its name later


@pytest.fixture
def podman_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image with one file in it, in a storage of its own."""
    if not shutil.which("podman"):
        real_part("podman")
    storage = tmp_path / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n')
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        tar.add(storage, "file")
    subprocess.run(["podman", "import", "--quiet", tmp_path / "image.tar", "tiny:1"], check=True, capture_output=True)
    return "podman:tiny:1"


def test_podman_takes_the_command_line_for_what_it_means(podman_image: str, tmp_path: Path) -> None:
    """Containers cannot start everywhere, but Podman makes one: it has then read every option."""
    data = tmp_path / 'it\'s, "odd"'
    data.mkdir()
    container = contain(podman_image, [data], Profile(), gpu=False)
    create = [*("create" if word == "run" else word for word in container.prefix), "python"]
    environment = {**os.environ, **container.environment}
    made = subprocess.run(create, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    name = made.stdout.strip()
    (told,) = orjson.loads(subprocess.run(["podman", "inspect", name], capture_output=True, check=True).stdout)
    assert {(mount["Source"], mount["Destination"]) for mount in told["Mounts"]} >= {(str(data), str(data))}
    assert f"TOOLKIT_IMAGE_DIGEST={container.environment['TOOLKIT_IMAGE_DIGEST']}" in told["Config"]["Env"]
    assert (told["HostConfig"]["PidMode"], told["Config"]["OpenStdin"]) == ("host", True)


def test_an_installed_toolkit_hides_no_package_of_the_image(tmp_path, monkeypatch):
    """After ``pip install .`` the host's torch lies beside the toolkit: the image must go on with its own."""
    site = tmp_path / "site-packages"
    (site / "toolkit").mkdir(parents=True)
    monkeypatch.setattr("toolkit.cluster.container.CODE", site)
    bound = folders([tmp_path / "study"])
    assert site not in bound.values() and bound[Path("/opt/imagenot-toolkit/toolkit")] == site / "toolkit"


@pytest.mark.parametrize("module", ["orjson", "argparse"])
def test_a_module_in_the_folder_of_a_job_is_not_taken_for_a_package(tmp_path, module):
    Study.create(tmp_path / "study")
    (tmp_path / f"{module}.py").write_text("raise SystemExit('an attacker was here')")
    environment = {**os.environ, **HOST.environment}
    call = [sys.executable, "-m", "toolkit.status", "./study", "--json"]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "attacker" not in done.stdout + done.stderr
