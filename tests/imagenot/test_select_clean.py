"""Selection and cleaning: laws on random tables and hashes."""

from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_prep.imagenot.build import Build
from data_prep.imagenot.options import Options, Select, Write, with_rule
from data_prep.imagenot.stages.clean import duplicates, flatness, near_any, near_pairs
from data_prep.imagenot.stages.download import next_round
from data_prep.imagenot.stages.select import reaches, select, wanted_per_class
from data_prep.imagenot.stages.write import split_by_class

TABLES = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 8), st.sampled_from("abc"), st.integers(0, 10)), max_size=30
)


def scored(table: list[tuple[int, int, str, int]]) -> pl.DataFrame:
    frame = pl.DataFrame(table, schema=["url_hash", "caption_hash", "class", "score"], orient="row")
    return frame.with_columns(
        pl.col("score") / 10, id=pl.Series([f"{i:03d}" for i in range(len(table))], dtype=pl.String)
    )


@settings(max_examples=40)
@given(TABLES, st.sampled_from(["threshold", "top"]), st.integers(0, 3))
def test_selection(table: list[tuple[int, int, str, int]], rule: str, seed: int) -> None:
    section = Select(per_class=2, spare=0.5, rule=rule, seed=seed)
    frame = scored(table)
    chosen = select(frame, section)
    rows = chosen.join(frame, on="id")
    assert rows["url_hash"].is_unique().all() and rows["caption_hash"].is_unique().all()
    for _, of in chosen.group_by("class"):
        assert of["rank"].sort().to_list() == list(range(len(of)))
        assert len(of) == min(of["unique"][0], wanted_per_class(section))
        assert rule == "threshold" or of.sort("rank")["score"].is_sorted(descending=True)
    assert select(frame.reverse(), section).equals(chosen)


def test_laionet_takes_what_is_above_the_threshold_and_we_what_is_at_it(tmp_path: Path) -> None:
    for rule, taken in (("broad", {"at", "above"}), ("laionet", {"above"})):
        build = Build(tmp_path / rule, with_rule(Options(), rule))
        least = build.options.select.threshold
        scores = pl.Series([least - 1e-4, least, least + 1e-4], dtype=pl.Float32)
        frame = pl.DataFrame({"id": ["below", "at", "above"], "score": scores})
        assert set(frame.filter(reaches(build, least))["id"]) == taken


def test_spares_follow_the_dead() -> None:
    selected = pl.DataFrame(
        {"id": [f"a{i}" for i in range(6)] + ["b0"], "class": ["a"] * 6 + ["b"], "rank": [*range(6), 0]}
    )
    none = pl.DataFrame(schema={"id": pl.String})
    fetched = pl.DataFrame(schema={"id": pl.String, "status": pl.String})
    first = next_round(selected, fetched, none, 2)
    assert first["id"].to_list() == ["a0", "a1", "b0"]
    fetched = pl.DataFrame({"id": ["a0", "a1", "b0"], "status": ["success", "failed_to_download", "success"]})
    assert next_round(selected, fetched, none, 2)["id"].to_list() == ["a2", "a3", "a4", "a5"]  # a third was dead
    assert next_round(selected, fetched, none, 1).is_empty()
    assert set(next_round(selected, fetched, pl.DataFrame({"id": ["a0"]}), 1)["class"]) == {"a"}
    everything = selected.select("id", status=pl.lit("failed_to_download"))
    assert next_round(selected, everything, none, 2).is_empty()


HASHES = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), max_size=25).map(lambda h: np.array(h, np.uint64))


@settings(max_examples=60)
@given(HASHES, HASHES, st.integers(0, 6))
def test_near_pairs_are_all_pairs(left: np.ndarray, right: np.ndarray, distance: int) -> None:
    expected = {
        (i, j)
        for i in range(len(left))
        for j in range(len(right))
        if (int(left[i]) ^ int(right[j])).bit_count() <= distance
    }
    assert near_pairs(left, right, distance) == expected
    assert set(np.flatnonzero(near_any(right, left, distance))) == {j for _, j in expected}


@settings(max_examples=40)
@given(HASHES, st.integers(0, 6))
def test_what_stays_is_apart_and_what_goes_has_a_twin(hashes: np.ndarray, distance: int) -> None:
    out = duplicates(hashes, distance)
    near = near_pairs(hashes, hashes, distance)
    stay = set(np.flatnonzero(~out))
    assert not any(i in stay and j in stay for i, j in near if i != j)
    assert all(any((i, j) in near and i < j for i in stay) for j in np.flatnonzero(out))


def test_text_on_plain_ground_is_flat() -> None:
    assert flatness(Image.new("RGB", (50, 50), "white")) == 1
    noise = np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8)
    assert flatness(Image.fromarray(noise)) < 0.4


def test_every_class_is_in_both_splits() -> None:
    images = pl.DataFrame({"id": [f"{i:03d}" for i in range(33)], "class": ["a"] * 20 + ["b"] * 10 + ["c"] * 2 + ["d"]})
    split = split_by_class(images, Write(val=0.1))
    counts = {key: len(of) for key, of in split.group_by("class", "split")}
    assert counts == {
        ("a", "val"): 2, ("a", "train"): 18, ("b", "val"): 1, ("b", "train"): 9, ("c", "val"): 1, ("c", "train"): 1,
    }  # fmt: skip
