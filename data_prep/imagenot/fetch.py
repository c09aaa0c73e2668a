"""Asks servers for images: one URL to the bytes behind it, or to the reason why there are none.

Neither the URL nor the server is trusted: only http and https are followed, to public addresses (see `addresses`), and
bytes and time are bounded. Who asks is said, and what a server asks for is kept: the directives of X-Robots-Tag, a
reservation against text and data mining, robots.txt where that is wanted, and the time after which to come again.
"""

import asyncio
import re
import socket
import zlib
from collections import defaultdict
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import monotonic, time
from types import TracebackType
from typing import NoReturn, Self
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDictProxy
from protego import Protego
from yarl import URL

from data_prep.imagenot.addresses import NotPublic, RememberingResolver, connector
from data_prep.imagenot.options import Download
from data_prep.imagenot.states import DEAD, LATER, REFUSED, UNFIT, Failed

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
"""Statuses of a server that may answer another day (520 to 524: a cache that does not reach the server behind it)."""
ASKS_TO_WAIT = frozenset({429, 503})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 5
ROBOTS_BYTES = 512_000
"""What is read of a robots.txt; RFC 9309 asks for 500 KiB at least."""
PIECE, READ_AHEAD = 1 << 16, 1 << 20
WEB_PORTS = frozenset({80, 443})
FIRST_FREE_PORT = 1024
"""Below it, but for the web's two, live mail servers and the like, which are not to be talked to."""
PLAIN = re.compile(r"[!-~]+")
PRINTABLE = "".join(map(chr, range(33, 127)))


def parse(url: str) -> URL:
    """A URL that may be asked for, without password and fragment. Raises `Failed` for any other."""
    try:
        parsed = URL(url, encoded=PLAIN.fullmatch(url) is not None)  # what is quoted already stays as it is
        port = parsed.port
        if parsed.scheme not in ("http", "https"):
            raise Failed(REFUSED, f"is no http or https URL ({parsed.scheme or 'no scheme'})")
        parsed = parsed.with_user(None).with_fragment(None)
    except (ValueError, TypeError) as error:
        raise Failed(DEAD, f"is no URL ({error})") from error
    if not parsed.host:
        raise Failed(DEAD, "is no URL (no host)")
    if port not in WEB_PORTS and (port or 0) < FIRST_FREE_PORT:
        raise Failed(REFUSED, f"port {port} is not of the web")
    return parsed


def lead(url: URL, location: str) -> URL:
    """Where a redirect leads on to. Raises `Failed`."""
    if not location.isprintable():  # bytes that are no UTF-8 are asked for as they are
        location = quote(location.encode("utf-8", "surrogateescape"), safe=PRINTABLE)
    try:
        return parse(str(url.join(URL(location, encoded=PLAIN.fullmatch(location) is not None))))
    except (ValueError, TypeError) as error:
        raise Failed(DEAD, f"leads to no URL ({error})") from error


class Client:
    """Asks for bytes, as the options of download say. Use it with ``async with``."""

    def __init__(self, section: Download) -> None:
        self._section, self._agent = section, section.user_agent_header()
        self._session: aiohttp.ClientSession
        self._turns: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(section.per_host))
        self._robots: dict[URL, asyncio.Task[Protego]] = {}
        self.waits: dict[str, float] = {}
        """When (by `monotonic`) a host may be asked again that asked for a wait."""

    async def __aenter__(self) -> Self:
        silence = self._section.timeout_s
        self._resolver = RememberingResolver()
        self._session = aiohttp.ClientSession(
            connector=connector(self._resolver, self._section.threads, self._section.allow_private),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._agent, "Accept": "image/*", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, connect=silence, sock_connect=silence, sock_read=silence),
            auto_decompress=False,
            read_bufsize=READ_AHEAD,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    def forget_failures(self) -> None:
        """Look names up anew that had no address."""
        self._resolver.forget_failures()

    async def get(self, url: str) -> bytes:
        """What a URL leads to. Raises `Failed`."""
        parsed = parse(url)
        async with self._turns[parsed.host or ""]:
            return await self._bounded(parsed, self._section.max_bytes)

    async def reaches(self, url: str) -> str:
        """Why no server answers at this URL; empty when one does, whatever it says."""
        try:
            await self._bounded(parse(url), PIECE, is_image=False)
        except Failed as failed:
            return failed.reason if failed.unreachable or failed.state == REFUSED else ""
        return ""

    async def _bounded(self, url: URL, most: int, is_image: bool = True) -> bytes:
        try:
            async with asyncio.timeout(self._section.total_s):
                return await self._follow(url, most, is_image)
        except aiohttp.ClientError as error:
            _raise(error)
        except TimeoutError as error:  # aiohttp's own are ClientErrors
            raise Failed(LATER, f"took more than {self._section.total_s} s") from error
        except ValueError as error:  # a name that cannot be asked for, which the system's resolver alone knows
            raise Failed(DEAD, f"is no URL ({error})") from error
        except Failed:
            raise
        except Exception as error:  # one server's strange answer shall not end the shard
            raise Failed(LATER, f"{type(error).__name__}: {error}"[:100]) from error

    async def _follow(self, url: URL, most: int, is_image: bool) -> bytes:
        for _ in range(MOST_REDIRECTS + 1):
            if self._section.robots and is_image:
                await self._ask_robots(url)
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status not in REDIRECTS:
                    return await self._body(url, response, most, is_image)
                url = lead(url, response.headers.get("Location", ""))
        raise Failed(DEAD, f"leads on more than {MOST_REDIRECTS} times")

    async def _body(self, url: URL, response: aiohttp.ClientResponse, most: int, is_image: bool) -> bytes:
        if response.status in ASKS_TO_WAIT:
            self._note_wait(url.host or "", response.headers)
        if response.status != 200:
            raise Failed(LATER if response.status in PASSING else DEAD, f"HTTP {response.status}")
        if is_image:
            _check_permission(response.headers, self._section.directives, self._agent)
            if response.content_type == "text/html":
                raise Failed(UNFIT, "is a page (text/html)")
        return decompressed(await _read(response, most), response.headers.get("Content-Encoding", ""), most)

    def _note_wait(self, host: str, headers: Mapping[str, str]) -> None:
        """Nobody shall ask the host before the time that it names."""
        seconds = seconds_to_wait(headers.get("Retry-After", ""))
        if seconds is not None:
            self.waits[host] = monotonic() + seconds

    async def _ask_robots(self, url: URL) -> None:
        """Raise `Failed` when the host's robots.txt, read once for a shard, forbids the URL or cannot be had."""
        origin = url.origin()
        if origin not in self._robots:
            self._robots[origin] = asyncio.create_task(self._read_robots(origin))
        rules = await asyncio.shield(self._robots[origin])
        if not rules.can_fetch(str(url), self._agent.split("/")[0].split(" ")[0]):
            raise Failed(REFUSED, "robots.txt forbids it")

    async def _read_robots(self, origin: URL) -> Protego:
        """A host's rules, as RFC 9309 reads them: none where there is no such file."""
        try:
            content = await self._bounded(origin / "robots.txt", ROBOTS_BYTES, is_image=False)
        except Failed as failed:
            if failed.state not in (DEAD, UNFIT) or failed.unreachable:
                raise Failed(failed.state, f"robots.txt: {failed.reason}", failed.unreachable) from failed
            content = b""
        return Protego.parse(content.decode(errors="replace"))


