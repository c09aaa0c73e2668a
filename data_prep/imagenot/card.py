"""The data card: what the dataset is, how it was made, what may be wrong with it, and how to have an image removed."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from data_prep.imagenot.build import Build, read_record
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
        "\n".join(_columns_table(build)),
        _filters(build),
        "## Known risks",
        "- Labels come from captions: some images do not show their class, and how many is not known.\n"
        "- Safety tags are a classifier's guess: images that offend, that show people, or that are unlawful where you "
        "are may be among these.\n"
        "- The web is not the world: languages, regions and kinds of picture are as uneven here as there.\n"
        "- Links die, so a later build of the same options differs; the content hash says which one this is.",
        "## Licence",
        "Each image keeps the licence of the page it comes from; `urls.csv` has what LAION says of it. The images are "
        "not to be passed on; the options and the URLs may be.",
        "## Takedown",
        "`urls.csv` gives the URL and the hash of every sample id. To take images down, put their ids, URLs or hashes "
        f"into a file, one a line. `python -m data_prep.imagenot takedown {build.path.name} --listed FILE` removes "
        "them and their copies from the build, and writes this set anew.",
    ]
    return "\n\n".join(parts) + "\n"


def _funnel_table(funnel: "Mapping[str, Mapping[str, int]]") -> "Iterator[str]":
    yield "| stage | count | |\n|---|---|---|"
    for stage, counts in funnel.items():
        for name, count in counts.items():
            yield f"| {stage} | {name.replace('_', ' ')} | {count:,} |"


def _columns_table(build: Build) -> "Iterator[str]":
    """What was filtered by which columns of the sources, and which filters had none."""
    section, found = build.options.match, _found(build)
    yield "| filter | keeps | by the columns | in |\n|---|---|---|---|"
    filters = {
        "safety tag": (("nsfw",), ", ".join(section.safe)),
        "unsafe score": (("punsafe",), f"at most {section.max_punsafe}" if section.max_punsafe < 1 else ""),
        "language": (("language",), ", ".join(section.languages)),
        "size": (("width", "height"), f"{section.min_side} pixels" if section.min_side else ""),
        "same file as in the metadata": (("sha256", "md5"), "equal" if build.options.download.verify else ""),
    }
    for name, (columns, keeps) in filters.items():
        having = [source for source in found if any(column in source for column in columns)]
        own = sorted({each for source in having for column in columns for each in source.get(column, ())})
        share = f"{len(having)} of {len(found)} sources" if having else "**none: nothing was filtered by it**"
        shown = f"{', '.join(own)} | {share}" if keeps else "| not asked for"
        yield f"| {name} | {keeps or 'all'} | {shown if found else '| not recorded: version 0.1 matched'} |"


def _found(build: Build) -> "list[Mapping[str, Sequence[str]]]":
    """Of each source the columns that were gone by, as the stage match kept them."""
    return [read_record(path) for path in sorted(build.room("match").glob("columns-*.json"))]


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
