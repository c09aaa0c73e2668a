"""``python -m data_prep.imagefolder``: see `data_prep.sources.imagefolder`."""

from data_prep.sources.imagefolder import main
from toolkit.cli import run

if __name__ == "__main__":
    run(main)
