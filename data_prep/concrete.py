"""``python -m data_prep.concrete``: see `data_prep.sources.concrete`."""

from data_prep.sources.concrete import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