def _raise(error: aiohttp.ClientError) -> NoReturn:
    """What a failure of the connection means for the URL."""
    if isinstance(error, aiohttp.ClientSSLError):
        raise Failed(DEAD, "no trusted TLS connection", unreachable=True) from error
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, NotPublic):
            raise Failed(REFUSED, str(cause)) from error
        lasting = isinstance(error, aiohttp.ClientConnectorDNSError) and is_no_such_host(cause)
        raise Failed(DEAD if lasting else LATER, cause.strerror or str(cause), unreachable=True) from error
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        raise Failed(LATER, "timed out before a connection was made", unreachable=True) from error
    if isinstance(error, aiohttp.InvalidURL):
        raise Failed(REFUSED, "is no URL, or an address in a form that hides it") from error
    text = "timed out" if isinstance(error, TimeoutError) else " ".join(str(error).split())[:100]
    raise Failed(LATER, text or type(error).__name__) from error


def is_no_such_host(error: OSError) -> bool:
    """Whether name servers say that there is no such name, not that they cannot tell."""
    return error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    pieces, size = [], response.content_length or 0
    if size <= most:
        size = 0
        async for piece in response.content.iter_chunked(PIECE):
            pieces.append(piece)
            if (size := size + len(piece)) > most:
                break
    if size > most:
        response.close()  # the rest is not wanted
        raise Failed(UNFIT, f"has more than {most:,} bytes")
    return b"".join(pieces)


def decompressed(body: bytes, encoding: str, most: int) -> bytes:
    """The body of a server that compresses unasked. Raises `Failed` for more than ``most`` bytes, or damage."""
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "x-gzip", "deflate"):
        raise Failed(UNFIT, f"Content-Encoding {encoding[:20]}")
    try:
        content = zlib.decompressobj(wbits=47).decompress(body, most + 1)  # 47: finds out whether zlib or gzip
    except zlib.error as error:
        raise Failed(UNFIT, f"Content-Encoding {encoding}: {error}") from error
    if len(content) > most:
        raise Failed(UNFIT, f"has more than {most:,} bytes")
    return content


def seconds_to_wait(retry_after: str) -> float | None:
    """What a Retry-After header asks for, seconds or a date; None when it says neither.

    >>> seconds_to_wait("120"), seconds_to_wait("Fri, 01 Jan 1999 00:00:00 GMT"), seconds_to_wait("soon")
    (120.0, 0.0, None)
    """
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time())
    except (ValueError, OverflowError):
        return None


def _check_permission(headers: CIMultiDictProxy[str], directives: tuple[str, ...], agent: str) -> None:
    """Raise `Failed` when the server keeps the image from those who collect it."""
    if headers.get("TDM-Reservation", "").strip() == "1":
        raise Failed(REFUSED, "TDM-Reservation")
    said = {directive for value in headers.getall("X-Robots-Tag", ()) for directive in _for_us(value, agent)}
    if "none" in said:  # short for these
        said |= {"noindex", "nofollow"}
    if forbidden := sorted(said & set(directives)):
        raise Failed(REFUSED, f"X-Robots-Tag {', '.join(forbidden)}")


def _for_us(value: str, agent: str) -> list[str]:
    """The directives of an X-Robots-Tag that meet us: those of no robot by name, of all (``*``), or of ours."""
    name, colon, rest = value.lower().partition(":")
    if colon and "," not in name and name.strip() != "unavailable_after":
        if name.strip() not in ("*", re.split(r"[/ ]", agent.lower())[0]):
            return []
        value = rest
    return [directive.strip() for directive in value.lower().split(",")]
