"""``python -m data_prep.mlc2008``: see `data_prep.sources.mlc2008`."""

from data_prep.sources.mlc2008 import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
