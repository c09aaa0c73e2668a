"""Measurements of anybody's table, tidy or wide; and of the shipped references."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl

from toolkit.analysis.headings import (
    ATTRIBUTE_PREFIX,
    KEYS,
    NAMES,
    OTHER_END,
    ROLES,
    SPLITS,
    SUMMARY,
    SUMMARY_ROWS,
    Role,
    bare,
    direction,
    is_attribute,
    is_index,
    is_loss,
    is_metric,
    is_no_result,
    is_of_training,
    is_repeat,
    is_summary,
    metric,
    one_of_each,
    plain,
    preference,
)
from toolkit.analysis.measurements import SCHEMA, Measurements
from toolkit.analysis.numerals import (
    LARGEST_ERROR,
    Numerals,
    is_numeric,
    read_numerals,
    read_states,
    uses_decimal_comma,
)
from toolkit.analysis.opening import open_table
from toolkit.errors import UsageError
from toolkit.names import unknown
from toolkit.references import reference, reference_csv

Quantity = Literal["error", "accuracy"]
Unit = Literal["percent", "share", "none"]
SHOWN = 12
"""Columns named in a message."""
COUNTS_TOLERANCE = 0.51
"""Points by which a value may differ from its counts: values are printed rounded, at worst to whole percents."""


@dataclass(frozen=True)
class Reading:
    """What a user says of a table that its headings don't."""

    quantity: Quantity | None = None
    unit: Unit | None = None
    columns: tuple[tuple[str, Role], ...] = ()
    """Roles of columns, by heading."""
    cluster: str | None = None
    """The column of the nets' families, which may be one that names them too."""


def parse_roles(pairs: Sequence[str]) -> tuple[tuple[str, Role], ...]:
    """Roles from words like ``top5=value``. Raises `UsageError` for an unknown role."""
    found = []
    for pair in pairs:
        column, sign, role = pair.rpartition("=")
        if not sign or role not in ROLES:
            raise unknown("role", role, ROLES, "in --map COLUMN=ROLE")
        found.append((column, role))
    return tuple(found)


def table_measurements(paths: Sequence[Path], reading: Reading | None = None) -> Measurements:
    """Measurements of the tables in ``paths``, read as one. Raises `UsageError` naming what it saw and what it lacks.

    Files whose values stand under the same heading are a dataset each, named by file, unless they hold different
    architectures.
    """
    reading = reading or Reading()
    tables = [_Table(path, reading) for path in paths]
    names = _dataset_names(paths)
    parts = [table.tidy(names[table.path]) for table in tables]
    quantity = _quantity(tables, reading)
    tidy = _apart([part for part, _ in parts], [names[path] for path in paths])
    notes = [line for table in tables for line in table.notes]
    place = str(paths[0])
    tidy = tidy.filter(pl.col("architecture").is_not_null() & pl.col("dataset").is_not_null())
    if tidy.is_empty():
        raise UsageError(f"{place} has no rows with an architecture and a dataset")
    _refuse_repeats(tidy, place, tables[0])
    percents = {name for table in tables for name in table.percent}
    tidy, unit, said = _in_percent(tidy, quantity, reading, percents, place)
    said = [*said, *_said_of_twins(tidy, place)]
    _refuse_counts(tidy, quantity, place)
    noise = tidy.filter(pl.col("noise").is_not_null()).select("architecture", "dataset", "noise")
    attributes = pl.concat([described for _, described in parts], how="diagonal_relaxed")
    attributes = attributes.group_by("architecture", maintain_order=True).agg(pl.all().mean())
    name = " + ".join(path.name.split(".")[0] for path in paths)
    metrics = {name: kind for table in tables for name, kind in table.metrics.items()}
    families = _families(tables, tidy, place)
    return Measurements(
        name=name,
        frame=tidy.select(list(SCHEMA)),
        attributes=attributes,
        quantity=quantity,
        unit=unit,
        metrics=metrics,
        problems=tuple(notes + said),
        errors=noise if len(noise) else None,
        families=families,
        families_by=f"column '{next(t.cluster for t in tables if t.cluster)}'" if families else "",
    )


