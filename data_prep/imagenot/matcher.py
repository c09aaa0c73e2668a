"""Finds lemmas in captions, a batch of captions at a time.

Captions become words; words that occur in no lemma fall out in a hash join, and what is left, a few words a caption,
is joined as runs of neighbouring words with the table of phrases. No caption is ever looked at in Python.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from data_prep.imagenot.lemmas import Phrase

if TYPE_CHECKING:
    import polars as pl

WORD = r"[\p{L}\p{M}\p{N}]+"


class Matcher:
    """Finds the phrases of a table in captions."""

    def __init__(self, table: Mapping[Phrase, set[int]]) -> None:
        """``table``: the labels that each phrase (words in lower case) stands for."""
        import polars as pl

        code = {word: number for number, word in enumerate(sorted({word for phrase in table for word in phrase}))}
        self._vocabulary = pl.DataFrame(
            {"word": list(code), "code": list(code.values())}, schema={"word": pl.String, "code": pl.UInt32}
        )
        self._tables = {}
        for length in {len(phrase) for phrase in table}:
            rows = [
                (*(code[word] for word in phrase), label)
                for phrase, labels in table.items()
                if len(phrase) == length
                for label in labels
            ]
            schema = dict.fromkeys([*_codes(length), "label"], pl.UInt32)
            self._tables[length] = pl.DataFrame(rows, schema=schema, orient="row")

    def __call__(self, captions: "pl.Series") -> "pl.DataFrame":
        """The captions that hold a phrase: their ``row``, the number of ``classes``, and the least ``label``."""
        import polars as pl

        words = self._words(captions)
        found = [
            self._runs(words, length).join(table, on=_codes(length)).select("row", "label")
            for length, table in self._tables.items()
        ]
        by_row = pl.concat(found).group_by("row")
        return by_row.agg(pl.col("label").n_unique().alias("classes"), pl.col("label").min()).sort("row")

    def _words(self, captions: "pl.Series") -> "pl.DataFrame":
        """The vocabulary's words in the captions, in order: ``row`` of the caption, ``code``, and ``place``."""
        import polars as pl

        words = captions.str.normalize("NFKC").str.to_lowercase().str.extract_all(WORD)
        return (
            pl.DataFrame({"row": pl.int_range(len(words), dtype=pl.UInt32, eager=True), "word": words})
            .explode("word")
            # Places count on over all captions, and skip one between two, so that no phrase reaches over.
            .with_columns(place=pl.int_range(pl.len(), dtype=pl.UInt32) + pl.col("row"))
            .join(self._vocabulary, on="word", maintain_order="left")
        )

    @staticmethod
    def _runs(words: "pl.DataFrame", length: int) -> "pl.DataFrame":
        """Every run of so many neighbouring words: ``row`` and the codes ``code0``, ``code1`` ..."""
        import polars as pl

        codes = [pl.col("code").shift(-i).alias(name) for i, name in enumerate(_codes(length))]
        neighbours = pl.col("place").shift(1 - length) == pl.col("place") + (length - 1)
        return words.select("row", *codes, neighbours.alias("neighbours")).filter("neighbours")


def _codes(length: int) -> list[str]:
    return [f"code{i}" for i in range(length)]
