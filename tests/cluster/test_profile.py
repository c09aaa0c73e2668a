"""Profiles: what is refused, and what a key means."""

from pathlib import Path
from typing import Any

import pytest

from toolkit.cluster.profile import Notify, Profile, load_profile, profile_help
from toolkit.errors import UsageError


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ('array = "0-3"', "the launch sets it itself"),
        ('job-name = "mine"', "the launch sets it itself"),
        ('job_name = "mine"', "the launch sets it itself"),
        ("no-requeue = true", "the launch sets it itself"),
        ('signal = "USR2@60"', "the launch sets it itself"),
        ('output = "mine.log"', "the launch sets it itself"),
        ("ntasks-per-node = 4", "the launch sets it itself"),  # four would train the same task
        ('clusters = "other"', "the launch sets it itself"),  # whose queue nobody here asks
        ('mem-per-cpu = "2G"', "mem-per-cpu and memory_gb exclude each other"),
        ("cpus-per-task = 8", "cpus-per-task and cpus say the same thing"),
    ],
)
def test_options_of_sbatch_that_fight_ours_are_refused(tmp_path: Path, option: str, says: str) -> None:
    (tmp_path / "p.toml").write_text(f"cpus = 2\nmemory_gb = 4\n[sbatch]\n{option}\n")
    with pytest.raises(UsageError, match=says):
        load_profile(str(tmp_path / "p.toml"))


def test_an_option_whose_key_was_left_out_is_no_second_word(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[sbatch]\npartition = "gpu"\nmem-per-cpu = "2G"\nnice = 5\n')
    assert load_profile(str(tmp_path / "p.toml")).sbatch == {"partition": "gpu", "mem-per-cpu": "2G", "nice": 5}
    assert load_profile(None) == Profile()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time_min = 5\ngrace_s = 600", "grace_s 600 is not below time_min 5 (minutes): no time to train"),
        ("time_min = 2\ngrace_s = 120", "grace_s 120 is not below time_min 2"),
        ('cpus = "many"', "profile {}: cpus: Input should be a valid integer"),
        ("time_min = 0", "time_min: Input should be greater"),
        ("cpus =", "profile {} is no TOML: "),
        ('partiton = "gpu"', "did you mean partition"),
        (None, "; examples: slurm/profiles/"),
    ],
)
def test_a_bad_profile_is_named_with_its_key(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "p.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_profile(str(path))
    assert says.format(path) in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        ({"gpus": 1}, True), ({"gpus-per-task": 1}, True), ({"gpus-per-socket": "a100:1"}, True),
        ({"gres": "gpu:a100:1"}, True), ({"tres-per-task": "gres/gpu:1"}, True), ({"gres": "shard:2"}, True),
        ({"gpus": 0, "nice": 5}, False), ({"gres": "lscratch:40"}, False), ({}, False),
    ],
)  # fmt: skip
def test_gpus_asked_for_by_any_option_are_known(options: dict[str, Any], asks: bool) -> None:
    assert Profile(sbatch=options).asks_for_gpus == asks
    assert Profile(gpus=1).asks_for_gpus and Profile(gres="gpu").asks_for_gpus


def test_the_help_has_a_line_for_each_key() -> None:
    first, empty, *lines = profile_help().splitlines()
    assert first == "Keys of a profile file (TOML); examples in slurm/profiles/." and not empty
    assert [line.split()[0] for line in lines] == list(Profile.model_fields)
    assert "partition     partition (queue), as sinfo lists them (default: none)" in lines
    assert any(line.startswith("gpus          GPUs of one") and line.endswith("(default: 0)") for line in lines)


def test_who_is_told() -> None:
    assert not Notify()
    assert all((Notify(mail="a@example.org"), Notify(command="true"), Notify(webhook="https://example.org")))