def _families(tables: Sequence["_Table"], tidy: pl.DataFrame, place: str) -> tuple[str, ...]:
    """The family of each architecture in the order of ``tidy``, its own name where none is told; empty without any."""
    told = pl.concat([table.families() for table in tables]).unique()
    if told.is_empty():
        return ()
    if told["architecture"].is_duplicated().any():
        name = told.filter(pl.col("architecture").is_duplicated())["architecture"][0]
        raise UsageError(f"{place}: {name!r} has more than one family: mend the column, or name another by --cluster")
    names = tidy.select(pl.col("architecture").unique(maintain_order=True))
    joined = names.join(told, on="architecture", how="left", maintain_order="left")
    return tuple(joined.select(pl.coalesce("family", "architecture")).to_series().to_list())


def reference_measurements(name: str) -> Measurements:
    """Measurements of the shipped study ``name``: a wide table whose every column but the architectures' is known."""
    about = reference(name)
    frame = pl.read_csv(reference_csv(name))
    described = [c for c in frame.columns if is_attribute(c)]
    datasets = [c for c in frame.columns if c not in described and c != "architecture"]
    tidy = frame.unpivot(datasets, index="architecture", variable_name="dataset", value_name="value")
    tidy = _complete(
        tidy.with_columns(
            status=pl.when(pl.col("value").is_finite().fill_null(False))
            .then(pl.lit("done"))
            .otherwise(pl.lit("missing"))
        )
    )
    attributes = frame.select("architecture", *(pl.col(c).cast(pl.Float64) for c in described))
    unit = about.get("unit", "%")
    return Measurements(name, tidy.select(list(SCHEMA)), attributes, about["quantity"], unit, about.get("metrics", {}))


