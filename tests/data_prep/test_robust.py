"""Whatever a worker meets and whatever stops a run, no dataset lies."""

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import psutil
import pytest

from data_prep.sources.imagefolder import main as imagefolder
from data_prep.storage.samples import Sample
from data_prep.verification import verify
from data_prep.writing.dataset import DatasetInfo, write_dataset
from tests.data_prep.menagerie import damaged_files, odd_files
from tests.data_prep.pictures import file_bytes, jpeg, photo, samples
from toolkit.errors import ToolkitError
from toolkit.imagefile.images import decode
from toolkit.imagefile.reader import Beton
from toolkit.study.dataset import Encoding, find_dataset

RENDER = [
    "data_prep.synthetic",
    "--family",
    "shapes",
    "--name",
    "set",
    "--train",
    "600",
    "--val",
    "200",
    "--size",
    "16",
]


def test_every_odd_file_is_converted_rightly_or_named(tmp_path):
    root = tmp_path / "odd"
    for split in ("train", "val"):
        (root / split / "class").mkdir(parents=True)
    (root / "val" / "class" / "x.jpg").write_bytes(jpeg(0))
    expected = odd_files(root / "train" / "class")
    assert (
        imagefolder(
            [str(root), "--data", str(tmp_path), "--name", "set", "--max-bad", "20", "--workers", "2", "--one-class"]
        )
        == 0
    )
    manifest = find_dataset("set", tmp_path).manifest
    skipped = {bad.source.removeprefix("class/"): bad.reason for bad in manifest.skipped}
    assert set(skipped) == {name for name, pixels in expected.items() if pixels is None}
    assert skipped["pipe.jpg"] == skipped["directory.jpg"] == "is no regular file"
    assert skipped["empty.jpg"] == "is empty"
    assert "is no image" in skipped["text.jpg"]
    kept = [
        pixels for name, pixels in sorted(expected.items(), key=lambda item: _as_on_disk(item[0])) if pixels is not None
    ]
    with Beton.open(tmp_path / "set" / "train.beton", "layout") as beton:
        for number, pixels in enumerate(kept):
            found = decode(beton.image(number))
            assert found.shape == pixels.shape
            assert np.abs(found.astype(int) - pixels).mean() < 8
    assert verify(tmp_path / "set") == []


def _as_on_disk(name):
    return name.replace("\\xe9", "\udce9")


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.long)])
def test_damaged_images_end_in_a_dataset_that_decodes(tmp_path, count):
    given = [Sample(str(i), 0, content) for i, content in enumerate(damaged_files(count))]
    manifest = write_dataset(
        tmp_path / "set", {"train": given, "val": samples(2, 1)}, DatasetInfo("a"), workers=2, max_bad=count
    )
    kept = manifest.splits["train"].samples
    assert 0 < kept < count
    assert kept + len(manifest.skipped) == count
    assert verify(tmp_path / "set") == []
    kinds = Counter(bad.reason.split(":")[0][:40] for bad in manifest.skipped)
    print(f"{count} damaged files: {kept} converted, {len(manifest.skipped)} left out: {kinds.most_common(8)}")


def test_a_panorama_shrinks_and_one_too_large_for_the_format_is_named(tmp_path):
    wide = file_bytes(photo(1, 20_000, 40))
    too_wide = file_bytes(np.zeros((2, 70_000, 3), np.uint8), "PNG")
    given = [Sample("wide", 0, wide), Sample("too wide", 0, too_wide)]
    manifest = write_dataset(tmp_path / "a", {"train": given, "val": given[:1]}, DatasetInfo("a"), workers=1, max_bad=1)
    assert manifest.image_size == (40, 20_000)
    assert "at most 65500" in manifest.skipped[0].reason
    small = Encoding(max_resolution=100, side="longest")
    manifest = write_dataset(tmp_path / "b", {"train": given, "val": given[:1]}, DatasetInfo("a"), small, workers=1)
    assert manifest.image_size == (1, 100)


def run(data, *before, verb=RENDER):
    return subprocess.Popen(
        [*before, sys.executable, "-m", *verb, "--data", str(data), "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_in_one_line_and_leaves_nothing(tmp_path):
    process = run(tmp_path, "bash", "-c", 'ulimit -f 8400; exec "$@"', "limited")  # KiB: into the first page of images
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert [line for line in errors.splitlines() if "error:" in line] == [
        f"error: {tmp_path / 'set'} cannot be written (File too large): make room or write elsewhere, then run it again"
    ]
    assert "Traceback" not in errors
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.parametrize("verb", ["synthetic", "subset"])
@pytest.mark.slow
def test_a_run_killed_at_any_moment_leaves_no_beton_that_opens_and_can_be_run_again(tmp_path, kills, verb):
    if verb == "subset":
        parent = {"train": samples(3000), "val": samples(300, first=5000)}
        write_dataset(tmp_path / "parent", parent, DatasetInfo("abc"), workers=2)
        verb = ["data_prep.subset", str(tmp_path / "parent"), "--classes", "2", "--name", "set"]
    else:
        verb = RENDER
    started = time.monotonic()
    run(tmp_path / "reference", verb=verb).communicate(timeout=120)
    whole = time.monotonic() - started
    reference = find_dataset("set", tmp_path / "reference").manifest.content_hash
    rng, data = random.Random(kills), tmp_path / "data"
    finished = begun = 0
    for _ in range(kills):
        started = time.monotonic()
        left_alive = _kill_after(run(data, verb=verb), rng.uniform(0.3, 1.0) * whole)
        lasted = time.monotonic() - started
        assert not left_alive
        begun += any(data.glob(".tmp-*"))
        if _is_honest(data, reference):
            finished, whole = finished + 1, min(whole, lasted)  # other work on the machine has ended
    assert run(data, verb=verb).wait(timeout=120) == 0
    assert find_dataset("set", data).manifest.content_hash == reference
    assert verify(data / "set") == []
    assert [p.name for p in data.iterdir()] == ["set"]
    print(f"{kills} runs of {whole:.1f} s killed, {begun} amid writing, {finished} had finished")


def _kill_after(process, seconds):
    """Kill -9 after some seconds; returns the descendants that outlive it by more than 10 s."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return psutil.wait_procs(family, timeout=10)[1]


def _is_honest(data, reference):
    """Either the dataset is there, whole, and is removed for the next run, or no beton opens; returns which."""
    if not (data / "set").exists():
        for path in data.glob("**/*.beton"):
            with pytest.raises(ToolkitError, match=r"never written|truncated"):
                Beton.open(path, "layout")
        return False
    assert find_dataset("set", data).manifest.content_hash == reference
    assert verify(data / "set") == []
    shutil.rmtree(data / "set")
    return True
