"""Read a Parquet or Excel file in a process of its own, whose memory is bounded: a kilobyte of either can ask for
hundreds of gigabytes, whatever the file says of its size, and then ends the process that reads it.

    python -P confined.py parquet|excel BYTES <FILE >TABLES

What it writes is one length and one Arrow file for each table. It imports nothing of this project.
"""

import io
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

STATUS = Path("/proc/self/status")


def main(kind: str, most: str) -> None:
    """Read the standard input, and write its tables, each with its name."""
    pl.DataFrame({"x": ["a", "b"]}).lazy().group_by("x").len().collect()  # the library's threads are there now
    _bound(int(most))
    raw = io.BytesIO(sys.stdin.buffer.read())
    for name, frame in _tables(kind, raw):
        text = [column for column, of in frame.schema.items() if of == pl.String]
        if sum(frame[column].str.len_bytes().sum() for column in text) > int(most):
            raise ValueError(f"its text has more than {int(most) >> 20} MiB")
        packed = frame.write_ipc(None).getvalue()
        for part in (name.encode(), packed):
            sys.stdout.buffer.write(len(part).to_bytes(8, "big") + part)


def _bound(most: int) -> None:
    """Let this process take so many more bytes of memory than it has. Only Linux tells how many these are."""
    if not STATUS.exists():
        return
    has = next(int(line.split()[1]) << 10 for line in STATUS.read_text().splitlines() if line.startswith("VmData"))
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = has + most if hard == resource.RLIM_INFINITY else min(has + most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _tables(kind: str, raw: io.BytesIO) -> Iterator[tuple[str, pl.DataFrame]]:
    if kind == "parquet":
        yield "", pl.read_parquet(raw)
    else:
        yield from pl.read_excel(raw, sheet_id=0, infer_schema_length=None, raise_if_empty=False).items()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # of damaged bytes the libraries raise errors of their own
        sys.exit((str(error) or type(error).__name__).splitlines()[0])
