"""HAM10000: pigmented skin lesions in seven diagnoses (Tschandl, Rosendahl, Kittler 2018).

Where from:  Harvard Dataverse, doi:10.7910/DVN/DBW86T (also Kaggle, kmader/skin-cancer-mnist-ham10000)
Licence:     CC BY-NC 4.0
Expects:     ROOT/HAM10000_metadata.csv (or .tab, or without ending) with the columns image_id and dx, and IMAGE_ID.jpg
             anywhere below ROOT, usually in HAM10000_images_part_1/ and _2/; 10,015 images of 600 x 450 pixels

There is no validation split: 10% of each class are held out, image by image as in the study: lesions that
have several images (column lesion_id) may lie on both sides. Images shrink to 296 pixels on their shortest side (the
study's size; that it is the shortest side is our choice).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source
from data_prep.storage.samples import Files
from toolkit.errors import UsageError

CLASSES = {
    "akiec": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
COPIES, UNNAMED = "copies of an image", "images that the table does not name"
TABLES = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
SOURCE = Source(
    name="ham10000",
    title="HAM10000 skin lesions",
    origin="Tschandl et al. 2018, The HAM10000 dataset, doi:10.7910/DVN/DBW86T; CC BY-NC 4.0",
    shortest_side=296,
)


def main(argv: Sequence[str]) -> int:
    """Write the dataset."""
    args = sources.options("ham10000", __doc__, SOURCE).parse_args(argv)
    return sources.run(args, SOURCE, lambda: find(args.root))


def find(root: Path) -> Found:
    """The images that the table names, labelled by its column dx, in the table's order."""
    diagnoses = _diagnoses(root)
    images, passed_over = sources.images_below(root)
    lies_at = {Path(name).stem: name for name in images}  # of copies in several folders one is read
    if missing := [image for image in diagnoses if image not in lies_at]:
        raise sources.wrong_layout(root, f"{missing[0]}.jpg ({len(missing)} of {len(diagnoses)} images are missing)")
    labels = [list(CLASSES).index(diagnosis) for diagnosis in diagnoses.values()]
    names = [lies_at[image] for image in diagnoses]
    passed_over += Counter({COPIES: len(images) - len(lies_at), UNNAMED: len(lies_at) - len(names)})
    return Found({"train": Files(root, names, labels, passed_over)}, tuple(CLASSES), tuple(CLASSES.values()))


def _diagnoses(root: Path) -> dict[str, str]:
    """Diagnosis by image id."""
    table = sources.first_of(root, *TABLES)
    if table is None:
        raise sources.wrong_layout(root, " or ".join(TABLES))
    rows = sources.rows_of(table, ("image_id", "dx"))
    if strange := {row["dx"] for row in rows} - CLASSES.keys():
        raise UsageError(f"{table}: dx is one of {', '.join(CLASSES)}; found {', '.join(sorted(map(str, strange)))}")
    return {row["image_id"]: row["dx"] for row in rows}
