"""Folders whose structure nobody meant: names, columns, members and encodings, each a dataset or one line."""

import contextlib
import importlib
import json
import os
import shutil
import tarfile
import tempfile
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.verification import verify
from tests.data_prep.pictures import jpeg
from tests.data_prep.sources import layouts
from toolkit.errors import ToolkitError

NAMES = [
    "train", "VAL", "test", "._x.jpg", "Thumbs.db", "x.jpg", "x", "n01440764", "-1", "0", "TV", "2008", "database",
    "train.tar", "val.tar", "train.parquet", "a.jpg.txt", "ünï", "a\nb.jpg", "x" * 250, os.fsdecode(b"\xe9.jpg"),
    "HAM10000_metadata.csv", "LOC_val_solution.csv", "meta.mat", "batches.meta", "ILSVRC2012_val_00000001.JPEG",
]  # fmt: skip
TEXTS = [
    b"", b"\xff\xfe", b"\xef\xbb\xbfImageId,PredictionString\n",
    b"ImageId,PredictionString\nILSVRC2012_val_00000001,\n",
    b"image_id,dx\nISIC_0000\n", b'image_id\tdx\n"', b"a,b\n\0", b"0\n", b"99999999999999999999\n" * 9, b"\xe9 1\n",
    b"1;2\n", b"-5;1e9;Sand\n", b"9" * 5000 + b";1;Sand\n", b"[" * 100_000, b"\0" * 2048, bytes(range(256)) * 8,
    b"\x80\x02]q\0.", b"PAR1" + bytes(8) + b"PAR1", jpeg(5),
]  # fmt: skip
LABELS = ["a", "-1", "", "9" * 5000, "\xe9", "\ud800", "a\nb", "\0", None, [1], {"a": 1}, 1.5, True, -1, 7]
COLUMNS = [
    pa.array([jpeg(0), None, b""]), pa.array(["a.jpg", "b.jpg", "/etc/passwd"]), pa.array([[jpeg(1)], [], None]),
    pa.array([{"bytes": None, "path": "x"}, None, {"bytes": jpeg(2), "path": None}]), pa.array([{"path": "x"}] * 3),
    pa.nulls(3), pa.array([1, 2, 3]), pa.array([-1, 0, 1]), pa.array([1.0, 2.0, float("nan")]),
    pa.array(["a", "b", "\n"]), pa.array([b"a", b"b", b"\xff"]), pa.array([True, False, True]),
    pa.array(["a", "b", "a"]).dictionary_encode(), pa.array([[1], [2], [3]]), pa.array([0, 1, 0], pa.timestamp("s")),
]  # fmt: skip
DESCRIBED = [
    b"{", b"[]", b'{"info": null}', b'{"info": {"features": [1]}}', b"[" * 100_000,
    json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": 3}}}}),
    json.dumps({"info": {"features": {"a": {"_type": "ClassLabel"}, "label": {"_type": "ClassLabel"}}}}),
]  # fmt: skip


def rename(path, draw):
    target = path.with_name(draw(st.sampled_from(NAMES)))
    if not target.exists():
        path.rename(target)


def remove(path, draw):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def replace(path, draw):
    remove(path, draw)
    what = draw(st.sampled_from([*TEXTS, "folder", "pipe", ".", path.name, "..", "/etc", "nowhere"]))
    if isinstance(what, bytes):
        path.write_bytes(what)
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(what)


def damage(path, draw):
    if not path.is_file():
        return
    content = bytearray(path.read_bytes())
    at = draw(st.integers(0, max(0, len(content) - 1)))
    if draw(st.booleans()):
        path.write_bytes(content[:at])
    elif content:
        content[at] = draw(st.integers(0, 255))
        path.write_bytes(content)


def add(path, draw):
    (path if path.is_dir() else path.parent).joinpath(
        "more-" + draw(st.sampled_from(["x", "val.tar", "x.jpg"]))
    ).write_bytes(draw(st.sampled_from(TEXTS)))


