"""Where measurements come from."""

from pathlib import Path

from toolkit.analysis.measurements import Measurements
from toolkit.study.study import Study


def load(source: str) -> tuple[Measurements, Path | None]:
    """The measurements that ``source`` names, and the study's folder when it is one."""
    from toolkit.analysis.study_source import study_measurements

    study = Study.open(source)
    return study_measurements(study), study.path