class _Table:
    """One file: its cells, the role of each column, and a line for each that is not used."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path = path
        frame, self.notes = open_table(path)
        self.frame = frame.rename({c: c.strip() for c in frame.columns})
        self.percent: set[str] = set()
        self.metrics: dict[str, str] = {}
        self.roles: dict[str, Role] = {c: r for c, r in reading.columns if c in self.frame.columns}
        for column in (*(c for c, _ in reading.columns), *([reading.cluster] if reading.cluster else [])):
            if column not in self.frame.columns:
                raise unknown("column", column, self.frame.columns, f"in {path}")
        self.comma = uses_decimal_comma(self.frame, path)
        self.numerals = {c: read_numerals(self.frame[c], self.comma) for c in self.frame.columns}
        self.quantity: str | None = None
        self._drop_index()
        self._transpose(reading)
        self.cluster = reading.cluster or self.find("cluster")
        if self.cluster and plain(self.cluster) not in (*NAMES["architecture"], *KEYS):
            self.roles[self.cluster] = "cluster"
        self.architecture = self._architecture()
        self.measured = self._measured()

    @property
    def seen(self) -> str:
        names = ", ".join(repr(c) for c in self.frame.columns[:SHOWN])
        more = self.frame.width - SHOWN
        return f"columns seen: {names}" + (f" and {more} more" if more > 0 else "")

    def _drop_index(self) -> None:
        for column in self.frame.columns:
            count = self.numerals[column].values.to_list() if is_index(column) and column not in self.roles else [0.5]
            if count in ([*range(len(count))], [*range(1, len(count) + 1)]):
                self.roles[column] = "ignore"

    def _transpose(self, reading: Reading) -> None:
        """Turn a table with a row for each dataset and a column for each architecture."""
        dataset = self.find("dataset")
        others = [c for c in self.frame.columns if c != dataset and c not in self.roles]
        if dataset is None or self.find("architecture") or reading.columns or self.frame[dataset].is_duplicated().any():
            return
        if len(others) > 1 and all(is_numeric(self.numerals[c]) and not is_metric(c) for c in others):
            turned = (
                self.frame.select(others)
                .cast(pl.String)
                .transpose(
                    include_header=True,
                    header_name="architecture",
                    column_names=self.frame[dataset].cast(pl.String).to_list(),
                )
            )
            self.frame, self.roles = turned, {}
            self.numerals = {c: read_numerals(turned[c], self.comma) for c in turned.columns}

    def find(self, role: Role) -> str | None:
        """The column of a role: as told, else by its heading, the most telling first."""
        told = next((c for c, r in self.roles.items() if r == role), None)
        free = {plain(c): c for c in reversed(self.frame.columns) if c not in self.roles}
        return told or next((free[name] for name in NAMES.get(role, ()) if name in free), None)

    def _architecture(self) -> pl.Series:
        name = self.find("architecture")
        if name is None:
            text = [c for c in self.frame.columns if not is_numeric(self.numerals[c]) and c not in self.roles]
            text = [c for c in text if self.find("dataset") != c and self.find("metric") != c]
            if len(text) != 1:
                raise UsageError(
                    f"{self.path} has no column of architectures (one of: {', '.join(NAMES['architecture'][:7])}); "
                    f"{self.seen}; say --map COLUMN=architecture"
                )
            name = text[0]
        self.roles[name] = "architecture"
        keys = [c for c in self.frame.columns if plain(c) in KEYS and c not in self.roles]
        keys = [c for c in keys if not is_numeric(self.numerals[c])]
        for key in keys:
            self.roles[key] = "architecture"
        told = [c for c in self.frame.columns if c not in keys and self.roles.get(c) == "architecture"]
        parts = [pl.col(c).cast(pl.String).str.strip_chars() for c in (*told, *keys)]
        joined = self.frame.select(pl.concat_str(parts, separator=" ", ignore_nulls=True).alias("architecture"))
        found = joined["architecture"].replace("", None)
        summaries = [row for row in found.drop_nulls().unique(maintain_order=True) if plain(row) in SUMMARY_ROWS]
        if summaries:
            self.notes.append(f"{self.path}: rows that sum up others are left out: {', '.join(summaries)}")
            found = found.replace(summaries, None)
        if lost := joined["architecture"].replace("", None).is_null().sum():
            self.notes.append(f"{self.path}: {lost} rows without architecture are left out")
        return found

    def _measured(self) -> pl.Series:
        """The rows that hold results: of several measures no losses, and nothing of the training images."""
        metric = [c for c in (self.find("metric"),) if c]
        splits = [c for c in self.frame.columns if plain(c) in SPLITS and c not in self.roles]
        left = pl.Series([True] * self.frame.height, dtype=pl.Boolean)
        for columns, role, is_out in (
            (metric, "metric", is_no_result), (metric, "metric", is_loss), (splits, "ignore", is_of_training),
        ):  # fmt: skip
            for column in columns:
                left = self._without(left, column, cast(Role, role), is_out)
        return left

    def _without(self, left: pl.Series, column: str, role: Role, is_out: Callable[[str], bool]) -> pl.Series:
        """The rows ``left`` but those of which ``column`` says that they are out, unless none would stay."""
        cells = self.frame[column].cast(pl.String).fill_null("")
        out = left & pl.Series([is_out(cell) for cell in cells], dtype=pl.Boolean)
        if not out.any() or out.sum() == left.sum():
            return left
        words = ", ".join(map(repr, cells.filter(out).unique(maintain_order=True).to_list()[:SHOWN]))
        self.notes.append(f"{self.path}: {out.sum()} rows whose {column!r} is {words} are left out")
        self.roles.setdefault(column, role)
        return left & ~out

    def tidy(self, dataset_name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Rows of one architecture, dataset and seed; and the numeric columns that describe the architectures."""
        known = {r: self.find(r) for r in ("dataset", "seed", "metric", "status", "wrong", "images")}
        if known["status"] and not self._is_status(known["status"]):
            known["status"] = None
        self.roles |= {c: cast(Role, r) for r, c in known.items() if c and c not in self.roles}
        dataset, values = known["dataset"], self._values(known["dataset"] is not None)
        rows = []
        for column in values:
            read = self.numerals[column]
            name = self._names(dataset, known["metric"], column, dataset_name)
            told = self._noise(column)
            rows.append(
                pl.DataFrame(
                    {"architecture": self.architecture, "dataset": name, "value": read.values, "status": read.states}
                )
                .with_columns(noise=read.errors if told is None else told, **self._counts(known, dataset))
                .filter(self.measured)
            )
            self._tell_odd(column, read)
            if read.percent or "%" in column:
                self.percent |= set(name.drop_nulls().unique().to_list())
            if kind := metric(column):
                self.metrics |= dict.fromkeys(name.drop_nulls().unique().to_list(), kind)
        described = self._described()
        self._tell_unused()
        return _complete(pl.concat(rows)), described

    def families(self) -> pl.DataFrame:
        """``architecture`` and ``family`` of the rows that have both; maybe none."""
        if self.cluster is None:
            return pl.DataFrame(schema={"architecture": pl.String, "family": pl.String})
        family = self.frame[self.cluster].cast(pl.String).str.strip_chars().replace("", None)
        return pl.DataFrame({"architecture": self.architecture, "family": family}).drop_nulls().unique()

    def _values(self, tidy: bool) -> list[str]:
        """Columns that hold values: of a table with one metric the metric, of a wide one every dataset."""
        found = self._told_values() or self._guessed_values(tidy)
        if not found:
            lacks = "column 'error' or 'accuracy'" if tidy else "column 'dataset' nor a numeric column for each dataset"
            raise UsageError(
                f"{self.path} has {'no' if tidy else 'neither a'} {lacks}; {self.seen}; say --map COLUMN=value"
            )
        says = {self._says(column) for column in found} - {None}
        if len(says) > 1:
            raise UsageError(f"{self.path} mixes errors and accuracies ({', '.join(found)}); --map COLUMN=ignore")
        self.quantity = next(iter(says), None) or self._direction_of_metrics()
        for column in found:
            self.roles.setdefault(column, "value")
        return found

    def _told_values(self) -> list[str]:
        return [c for c, role in self.roles.items() if role in ("value", "error", "accuracy", "result")]

    def _guessed_values(self, tidy: bool) -> list[str]:
        free = [c for c in self.frame.columns if c not in self.roles and is_numeric(self.numerals[c])]
        metrics = [c for c in free if is_metric(c)]
        wide = one_of_each([c for c in free if c not in metrics and not self._is_beside(c)])
        means = [c for c in wide if plain(c).rpartition("_")[2] in SUMMARY]
        wide = [c for c in wide if c not in means or len(means) == len(wide) or self._has_noise(c)]
        if repeats := [c for c in wide if is_repeat(c)]:
            raise UsageError(
                f"{self.path}: columns {', '.join(map(repr, repeats[:SHOWN]))} look like repeats, not datasets: give "
                "each a row of its own, with a column 'seed' (where they are datasets: --map COLUMN=value)"
            )
        if not tidy and (wide or not metrics):
            return wide
        if metrics:
            return [min(metrics, key=preference)]
        value = self.find("value")
        return [value] if value else []

    def _is_beside(self, column: str) -> bool:
        """Whether a numeric column of a wide table is no dataset."""
        stem, _, last = plain(column).rpartition("_")
        an_end = f"{stem}_{OTHER_END.get(last)}" in map(plain, self.frame.columns)
        noise = bool(stem) and last in NAMES["noise"]
        told = is_attribute(column) or is_summary(column) or is_index(column) or is_no_result(column)
        return told or noise or an_end

    def _says(self, column: str) -> str | None:
        """ "error" or "accuracy", as a column's role or heading says; None when both are silent."""
        role = self.roles.get(column)
        return role if role in ("error", "accuracy") else direction(column)

    def _direction_of_metrics(self) -> str | None:
        column = self.find("metric")
        if column is None:
            return None
        metrics = self.frame[column].filter(self.measured).cast(pl.String).drop_nulls().unique().to_list()
        says = {direction(m) for m in metrics}
        if {"error", "accuracy"} <= says:
            raise UsageError(
                f"{self.path} mixes errors and accuracies ({', '.join(metrics)}): report one kind at a time"
            )
        return next(iter(says)) if len(says) == 1 else None

    def _names(self, dataset: str | None, kind: str | None, column: str, by_file: str) -> pl.Series:
        """The dataset of each row."""
        if dataset is None:
            alone = is_metric(column) or (
                self.roles[column] in ("value", "error", "accuracy") and plain(column) in NAMES["value"]
            )
            return pl.Series([by_file if alone else column] * self.frame.height, dtype=pl.String)
        names = self.frame[dataset].cast(pl.String).str.strip_chars().replace("", None)
        if lost := names.is_null().sum():
            self.notes.append(f"{self.path}: {lost} rows without dataset are left out")
        if kind is None or self.frame[kind].filter(self.measured).n_unique() < 2:
            return names
        return self.frame.select(pl.concat_str(names, pl.lit(" "), pl.col(kind).cast(pl.String))).to_series()

    def _counts(self, known: dict[str, str | None], dataset: str | None) -> dict[str, Any]:
        counts: dict[str, Any] = {}
        if known["seed"]:
            seeds = self.numerals[known["seed"]].values
            labels = self.frame[known["seed"]].cast(pl.String).rank("dense")
            counts["seed"] = seeds if seeds.is_not_null().all() else labels
        for name in ("wrong", "images") if dataset else ():
            if column := known[name]:
                counts[name] = self.numerals[column].values
        if known["status"]:
            counts["status"] = self._states(known["status"])
        return counts

    def _is_status(self, column: str) -> bool:
        """Whether a column of that heading tells what became of runs; a place's state does not."""
        told = self.frame[column].cast(pl.String).drop_nulls()
        return self.roles.get(column) == "status" or len(read_states(told)[1]) < told.n_unique()

    def _states(self, column: str) -> pl.Series:
        states, unknown = read_states(self.frame[column])
        if unknown:
            words = ", ".join(map(repr, unknown[:SHOWN]))
            self.notes.append(f"{self.path}: runs whose {column!r} is {words} count as missing (--map {column}=ignore)")
        return states

    def _noise_of(self, column: str) -> list[str]:
        """The columns whose noise one has by its heading: ``cifar_acc`` of ``cifar_acc_std`` or ``cifar_std``."""
        stem, _, last = plain(column).rpartition("_")
        if last not in NAMES["noise"] or not stem:
            return []
        others = [c for c in self.frame.columns if c != column]
        means = {stem, *(f"{stem}_{word}" for word in SUMMARY)}
        return [c for c in others if plain(c) in means] or [
            c for c in others if bare(c) == bare(stem) and (direction(c) or plain(c) == bare(c))
        ]

    def _has_noise(self, value: str) -> bool:
        return any(self._noise_of(c) == [value] for c in self.frame.columns)

    def _noise(self, value: str) -> pl.Series | None:
        beside = [c for c in self.frame.columns if self._noise_of(c) == [value]]
        alone = [c for c in (self.find("noise"),) if c]
        for column in beside or alone:
            self.roles[column] = "noise"
            return self.numerals[column].values
        return None

    def _described(self) -> pl.DataFrame:
        """One row an architecture: the mean of each numeric column that describes it."""
        free = [c for c in self.frame.columns if self.roles.get(c, "attribute") == "attribute"]
        tidy = "dataset" in self.roles.values()
        columns = [
            c
            for c in free
            if is_numeric(self.numerals[c]) and not is_metric(c) and not is_summary(c) and not is_index(c)
        ]
        columns = [c for c in columns if (tidy and not is_no_result(c)) or is_attribute(c) or self.roles.get(c)]
        self.roles |= dict.fromkeys(columns, "attribute")
        values = {c.removeprefix(ATTRIBUTE_PREFIX): self.numerals[c].values for c in columns}
        frame = pl.DataFrame({"architecture": self.architecture, **values}).filter(pl.col("architecture").is_not_null())
        return frame.group_by("architecture", maintain_order=True).agg(pl.all().mean())

    def _tell_odd(self, column: str, read: Numerals) -> None:
        if read.odd:
            shown = ", ".join(f"{self.frame[column][i]!r} ({self.architecture[i]})" for i in read.odd[:3])
            self.notes.append(f"{self.path}: {len(read.odd)} cells of {column!r} are no numbers: {shown}")
        for rows, words in ((read.brackets, "read as standard errors"), (read.unsure, "not used")):
            if rows:
                self.notes.append(
                    f"{self.path}: {len(rows)} numbers in brackets of {column!r} are {words}: "
                    f"{self.frame[column][rows[0]]!r} ({self.architecture[rows[0]]})"
                )
        if infinite := read.values.is_infinite().sum():
            self.notes.append(f"{self.path}: {infinite} infinite values count as missing")

    def _tell_unused(self) -> None:
        unused = [c for c in self.frame.columns if c not in self.roles]
        if unused:
            names = ", ".join(map(repr, unused))
            self.notes.append(f"{self.path}: columns not used: {names} (--map COLUMN=ROLE uses one)")


