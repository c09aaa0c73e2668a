"""``python -m data_prep.insects``: see `data_prep.sources.insects`."""

from data_prep.sources.insects import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
