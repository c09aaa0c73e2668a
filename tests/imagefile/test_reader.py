import subprocess
import sys

import numpy as np
import pytest

from tests.training.betons import pictures, write_beton
from toolkit.errors import ToolkitError
from toolkit.imagefile.format import JPG
from toolkit.imagefile.reader import Beton

FFCV = """
import sys
import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.reader import Reader
from ffcv.writer import DatasetWriter

class Pictures:
    def __len__(self):
        return 10
    def __getitem__(self, i):
        rng = np.random.default_rng(i)
        return rng.integers(0, 256, (20 + i, 30 - i, 3), dtype=np.uint8), i % 3

if __name__ == "__main__":
    fields = {"image": RGBImageField(write_mode="proportion", compress_probability=0.5), "label": IntField()}
    DatasetWriter(sys.argv[1], fields, num_workers=1).from_indexed_dataset(Pictures())
    reader = Reader(sys.argv[1])
    image, label = (reader.metadata[name] for name in reader.metadata.dtype.names)
    table = reader.alloc_table
    sizes = dict(zip(table["ptr"].tolist(), table["size"].tolist()))
    np.savez(sys.argv[2], labels=label, modes=image["mode"], heights=image["height"], widths=image["width"],
             offsets=image["data_ptr"], sizes=[sizes[p] for p in image["data_ptr"].tolist()])
"""


def test_tables_are_those_of_ffcvs_own_reader(tmp_path, ffcv):
    script, beton, tables = tmp_path / "write.py", tmp_path / "it's \n odd.beton", tmp_path / "tables.npz"
    script.write_text(FFCV)
    subprocess.run([sys.executable, script, beton, tables], check=True, capture_output=True)
    ours, theirs = Beton.open(beton), np.load(tables)
    for name in theirs.files:
        assert np.array_equal(getattr(ours, name), theirs[name]), name
    assert set(ours.modes) == {0, 1}
    for sample in range(10):
        if ours.modes[sample] != JPG:
            written = np.random.default_rng(sample).integers(0, 256, (20 + sample, 30 - sample, 3), dtype=np.uint8)
            assert np.array_equal(ours.encoded(sample), written.reshape(-1))


def test_a_beton_without_its_end_is_refused(tmp_path):
    whole = write_beton(tmp_path / "a.beton", *pictures(12, 3)).read_bytes()
    for size in (0, 10, 1000, len(whole) // 2, len(whole) - 24 * 5):
        (tmp_path / "cut.beton").write_bytes(whole[:size])
        with pytest.raises(ToolkitError, match=r"cut\.beton is damaged"):
            Beton.open(tmp_path / "cut.beton")


def test_a_writer_that_was_killed_left_no_table(tmp_path):
    path = write_beton(tmp_path / "a.beton", *pictures(4, 2))
    content = bytearray(path.read_bytes())
    content[16:24] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(ToolkitError, match="no allocation table"):
        Beton.open(path)


def test_other_files_are_named(tmp_path):
    path = tmp_path / "other.beton"
    path.write_bytes(b"\x03\x00" + bytes(5000))
    with pytest.raises(ToolkitError, match="format version is 3"):
        Beton.open(path)