def _dataset_names(paths: Sequence[Path]) -> dict[Path, str]:
    """What a file's name says of its dataset: words that all names share, and a leading ``results``, say nothing."""
    stems = [re.sub(r"(?i)^results?[-_ ]", "", path.name.split(".")[0]).split("_") for path in paths]
    while len(stems) > 1 and min(map(len, stems)) > 1 and len({stem[0] for stem in stems}) == 1:
        stems = [stem[1:] for stem in stems]
    while len(stems) > 1 and min(map(len, stems)) > 1 and len({stem[-1] for stem in stems}) == 1:
        stems = [stem[:-1] for stem in stems]
    return {path: "_".join(stem) for path, stem in zip(paths, stems, strict=True)}


def _apart(parts: list[pl.DataFrame], names: list[str]) -> pl.DataFrame:
    """All files' rows; datasets that several files measure on the same architectures are told apart by file."""
    keys = [set(part.select("architecture", "dataset", "seed").iter_rows()) for part in parts]
    met = Counter(key for found in keys for key in found)
    twice = {key[1] for key, count in met.items() if count > 1}
    named = [
        part.with_columns(
            dataset=pl.when(pl.col("dataset").is_in(list(twice)))
            .then(pl.col("dataset") + f" [{name}]")
            .otherwise("dataset")
        )
        for part, name in zip(parts, names, strict=True)
    ]
    return pl.concat(named)


