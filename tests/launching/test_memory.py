"""A launch says what is as before, and takes nothing over from a file that others may write."""

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.cluster.profile import Profile, load_profile
from toolkit.launching.memory import LaunchMemory, recalled, recalled_profile
from toolkit.launching.request import LaunchRequest
from toolkit.study import Study
from toolkit.ways import WAYS

maybe = st.none() | st.integers(0, 9)
words = st.sampled_from([None, "a", "b.sif"])


ways = st.none() | st.lists(st.sampled_from(list(WAYS)), unique=True).map(tuple)
options = st.fixed_dictionaries({"image": words, "per_job": maybe, "pack": maybe, "ways": ways, "data": words})


@given(options, options)
def test_what_a_launch_gives_holds_and_the_rest_is_as_before(now: dict[str, Any], before: dict[str, Any]) -> None:
    memory = LaunchMemory(**before)
    found = recalled(LaunchRequest(**now), memory)
    held = {key: before[key] if value is None else value for key, value in now.items()}
    assert {key: getattr(found, key) for key in held} == held
    after = memory.after(found, Profile(), Path("/somewhere"))
    assert after == LaunchMemory(**{**held, "data": "/somewhere"})


def test_what_is_taken_over_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    recalled(LaunchRequest(per_job=3), LaunchMemory(per_job=2, pack=4, image="x.sif"))
    assert caplog.messages == ["as in the launch before: image x.sif, pack 4"]
    caplog.clear()
    recalled(LaunchRequest(), LaunchMemory(ways=("cuda-graphs", "fused-norm")))
    assert caplog.messages == ["as in the launch before: ways cuda-graphs fused-norm"]
    caplog.clear()
    recalled(LaunchRequest(pack=1), LaunchMemory(pack=4))
    assert caplog.messages == []


def test_a_memory_is_read_as_it_was_kept_unless_others_may_write_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    study = Study.create(tmp_path / "study")
    assert LaunchMemory.of(study) == LaunchMemory()
    memory = LaunchMemory(data="/d", per_job=2, profile="/p.toml", profile_keys={"cpus": 3})
    memory.keep(study)
    assert LaunchMemory.of(study) == memory and caplog.messages == []
    (study.path / "launch.json").chmod(0o666)
    assert LaunchMemory.of(study) == LaunchMemory()
    (said,) = caplog.messages
    assert said.startswith(f"note: {study.path / 'launch.json'} can be written by others, so it is not used")


def test_a_profile_is_remembered_by_what_stood_in_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "p.toml"
    path.write_text("cpus = 3\n")
    path.chmod(0o600)
    request = LaunchRequest(profile=str(path))
    assert recalled_profile(request, LaunchMemory()) == load_profile(str(path)) == Profile(cpus=3)
    memory = LaunchMemory().after(request, Profile(cpus=3), tmp_path)
    assert (memory.profile, memory.profile_keys) == (str(path), {"cpus": 3})
    assert caplog.messages == []
    assert recalled_profile(LaunchRequest(), LaunchMemory()) == Profile()
    assert recalled_profile(LaunchRequest(), memory) == Profile(cpus=3)
    assert caplog.messages.pop() == f"profile as in the launch before: {path}"
    path.write_text("cpus = 5\n")
    assert recalled_profile(LaunchRequest(), memory) == Profile(cpus=3)
    assert caplog.messages.pop().endswith(f"{path} (the file says cpus 3 -> 5 now: --profile {path} takes that)")
    assert recalled_profile(request, memory) == Profile(cpus=5)
    path.unlink()
    assert recalled_profile(LaunchRequest(), memory) == Profile(cpus=3)
    assert f"{path} (" in caplog.messages.pop()
