"""``python -m data_prep.imagenet``: see `data_prep.sources.imagenet`."""

from data_prep.sources.imagenet import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