def _quantity(tables: Sequence[_Table], reading: Reading) -> Quantity:
    """Errors or accuracies: as told, as headings say, as a file's name says; else the user is asked."""
    said = {table.quantity or direction(table.path.name.split(".")[0]) for table in tables} - {None}
    heard = {table.quantity for table in tables} - {None}
    if reading.quantity and heard - {reading.quantity}:
        raise UsageError(f"{tables[0].path}: --{reading.quantity} contradicts its headings; {tables[0].seen}")
    if reading.quantity or len(said) == 1:
        return cast(Quantity, reading.quantity or next(iter(said)))
    if said:
        raise UsageError("some tables hold errors, others accuracies: report them one by one, or --map COLUMN=ignore")
    raise UsageError(
        f"{tables[0].path} does not say whether its values are errors or accuracies: add --error or --accuracy; "
        f"{tables[0].seen}"
    )


def _refuse_repeats(tidy: pl.DataFrame, place: str, first: _Table) -> None:
    """Raise `UsageError` when a network has two values of one dataset and seed: a mean of them could be anything."""
    keys = ["architecture", "dataset", "seed"]
    repeated = tidy.filter(pl.struct(keys).is_duplicated())
    if len(repeated):
        name, dataset = repeated.row(0)[:2]
        named = " ".join(f"--map {c}=architecture" for c, role in first.roles.items() if role == "architecture")
        raise UsageError(
            f"{place}: {name!r} has several rows on {dataset!r}; say which column tells them apart "
            f"({named} --map COLUMN=architecture for nets of their own, or COLUMN=seed for repeats); {first.seen}"
        )


