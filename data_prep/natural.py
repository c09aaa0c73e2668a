"""``python -m data_prep.natural``: see `data_prep.sources.natural`."""

from data_prep.sources.natural import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
