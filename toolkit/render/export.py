"""Tables as files: CSV and Parquet."""

from pathlib import Path

from toolkit.analysis.table import Table
from toolkit.files import atomic


def write_tables(tables: list[Table], folder: Path) -> list[Path]:
    """Write every table into ``folder`` and return the files."""
    written = []
    for item in tables:
        for suffix in ("csv", "parquet"):
            path = folder / f"{item.name}.{suffix}"
            with atomic(path) as temporary:
                item.frame.write_csv(temporary) if suffix == "csv" else item.frame.write_parquet(temporary)
            written.append(path)
    return written