def _complete(frame: pl.DataFrame) -> pl.DataFrame:
    """All columns of `SCHEMA`, and ``noise``; what is not known is null, the seed 0."""
    defaults: dict[str, Any] = {"seed": 0, "wrong": None, "images": None}
    absent = [pl.lit(value, SCHEMA[name]).alias(name) for name, value in defaults.items() if name not in frame.columns]
    frame = frame.with_columns(*absent)
    if "noise" not in frame.columns:
        frame = frame.with_columns(noise=pl.lit(None, pl.Float64))
    casts = [pl.col(name).cast(kind, strict=False) for name, kind in SCHEMA.items()]
    return frame.select(*casts, pl.col("noise").cast(pl.Float64))


def _in_percent(
    tidy: pl.DataFrame, quantity: str, reading: Reading, percents: set[str], place: str
) -> tuple[pl.DataFrame, str, list[str]]:
    """Shares become percent, dataset by dataset; percent stays; anything else has no unit."""
    spans = _spans(tidy)
    if reading.unit or not spans:
        shares = set(spans) if reading.unit == "share" else set()
        return _times_100(tidy, shares), "" if reading.unit == "none" else "%", []
    odd = [name for name, (low, high) in spans.items() if low < 0 or high > 100]
    if odd:
        cell = tidy.filter((pl.col("value") < 0) | (pl.col("value") > 100)).row(0, named=True)
        where = f"{', '.join(odd[:5])} has values outside 0..100 ({cell['value']:g} of {cell['architecture']})"
        return tidy, "", [f"{place}: {where}: no dataset is read as percent; if it stands for no value, empty the cell"]
    shares = {name for name, (_, high) in spans.items() if high <= 1 and name not in percents}
    _refuse_noise(tidy.filter(pl.col("dataset").is_in(list(shares))), place)
    said = _said_of_shares(shares, spans, quantity, place) + _said_of_small(tidy, shares, quantity, place)
    return _times_100(tidy, shares), "%", said


