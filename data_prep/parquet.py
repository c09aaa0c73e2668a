"""``python -m data_prep.parquet``: see `data_prep.sources.parquet`."""

from data_prep.sources.parquet import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
