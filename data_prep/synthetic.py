"""``python -m data_prep.synthetic``: see `data_prep.sources.synthetic`."""

from data_prep.sources.synthetic import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
