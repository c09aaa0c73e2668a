"""Where measurements come from: a study, tables in files, a shipped reference."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.study_source import study_measurements
from toolkit.analysis.table_source import Reading, reference_measurements, table_measurements
from toolkit.errors import UsageError
from toolkit.names import unknown
from toolkit.references import reference_names
from toolkit.study.study import Study, study_path

SUFFIXES = (
    ".csv", ".tsv", ".txt", ".parquet", ".xlsx", ".xls", ".json", ".jsonl", ".ndjson", ".md", ".gz", ".bz2", ".xz",
)  # fmt: skip


def load(sources: Sequence[str], reading: Reading | None = None) -> tuple[Measurements, Path | None]:
    """The measurements that ``sources`` name, and the study's folder when it is one.

    Several files of tables are read as one, by what ``reading`` says of them. Raises `UsageError` for what is no
    source, with the nearest names, and for a ``reading`` of what says itself how it is read.
    """
    files = [Path(source) for source in sources if Path(source).is_file() or Path(source).suffix.lower() in SUFFIXES]
    if files and len(files) == len(sources):
        return table_measurements(files, reading), None
    if len(sources) > 1:
        raise UsageError(f"several sources must all be files ({', '.join(SUFFIXES)}): {', '.join(sources)}")
    name = sources[0]
    if reading and reading != Reading():
        raise UsageError(
            f"--accuracy, --error, --unit and --map are for tables; {name} says itself what its values are"
        )
    if name in reference_names() and not study_path(name).exists():
        return reference_measurements(name), None
    study = _open_study(name)
    data = study_measurements(study)
    return replace(data, name=study.name), study.path


def _open_study(name: str) -> Study:
    if not study_path(name).is_dir():
        studies = [path.parent.name for path in study_path(name).parent.glob("*/tasks")]
        advice = f"(studies in {study_path(name).parent}, shipped references, or {', '.join(SUFFIXES)} files)"
        raise unknown("source", name, [*studies, *reference_names()], advice)
    return Study.open(name)