def shard(path, draw):
    """A tar in place of one that is there, of odd members."""
    label = draw(st.sampled_from(LABELS))
    name = draw(st.sampled_from(["a", "d/a", "./a", "../a", "/a", "a.image", "é", "\udce9", ".a", ""]))
    contents = [
        ("jpg", jpeg(7)),
        ("cls", str(label).encode(errors="surrogatepass")),
        ("json", json.dumps({"wnid": label}).encode()),
    ]
    chosen = draw(st.lists(st.sampled_from(contents), max_size=4))
    with tarfile.open(path, "w", format=draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))) as tar:
        for ending, content in chosen:
            layouts.add(tar, f"{name}.{ending}", content)
        if draw(st.booleans()):
            link = tarfile.TarInfo("link.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)


def table(path, draw):
    """A parquet file in place of one that is there, of odd columns."""
    names = draw(st.lists(st.sampled_from(["image", "label", "img", "a", "image.bytes", ""]), min_size=1, max_size=4))
    columns = [draw(st.sampled_from(COLUMNS)) for _ in names]
    schema = pa.schema(
        [pa.field(name, column.type) for name, column in zip(names, columns, strict=True)],
        {"huggingface": draw(st.sampled_from(DESCRIBED))} if draw(st.booleans()) else None,
    )
    pa.parquet.write_table(pa.Table.from_arrays(columns, schema=schema), path)


CHANGES = [rename, rename, replace, replace, remove, damage, add]


@pytest.fixture(scope="module", params=layouts.ALL, ids=lambda case: case[1].__name__)
def layout(request, tmp_path_factory):
    module, maker = request.param
    root = tmp_path_factory.mktemp(maker.__name__) / "root"
    root.mkdir()
    return importlib.import_module(f"data_prep.{module}").main, maker(root).arguments, root


@settings(max_examples=8)
@given(data=st.data())
@pytest.mark.slow
def test_any_structure_ends_in_a_dataset_or_one_line(layout, data):
    main, arguments, original = layout
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        shutil.copytree(original, root)
        for _ in range(data.draw(st.integers(1, 3))):
            paths = sorted(path for path in root.rglob("*") if not path.is_symlink())
            if not paths:
                break
            path = data.draw(st.sampled_from(paths))
            special = {".tar": [shard], ".parquet": [table] * 3}.get(path.suffix, []) if path.is_file() else []
            data.draw(st.sampled_from([*special, *CHANGES]))(path, data.draw)
        try:
            main(
                [
                    str(root),
                    "--data",
                    f"{folder}/data",
                    "--workers",
                    "1",
                    "--max-bad",
                    "99",
                    "--name",
                    "set",
                    *arguments,
                ]
            )
        except ToolkitError as error:
            assert str(error)
            assert not Path(folder, "data", "set").exists()
        else:
            [made] = Path(folder, "data").iterdir()
            assert verify(made, workers=1) == []


def test_no_source_waits_for_a_pipe(layout, tmp_path):
    """One in the place of the first file of each ending: a line or a dataset, and no reader that waits for a writer."""
    main, arguments, original = layout
    firsts = {path.suffix: path for path in sorted(original.rglob("*"), reverse=True) if path.is_file()}
    for number, path in enumerate(firsts.values()):
        root = tmp_path / str(number)
        shutil.copytree(original, root)
        (place := root / path.relative_to(original)).unlink()
        os.mkfifo(place)
        with writer_after(20, place) as waited, contextlib.suppress(ToolkitError):
            main([str(root), "--data", str(tmp_path / f"{number} data"), "--workers", "1", *arguments])
        assert not waited, path.name


@contextlib.contextmanager
def writer_after(seconds, pipe):
    """Ends, late, the wait of whoever opened the pipe; yields a list that then is not empty."""
    waited = []

    def write():
        with contextlib.suppress(OSError):  # nobody reads
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            waited.append(True)

    timer = threading.Timer(seconds, write)
    timer.start()
    try:
        yield waited
    finally:
        timer.cancel()
        timer.join()


def test_a_tree_deeper_than_python_recurses_is_read_or_refused(tmp_path):
    from data_prep.storage.image_tree import files_below

    deepest = tmp_path
    (tmp_path / "x.jpg").write_bytes(b"")
    for _ in range(1200):
        deepest /= "a"
        deepest.mkdir()
    (deepest / "x.jpg").write_bytes(b"")
    try:
        assert sorted(path.count("/") for path in files_below(tmp_path)) == [0, 1200]
    finally:
        (deepest / "x.jpg").unlink()
        os.removedirs(deepest)  # for pytest's way recurses too


def write(root, table, metadata=None):
    root.mkdir()
    pa.parquet.write_table(table.replace_schema_metadata(metadata), root / "a.parquet")
    return lambda *more: importlib.import_module("data_prep.parquet").main(
        [str(root), "--data", str(root.parent / "data"), "--workers", "1", *more]
    )


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (["a.jpg", "b.jpg"], [0, 1], "column image holds string, and images are bytes"),
        ([[jpeg(0)], [jpeg(1)]], [0, 1], "column image holds list"),
        ([jpeg(0), jpeg(1)], [[0], [1]], "column label holds list.*whole numbers or names"),
        ([jpeg(0), jpeg(1)], [0, -1], "label -1, which is no class"),
        ([jpeg(0), jpeg(1)], ["a", "-1"], "label -1, which is no class"),
    ],
)
def test_cells_that_are_no_images_or_no_classes_are_one_line(tmp_path, image, label, message):
    with pytest.raises(ToolkitError, match=message):
        write(tmp_path / "root", pa.table({"image": image, "label": label}))()


