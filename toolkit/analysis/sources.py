"""Where measurements come from: a study, tables in files, a shipped reference."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.analysis.measurements import Measurements
from toolkit.errors import UsageError
from toolkit.names import unknown
from toolkit.references import reference_names
from toolkit.study.study import Study, study_path

SUFFIXES = (".csv", ".tsv", ".parquet")


def load(sources: Sequence[str], quantity: str = "error") -> tuple[Measurements, Path | None]:
    """The measurements that ``sources`` name, and the study's folder when it is one.

    Several files of tables are read as one. ``quantity`` says what the values of a wide table are; a tidy one's
    column says it itself. Raises `UsageError` for what is no source, with the nearest names.
    """
    from toolkit.analysis.study_source import study_measurements
    from toolkit.analysis.table_source import reference_measurements, table_measurements

    files = [Path(source) for source in sources if Path(source).suffix in SUFFIXES]
    if files and len(files) == len(sources):
        return table_measurements(files, quantity), None
    if len(sources) > 1:
        raise UsageError(f"several sources must all be files ({', '.join(SUFFIXES)}): {', '.join(sources)}")
    name = sources[0]
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
