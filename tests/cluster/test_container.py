"""Images: the command before ``python`` word by word, and what an image answers."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import real_part
from toolkit.cluster.container import CODE, HOST, Container, check, contain, folders, host
from toolkit.cluster.image_file import variables
from toolkit.cluster.profile import Profile
from toolkit.cluster.versions import compare, main, versions
from toolkit.errors import ToolkitError, UsageError

StandsIn = Callable[[str, str], Path]


def mounts(*paths: Path) -> list[str]:
    return [f"--mount=type=bind,source={path.resolve()},destination={path}" for path in paths]


def test_apptainers_command_word_by_word(tmp_path: Path) -> None:
    image, link, data = tmp_path / "real.sif", tmp_path / "x.sif", tmp_path / "data"
    image.write_bytes(b"an image")
    link.symlink_to(image)
    data.mkdir()
    profile = Profile(apptainer="singularity", image_options=("--userns",), binds=("/scratch", "/a:/b:ro"))
    words = ["--userns", "--bind=/scratch", "--bind=/a:/b:ro", *mounts(data, CODE, image), str(image)]
    container = contain(str(link), [data], profile, gpu=True)
    assert list(container.prefix) == ["singularity", "--silent", "exec", "--nv", *words]
    assert list(contain(str(link), [data], profile, gpu=False).prefix) == ["singularity", "--silent", "exec", *words]
    told = {"PYTHONPATH": str(CODE), "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", **variables(image)}
    assert container.environment == {f"APPTAINERENV_{name}": value for name, value in told.items()}
    with pytest.raises(UsageError, match=r"image no\.sif is not there: build it \(containers/build\.sh\), or name"):
        contain("no.sif", [data], profile, gpu=False)


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_an_engines_command_word_by_word(engine: str, tmp_path: Path, stands_in: StandsIn) -> None:
    calls = stands_in(engine, "echo sha256:abc")
    profile = Profile(image_options=("--shm-size=1g",), binds=("/scratch:/s",))
    container = contain(f"{engine}:toolkit:1", [tmp_path], profile, gpu=False)
    keep = ["--userns=keep-id"] if engine == "podman" and os.getuid() else []
    inside = ["PYTHONPATH", "PYTHONSAFEPATH", "PYTHONNOUSERSITE", "TOOLKIT_IMAGE_DIGEST"]
    assert list(container.prefix) == [
        *(engine, "run", "--rm", "--interactive", "--pid=host", "--uts=host", "--ipc=host", *keep),
        *(f"--user={os.getuid()}:{os.getgid()}", "--shm-size=1g", "--volume=/scratch:/s", *mounts(tmp_path, CODE)),
        *(f"--env={name}" for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", *inside)),
        "sha256:abc",
    ]
    assert sorted(container.environment) == sorted(inside)
    assert calls.read_text() == "image inspect --format={{.Id}} toolkit:1\n"
    stands_in(engine, "echo 'no such thing' >&2; exit 1")
    with pytest.raises(UsageError, match=rf"--image {engine}:toolkit:1: no such image \(no such thing\)"):
        contain(f"{engine}:toolkit:1", [tmp_path], profile, gpu=False)


def test_an_engine_that_is_not_here_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="--image docker:x: no docker here"):
        contain("docker:x", [tmp_path], Profile(), gpu=False)


def test_links_that_would_cover_the_image_or_a_folder_above_are_not_bound(tmp_path: Path) -> None:
    data, real = tmp_path / "data", tmp_path / "real"
    for folder in (data, real):
        folder.mkdir()
    for name, target in {"all": Path("/"), "above": tmp_path, "own": Path("/usr/lib"), "set": real}.items():
        (data / name).symlink_to(target)
    (data / "gone").symlink_to(tmp_path / "nowhere")
    (data / "file").write_text("")
    assert list(folders([data])) == [data, CODE, real]
    assert list(folders([data / "file"])) == [data / "file", CODE]


def test_links_of_another_user_are_bound_in_that_users_folder_alone(tmp_path: Path) -> None:
    if os.getuid():
        real_part("another user", "run as root")
    data, real = tmp_path / "data", tmp_path / "real"
    for folder in (data, real):
        folder.mkdir()
    (data / "set").symlink_to(real)
    os.lchown(data / "set", 12345, 12345)
    assert list(folders([data])) == [data, CODE]
    os.chown(data, 12345, 12345)
    assert list(folders([data])) == [data, CODE, real]


def test_on_the_host_our_code_comes_before_what_a_site_has_on_its_path() -> None:
    assert host() == HOST == Container((), {"PYTHONPATH": str(CODE), "PYTHONSAFEPATH": "1"})
    copied = HOST.with_code(Path("/copy"))
    assert copied.environment == {"PYTHONPATH": "/copy", "PYTHONSAFEPATH": "1"}
    assert copied.variables({"PYTHONPATH": "/site", "X": "1"}) == {
        "PYTHONPATH": f"/copy{os.pathsep}/site", "PYTHONSAFEPATH": "1", "X": "1",
    }  # fmt: skip
    assert copied.variables({}) == copied.environment
    image = Container(("run",), {"PYTHONPATH": "/own"}).with_code(Path("/copy"))
    assert image.environment == {"PYTHONPATH": "/own", "APPTAINERENV_PYTHONPATH": "/copy"}
    assert image.variables({"PYTHONPATH": "/site"})["PYTHONPATH"] == "/own"


def test_an_image_is_asked_for_its_versions(stands_in: StandsIn, tmp_path: Path) -> None:
    other = {**versions(("ffcv",)), "numpy": "0.1", "ffcv": "1.0.2"}
    calls = stands_in("runs", f"echo a banner; echo '{json.dumps(other)}'; test \"$MINE\" = 1")
    container = Container(("runs", "it"), {"MINE": "1"})
    assert check(container, "x.sif", ["ffcv"]) == [f"numpy is 0.1 in the image, {versions()['numpy']} here"]
    assert calls.read_text() == "it python -m toolkit.cluster.versions ffcv\n"
    stands_in("runs", "echo 'no squashfuse' >&2; exit 3")
    with pytest.raises(ToolkitError, match=r"image x\.sif does not start Python: no squashfuse$"):
        check(container, "x.sif")
    with pytest.raises(UsageError, match=r"nothing-here does not start \(No such file or directory\): is it installed"):
        check(Container(("nothing-here",)), "x.sif")


def test_versions_are_those_that_are_installed(capsys: pytest.CaptureFixture[str]) -> None:
    found = versions(("torch", "no_such_module"))
    assert list(found) == ["python", "toolkit", "numpy", "orjson", "pydantic", "torch", "no_such_module"]
    assert found["no_such_module"] is None and all(found[name] for name in list(found)[:-1])
    assert main(["torch"]) == 0
    assert json.loads(capsys.readouterr().out) == versions(("torch",))
    assert main([]) == 0
    assert json.loads(capsys.readouterr().out) == versions()
    assert compare(found | {"python": "3.0"}, "x", ["torch"]) == [f"python is 3.0 in the image, {found['python']} here"]
    with pytest.raises(UsageError, match=r"image x lacks no_such_module: build it anew from containers/"):
        compare(found, "x", ["torch", "no_such_module"])
