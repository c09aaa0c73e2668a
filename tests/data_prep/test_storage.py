import tarfile
from pathlib import Path

from data_prep.storage.tar_entries import Spans, members
from toolkit.cli import parser


def test_a_thousand_tars_do_not_use_up_the_descriptors(tmp_path):
    """Reading goes from shard to shard; what was read long ago is closed."""
    spans = Spans()
    (tmp_path / "x").write_bytes(b"picture")
    for number in range(200):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            tar.add(tmp_path / "x", "x.jpg")
        for entry in members(tmp_path / f"{number}.tar"):
            spans.add(tmp_path / f"{number}.tar", entry, 0)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert all(sample.content.read() == b"picture" for sample in spans)
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 66


def test_an_option_of_several_values_adds_up():
    made = parser("toolkit.launch", "")
    group = made.add_argument_group("what")
    group.add_argument("--set", nargs="+", default=[], dest="changes")
    group.add_argument("--name", nargs="?")
    given = made.parse_args(["--set", "epochs=7", "--set", "lr=1", "batch=2", "--name", "a", "--name", "b"])
    assert given.changes == ["epochs=7", "lr=1", "batch=2"]
    assert given.name == "b"
    assert made.parse_args([]).changes == []
