"""``python -m data_prep.powerline``: see `data_prep.sources.powerline`."""

from data_prep.sources.powerline import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
