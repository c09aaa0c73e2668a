"""``python -m data_prep.cifar``: see `data_prep.sources.cifar`."""

from data_prep.sources.cifar import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
