"""``python -m data_prep.webdataset``: see `data_prep.sources.webdataset`."""

from data_prep.sources.webdataset import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