def test_of_two_columns_of_classes_one_is_named(tmp_path):
    columns = {"fine": [i % 3 for i in range(12)], "coarse": [i % 2 for i in range(12)]}
    kinds = {name: {"_type": "ClassLabel", "names": ["a", "b", "c"]} for name in columns}
    described = {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}, **kinds}}})}
    call = write(tmp_path / "root", pa.table({"image": [jpeg(i) for i in range(12)], **columns}), described)
    with pytest.raises(ToolkitError, match=r"2 columns of kind ClassLabel \(fine, coarse\): give one as --label"):
        call()
    assert call("--label", "coarse") == 0


def test_archives_that_unpack_without_end_are_refused(tmp_path, monkeypatch):
    from data_prep.storage import tar_entries

    monkeypatch.setattr(tar_entries, "LARGEST_ARCHIVE", 1 << 20)
    for name in ("wanted", "other"):
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
            layouts.add(tar, name, bytes(2 << 20))
            layouts.add(tar, "wanted", b"1")
        with pytest.raises(ToolkitError, match=r"a\.tar\.gz.*(at once|unpacks to more)"):
            tar_entries.content_of(tmp_path / "a.tar.gz", "wanted")


def test_a_header_that_claims_gigabytes_is_refused(tmp_path):
    from data_prep.storage.tar_entries import members

    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 4 << 30
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(info.tobuf())
        file.truncate(5 << 30)  # of zeros that take no room
    with pytest.raises(ToolkitError, match="at once"):
        list(members(tmp_path / "a.tar"))


def test_an_image_of_gigabytes_is_left_out(tmp_path):
    from data_prep.storage.samples import File, Span
    from toolkit.imagefile.format import BadImage

    with (tmp_path / "x").open("wb") as file:
        file.truncate(9 << 30)
    for content in (File(str(tmp_path / "x")), Span(str(tmp_path / "x"), 0, 9 << 30)):
        with pytest.raises(BadImage, match="are read"):
            content.read()


def test_a_row_group_that_unpacks_to_more_than_is_meant_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.sources.parquet.LARGEST_GROUP", 1 << 20)
    call = write(tmp_path / "root", pa.table({"image": [bytes(1 << 20)] * 4, "label": [0, 0, 1, 1]}))
    assert (tmp_path / "root" / "a.parquet").stat().st_size < 1 << 20
    with pytest.raises(ToolkitError, match="write it in smaller groups"):
        call()


class Array:
    """Pickles as an array whose parts are whatever is given."""

    def __init__(self, shape, kind, content):
        self.parts = shape, kind, content

    def __reduce__(self):
        import numpy as np

        made, arguments, _ = np.empty(0, np.uint8).__reduce__()
        shape, kind, content = self.parts
        return made, arguments, (1, shape, kind, False, content)


def crafted_pickles():
    import numpy as np

    labels, picture = {b"fine_labels": [0]}, bytes(3072)
    for array in (
        Array((1, 3072), np.dtype("O"), picture),
        Array((1, 3072), np.dtype("O"), [None] * 3072),
        Array((1 << 40, 3072), np.dtype("u1"), picture),
        Array((1, 3072), np.dtype([("a", "u1"), ("b", "O")]), picture),
        Array((1, 3072), None, picture),
        b"text",
    ):
        yield layouts.python2_pickle({b"data": array, **labels})
    yield b"\x80\x02}" + b")" + b"2\x86" * 200 + b"K\1s."  # a key whose hash would take for ever
    yield b"\x80\x02}r\xff\xff\xff\x7f."  # one object, of which the number is two billion
    yield b"\x80\x04}\x94(\x8e" + b"\xff" * 7 + b"\x7f."


@pytest.mark.parametrize("content", crafted_pickles())
def test_a_crafted_pickle_of_cifar_is_one_line(tmp_path, content):
    (tmp_path / "root").mkdir()
    layouts.cifar100(tmp_path / "root")
    (tmp_path / "root" / "cifar-100-python" / "train").write_bytes(content)
    with pytest.raises(ToolkitError, match="is damaged or no file of CIFAR"):
        importlib.import_module("data_prep.cifar").main([str(tmp_path / "root"), "--classes", "100"])
