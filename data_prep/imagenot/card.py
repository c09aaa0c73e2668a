"""The data card: what the dataset is, how it was made, what may be wrong with it, and how to have an image removed."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from data_prep.imagenot.build import Build
from data_prep.imagenot.stages.classes import Class
from toolkit.study.dataset import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FUNNEL = ("classes", "match", "score", "select", "download", "clean")
"""The stages whose counts a manifest records."""


def render(manifest: Manifest, build: Build, classes: Sequence[Class]) -> str:
    """The card as Markdown."""
    options = build.options
    funnel: Mapping[str, Mapping[str, int]] = manifest.provenance["funnel"]
    parts = [
        f"# {manifest.name}",
        f"{sum(s.samples for s in manifest.splits.values()):,} images of {len(classes):,} WordNet noun classes, "
        "found in LAION's metadata by their captions alone; no person has looked at a label. The construction follows "
        "ImageNot (arXiv 2404.02112) and LAIONet (arXiv 2306.15769).",
        "## Sources",
        "\n".join(f"- `{without_secrets(source)}`" for source in options.match.sources),
        "## From rows to images",
        "\n".join(_funnel_table(funnel)),
        "## Filters",
        _filters(build),
        "## Known risks",
        "- Labels come from captions: some images do not show their class, and how many is not known.\n"
        "- LAION's safety tags are a classifier's guess: images that offend, or that show people, may be among these.\n"
        "- The web is not the world: languages, regions and kinds of picture are as uneven here as there.\n"
        "- Links die, so a later build of the same options differs; the content hash says which one this is.",
        "## Licence",
        "Each image keeps the licence of the page it comes from; `urls.csv` has what LAION says of it. The images are "
        "not to be passed on; the options and the URLs may be.",
        "## Takedown",
        "`urls.csv` gives the URL of every sample id. To leave images out, put their ids or URLs into a file, one a "
        f"line, and write the set again: `python -m data_prep.imagenot write {build.path.name} --set exclude=FILE "
        "--overwrite`.",
    ]
    return "\n\n".join(parts) + "\n"


def _funnel_table(funnel: "Mapping[str, Mapping[str, int]]") -> "Iterator[str]":
    yield "| stage | count | |\n|---|---|---|"
    for stage, counts in funnel.items():
        for name, count in counts.items():
            yield f"| {stage} | {name.replace('_', ' ')} | {count:,} |"


def _filters(build: Build) -> str:
    sections = build.options.model_dump(mode="json", include={"match", "score", "select", "clean"})
    sections["match"].pop("sources")
    lines = (f"- {stage}: " + ", ".join(f"{k} {v}" for k, v in section.items()) for stage, section in sections.items())
    return "\n".join(lines)


def without_secrets(source: str) -> str:
    """A source without its password and without its query, in which signatures stand (``?X-Amz-Signature=...``).

    >>> without_secrets("https://me:secret@host.example/laion/part-0.parquet?token=abc")
    'https://host.example/laion/part-0.parquet'
    """
    if "://" not in source:
        return source
    scheme, _, rest = source.partition("://")
    place, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"
