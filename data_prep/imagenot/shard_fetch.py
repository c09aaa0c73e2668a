"""Fetches the images of one shard: many requests at a time on one thread, decoding and encoding on a second."""

import asyncio
import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import NamedTuple

from data_prep.imagenot.blocklist import Blocklist
from data_prep.imagenot.fetch import Client, parse
from data_prep.imagenot.options import Download
from data_prep.imagenot.outage import Breaker
from data_prep.imagenot.states import CHANGED, LATER, REFUSED, SUCCESS, UNFIT, Failed
from toolkit.imagefile.format import BadImage
from toolkit.imagefile.images import encode, opened
from toolkit.study.dataset import Encoding

BLOCKED = "is on the blocklist"


class Wanted(NamedTuple):
    """An image to ask for, by the metadata."""

    url: str
    id: str | None = None
    """The metadata's own."""
    sha256: str | None = None
    md5: str | None = None


class Picture(NamedTuple):
    """An image as it is kept, and the hashes of the file as it came."""

    content: bytes
    width: int
    height: int
    sha256: str
    md5: str | None
    """Where something compares it: the metadata, or a blocklist."""


class Outcome(NamedTuple):
    """What became of a URL."""

    status: str
    error_message: str | None = None
    width: int | None = None
    height: int | None = None
    sha256: str | None = None
    md5: str | None = None


def fetch(
    wanted: Sequence[Wanted], section: Download, blocked: Blocklist, keep: Callable[[int, Picture], None]
) -> list[Outcome]:
    """Ask for all; ``keep`` is handed each image that came, with its number in ``wanted``.

    Raises `Outage` when the network is down, and what ``keep`` raises.
    """
    return asyncio.run(_Shard(wanted, section, blocked, keep).run())


class _Shard:
    """The fetching of one shard."""

    def __init__(
        self, wanted: Sequence[Wanted], section: Download, blocked: Blocklist, keep: Callable[[int, Picture], None]
    ) -> None:
        self._wanted, self._section, self._blocked, self._keep = wanted, section, blocked, keep
        self._outcomes = [Outcome(LATER)] * len(wanted)

    async def run(self) -> list[Outcome]:
        """Ask for all, then again for those that failed for passing reasons."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(self._section.threads))  # names are looked up there
        with ThreadPoolExecutor(1) as self._decoder:
            async with Client(self._section) as self._client:
                self._breaker = Breaker(self._section.max_unreachable, self._section.probe, self._client.reaches)
                await self._breaker.begin()
                for attempt in range(1 + self._section.retries):
                    await self._ask(self._passing(), is_again=attempt > 0)
                await self._breaker.end()
        return self._outcomes

    def _passing(self) -> list[int]:
        return [number for number, outcome in enumerate(self._outcomes) if outcome.status == LATER]

    async def _ask(self, numbers: Iterable[int], is_again: bool) -> None:
        """Ask for these, so many at a time as the options say."""
        self._client.forget_failures()
        turn = iter(numbers)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._section.threads):
                    group.create_task(self._work(turn, is_again))
        except ExceptionGroup as several:
            raise several.exceptions[0] from None  # the others are cancelled for it

    async def _work(self, turn: Iterator[int], is_again: bool) -> None:
        for number in turn:
            wanted = self._wanted[number]
            host = host_of(wanted.url)
            try:
                picture = await self._fetch(wanted, host, is_again)
            except Failed as failed:
                self._outcomes[number] = Outcome(failed.state, failed.reason)
                if failed.state != REFUSED and self._breaker.note(host, failed.unreachable):
                    await self._breaker.stop()
                continue
            self._breaker.note(host, lost=False)
            self._keep(number, picture)
            self._outcomes[number] = Outcome(SUCCESS, None, *picture[1:])

    async def _fetch(self, wanted: Wanted, host: str, is_again: bool) -> Picture:
        """Ask for one image. Raises `Failed`."""
        if self._blocked.names(*wanted):
            raise Failed(REFUSED, BLOCKED)
        wait = self._client.waits.get(host, 0) - monotonic()
        if wait > (self._section.patience_s if is_again else 0):
            raise Failed(LATER, "the host asks to come later")
        await asyncio.sleep(max(wait, 0))
        body = await self._client.get(wanted.url)
        return await self._loop.run_in_executor(self._decoder, prepare, body, wanted, self._section, self._blocked)


def host_of(url: str) -> str:
    """The host that a URL names, for counting; empty where it names none."""
    try:
        return parse(url).host or ""
    except Failed:
        return ""


def prepare(body: bytes, wanted: Wanted, section: Download, blocked: Blocklist) -> Picture:
    """The image in a file as it shall be kept: upright, its shorter side no longer than ``image_size``.

    Raises `Failed` for what is blocked, is another file than the metadata's, or is no image.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest() if wanted.md5 or blocked.entries else None
    if blocked.names(sha256, md5):
        raise Failed(REFUSED, BLOCKED)
    for name, is_, should_be in (("SHA-256", sha256, wanted.sha256), ("MD5", md5, wanted.md5)):
        if section.verify and should_be and should_be.lower() != is_:
            raise Failed(CHANGED, f"its {name} is not the metadata's")
    encoding = Encoding(max_resolution=section.image_size, side="shortest", jpeg_quality=section.quality)
    try:
        _check_pixels(body, section.max_pixels)
        image = encode(body, encoding)
    except BadImage as error:
        raise Failed(UNFIT, str(error)) from error
    except Exception as error:  # a decoder may raise anything on a damaged file
        raise Failed(UNFIT, f"{type(error).__name__}: {error}"[:200]) from error
    return Picture(image.data, image.width, image.height, sha256, md5)


def _check_pixels(body: bytes, most: int) -> None:
    """Raise `BadImage` for an image of too many pixels, by its header."""
    with warnings.catch_warnings(action="ignore"), opened(body) as image:
        if image.width * image.height > most:
            raise BadImage(f"has {image.width} x {image.height} pixels; at most {most:,} are decoded")
