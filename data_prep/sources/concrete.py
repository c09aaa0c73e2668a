"""Concrete: cracks in concrete surfaces, yes or no (Ozgenel 2019).

Where from:  Mendeley Data, "Concrete Crack Images for Classification", doi:10.17632/5y9wdsg2zt.2
Licence:     CC BY 4.0
Expects:     ROOT/Negative/*.jpg and ROOT/Positive/*.jpg, as the archive unpacks; 20,000 images of 227 x 227 pixels each

There is no validation split: 10% of each class are held out. The images pass through as they are.
"""

from collections.abc import Sequence

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source

CLASSES = ("Negative", "Positive")
SOURCE = Source(
    name="concrete",
    title="Concrete crack images",
    origin="Ozgenel 2019, Concrete Crack Images for Classification, doi:10.17632/5y9wdsg2zt.2; CC BY 4.0",
)


def main(argv: Sequence[str]) -> int:
    """Write the dataset."""
    args = sources.options("concrete", __doc__, SOURCE).parse_args(argv)
    return sources.run(args, SOURCE, lambda: Found({"train": sources.classes_below(args.root, CLASSES)}, CLASSES))