def _refuse_noise(shares: pl.DataFrame, place: str) -> None:
    """Raise `UsageError` for standard errors that no value between 0 and 1 can have: they are in percent."""
    beyond = shares.filter(pl.col("noise") > LARGEST_ERROR / 100)
    if len(beyond):
        name, dataset, value, noise = beyond.select("architecture", "dataset", "value", "noise").row(0)
        raise UsageError(
            f"{place}: {name} has {value:g} +- {noise:g} on {dataset}: a share with an error in percent? Write both "
            "in one unit, or leave the errors out (--map COLUMN=ignore)"
        )


def _spans(tidy: pl.DataFrame) -> dict[str, tuple[float, float]]:
    """Least and largest finite value of each dataset that has one."""
    finite = tidy.filter(pl.col("value").is_finite()).group_by("dataset", maintain_order=True)
    ends = finite.agg(pl.col("value").min().alias("low"), pl.col("value").max().alias("high"))
    return {name: (low, high) for name, low, high in ends.iter_rows()}


def _said_of_shares(shares: set[str], spans: Mapping[str, Any], quantity: str, place: str) -> list[str]:
    """What is to be said of datasets read as shares. Raises `UsageError` where errors may be shares or percent."""
    if not shares:
        return []
    if len(shares) == len(spans):
        guess = f"{place}: values of at most 1 are read as shares, times 100 (--unit percent if they are percent)"
        return [guess] if quantity == "error" else []
    if quantity == "error":
        raise UsageError(
            f"{place}: are the values of {', '.join(sorted(shares)[:3])} (at most 1) shares or percent? Others are "
            f"percent: say --unit percent, or write all in one unit"
        )
    return [f"{place}: {', '.join(sorted(shares)[:5])} read as shares, others as percent (--unit)"]


def _said_of_small(tidy: pl.DataFrame, shares: set[str], quantity: str, place: str) -> list[str]:
    """A line on accuracies of at most 1 % where half of the nets have over 20: shares, or signs for no value?"""
    usual = pl.col("value").filter(pl.col("value").is_finite()).median().over("dataset")
    small = tidy.filter(~pl.col("dataset").is_in(list(shares)) & (pl.col("value") <= 1) & (usual > 20))
    if quantity != "accuracy" or small.is_empty():
        return []
    row = small.row(0, named=True)
    first = f"{row['value']:g} of {row['architecture']} on {row['dataset']}"
    said = f"{len(small)} accuracies of at most 1 % are taken as they are, though most are far higher ({first})"
    return [f"{place}: {said}"]


def _said_of_twins(tidy: pl.DataFrame, place: str) -> list[str]:
    """A line on names that differ in case or punctuation alone: each is taken for one of its own."""
    said = []
    for role in ("dataset", "architecture"):
        names = tidy[role].unique(maintain_order=True)
        keys = names.str.to_lowercase().str.replace_all(r"[\s_\-]+", "")
        twins = pl.DataFrame({"name": names, "key": keys}).filter(pl.col("key").is_duplicated()).sort("key")
        if len(twins):
            shown = ", ".join(map(repr, twins["name"][:6]))
            said.append(f"{place}: {role}s whose names differ in spelling alone are taken as different: {shown}")
    return said


def _times_100(tidy: pl.DataFrame, shares: set[str]) -> pl.DataFrame:
    factor = pl.when(pl.col("dataset").is_in(list(shares))).then(100.0).otherwise(1.0)
    return tidy.with_columns(value=pl.col("value") * factor, noise=pl.col("noise") * factor)


def _refuse_counts(tidy: pl.DataFrame, quantity: str, place: str) -> None:
    """Raise `UsageError` for counts that cannot be, or that contradict their value."""
    share = 100 * pl.col("wrong") / pl.col("images")
    expected = share if quantity == "error" else 100 - share
    bad = tidy.filter(
        (pl.col("wrong") > pl.col("images"))
        | (pl.col("wrong") < 0)
        | (pl.col("images") <= 0)
        | ((pl.col("value") - expected).abs() > COUNTS_TOLERANCE)
    )
    if len(bad):
        row = bad.row(0, named=True)
        raise UsageError(
            f"{place}: {row['architecture']} on {row['dataset']} has {row['wrong']} wrong of {row['images']} images, "
            f"which is no {quantity} of {row['value']:g} %: "
            "mend the counts or leave their columns out (--map wrong=ignore)"
        )
