"""``python -m data_prep.ham10000``: see `data_prep.sources.ham10000`."""

from data_prep.sources.ham10000 import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
