"""A million rows of every kind through match: each row's fate as it was made, within bounded memory."""

import io
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest

from data_prep.imagenot.build import Build
from data_prep.imagenot.laion import read_batches
from data_prep.imagenot.lemmas import phrases, words
from data_prep.imagenot.options import Match
from data_prep.imagenot.stages.classes import Class
from tests.benchmarks.match import memory_of_stage
from tests.imagenot.laion import IMAGENOT, WORDNET, gloss_captions, rows

ROWS, FEW = 1_000_000, 300_000
FOLDERS = ("few", "million")
MOST_MB, MOST_MORE_MB = 250, 20
"""Of memory: what a process may hold of its own, and how much more it may be with three times the rows. A tenth of them
does not fill what it takes for any number."""
KINDS = {"fine": 0.8, "broken": 0.05, "unsafe": 0.05, "language": 0.05, "small": 0.03, "aspect": 0.02}
SPOILT = {
    "broken": [{"TEXT": None}, {"URL": None}, {"URL": "ftp://example.org/a.jpg"}, {"URL": "no address"}],
    "unsafe": [{"NSFW": "NSFW"}, {"NSFW": "UNSURE"}, {"NSFW": None}],
    "language": [{"LANGUAGE": "de"}, {"LANGUAGE": "zh"}, {"LANGUAGE": None}],
    "small": [{"WIDTH": 120}, {"HEIGHT": 30}, {"WIDTH": None, "HEIGHT": None}],
    "aspect": [{"WIDTH": 2900}, {"HEIGHT": 1900}],
}
"""What makes a row of each kind be dropped, in one of several ways."""


def base_captions() -> list[str]:
    """Names with glosses of all nouns, classes in plural and in capitals, near misses, other languages."""
    lemmas = [synset.lemmas[i % len(synset.lemmas)] for i, synset in enumerate(IMAGENOT * 3)]
    near = [f"un{lemma} {lemma}ish x{lemma}" for lemma in lemmas] + [" of ".join(lemma.split(" ")) for lemma in lemmas]
    other = [f"ein Foto: {lemma.upper()}s, красивая 写真" for lemma in lemmas]
    return [*gloss_captions(list(WORDNET.synsets()), 20_000), *(f"The {lemma}s!" for lemma in lemmas), *near, *other]


def classes_in(captions: list[str]) -> list[set[int]]:
    """The labels of the classes of which each caption holds a phrase, by the rule, word by word."""
    known = [Class(wnid=s.wnid, lemmas=s.lemmas, definition=s.definition) for s in IMAGENOT]
    table = phrases(known, WORDNET.plurals(), Match())
    longest = max(map(len, table))
    found = []
    for caption in captions:
        text = words(caption)
        runs = (text[i:j] for i in range(len(text)) for j in range(i + 1, min(i + longest, len(text)) + 1))
        found.append(set[int]().union(*(table.get(run, set()) for run in runs)))
    return found


def make(folder: Path, n: int) -> pl.DataFrame:
    """Write ``n`` rows of metadata in one group; what is expected of each: ``kind``, and ``class`` if it matches."""
    rng = np.random.default_rng(n)
    base = base_captions()
    drawn = rng.integers(len(base), size=n)
    fate = [("matched" if len(of) == 1 else "several" if of else "no_class", of) for of in classes_in(base)]
    kinds = rng.choice(list(KINDS), n, p=list(KINDS.values()))
    columns: dict[str, list] = {
        "TEXT": [f"{base[i]} ({number})" for number, i in enumerate(drawn)], "NSFW": ["UNLIKELY"] * n,
        "URL": [f"https://example.org/{number}.jpg" for number in range(n)], "LANGUAGE": ["en"] * n,
        "WIDTH": rng.integers(200, 600, n).tolist(), "HEIGHT": rng.integers(200, 600, n).tolist(),
    }  # fmt: skip
    for row in np.flatnonzero(kinds != "fine"):
        for column, value in SPOILT[kinds[row]][row % len(SPOILT[kinds[row]])].items():
            columns[column][row] = value
    folder.mkdir()
    rows([""] * n, **columns).write_parquet(folder / "laion.parquet", row_group_size=n)
    expected = [fate[i][0] if kind == "fine" else kind for i, kind in zip(drawn, kinds, strict=True)]
    labels = [min(fate[i][1]) if is_ == "matched" else None for i, is_ in zip(drawn, expected, strict=True)]
    wnids = [None if label is None else IMAGENOT[label].wnid for label in labels]
    return pl.DataFrame({"kind": expected, "class": wnids}).with_row_index("row")


def test_a_million_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / FOLDERS[0], FEW)
    expected = make(tmp_path / FOLDERS[1], ROWS)
    few, many = (memory_of_stage(tmp_path / name / "build", tmp_path / name / "laion.parquet") for name in FOLDERS)
    build = Build.open(tmp_path / FOLDERS[1] / "build")
    counts = build.counts("match", "00000")
    assert counts == {"rows": ROWS, **dict(expected["kind"].value_counts().iter_rows())}
    found = pl.read_parquet(build.room("match") / "00000.parquet")
    assert found["id"].str.slice(6).cast(pl.UInt32).to_list() == expected.filter(kind="matched")["row"].to_list()
    assert found["class"].to_list() == expected["class"].drop_nulls().to_list()
    with capsys.disabled():
        print(f"\nmatch: {few} for {FEW:,} rows, {many} for {ROWS:,};", counts)
    assert many.own < MOST_MB and many.peak < few.peak + MOST_MORE_MB


def test_a_batch_is_read_before_the_rest_of_its_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory alone tells columns that are read ahead only by some megabytes, which a busy machine adds as well."""
    make(tmp_path / "few", FEW)
    path, read = tmp_path / "few" / "laion.parquet", []

    class Counted(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            read.append(super().read(-1 if size is None else size))
            return read[-1]

    monkeypatch.setattr(fsspec, "open", lambda source, *_, **__: Counted(source))
    batches = read_batches(str(path), 1000)
    assert len(next(batches).rows) == 1000
    assert sum(map(len, read)) < 0.6 * path.stat().st_size
    assert sum(len(batch.rows) for batch in batches) == FEW - 1000
    assert sum(map(len, read)) > 0.9 * path.stat().st_size
