"""A web server on loopback that does what servers on the web do, and worse."""

import gzip
import io
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

from PIL import Image

from tests.imagenot.laion import picture

PIECE = b"x" * 100_000


class Nasty(BaseHTTPRequestHandler):
    """``/KIND`` or ``/KIND?ARGUMENT`` answers as the method of that name says."""

    protocol_version = "HTTP/1.1"
    asked: list[str]
    headers_seen: list[dict[str, str]]
    sent: dict[str, int]
    """Bytes that the client took, by kind."""
    is_down: bool
    """Whether every answer is 503."""

    def do_GET(self) -> None:
        place = urlparse(self.path)
        kind = unquote(place.path).strip("/").partition(".")[0].replace("-", "_")
        type(self).asked.append(self.path)
        type(self).headers_seen.append(dict(self.headers))
        self.kind, self.close_connection = kind, True
        if type(self).is_down:
            return self.answer(b"", status=503)
        handler: Callable[[str], None] = getattr(self, f"_{kind}", lambda _: self.answer(b"", status=404))
        return handler(unquote(place.query))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, content: bytes, kind: str = "image/jpeg", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        headers = {"Content_Type": kind, "Content_Length": str(len(content))} | headers
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def _image(self, seed: str) -> None:
        self.answer(picture(int(seed or 0)))

    def _huge(self, _: str) -> None:
        """Says 500 MB, and sends them."""
        self._stream(Content_Length="500000000")

    def _endless(self, _: str) -> None:
        """Says nothing of its length, and sends as long as somebody takes it."""
        self._stream()

    def _stream(self, **headers: str) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        for _ in range(5000):
            try:
                self.wfile.write(PIECE)
            except OSError:
                return
            type(self).sent[self.kind] = type(self).sent.get(self.kind, 0) + len(PIECE)

    def _trickle(self, _: str) -> None:
        """A byte, time and again: never silent, never done."""
        self.send_response(200)
        self.send_header("Content-Length", "800")
        self.end_headers()
        for _ in range(800):
            try:
                self.wfile.write(b"\xff")
            except OSError:
                return
            time.sleep(0.1)

    def _half(self, _: str) -> None:
        self.answer(picture(1)[:500], Content_Length="5000")

    def _many_pixels(self, side: str) -> None:
        self.answer(many_pixels(int(side)), "image/png")

    def _bomb(self, _: str) -> None:
        self.answer(bomb(), Content_Encoding="gzip")

    def _zipped(self, seed: str) -> None:
        self.answer(gzip.compress(picture(int(seed))), Content_Encoding="gzip")

    def _turned(self, _: str) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        file = io.BytesIO()
        left_red = Image.new("RGB", (60, 40), "blue")
        left_red.paste("red", (0, 0, 30, 40))
        left_red.save(file, "JPEG", exif=exif, quality=95)
        self.answer(file.getvalue())

    def _to(self, url: str) -> None:
        self.answer(b"", status=302, Location=url.encode().decode("latin-1"))

    def _to_latin(self, url: str) -> None:
        self.answer(b"", status=302, Location=url)

    def _loop(self, _: str) -> None:
        self.answer(b"", status=301, Location="/loop")

    def _busy(self, _: str) -> None:
        """Asks to come again in a second, the first time."""
        first = self.asked.count(self.path) == 1
        self.answer(b"", status=429, Retry_After="1") if first else self._image("3")

    def _closed(self, _: str) -> None:
        self.answer(b"", status=503, Retry_After="3600")

    def _reserved(self, _: str) -> None:
        self.answer(picture(1), TDM_Reservation="1")

    def _tagged(self, value: str) -> None:
        self.answer(picture(1), X_Robots_Tag=value)

    def _page(self, _: str) -> None:
        self.answer(b"<html>" * 9, "text/html; charset=utf-8")

    def _empty(self, _: str) -> None:
        self.answer(b"")

    def _silent(self, _: str) -> None:
        """No answer at all."""

    def _noise(self, _: str) -> None:
        self.wfile.write(b"\x00\xff this is not HTTP \r\n\r\n" * 9)

    def _headers(self, _: str) -> None:
        self.answer(picture(1), **{f"X_{i}": "y" * 9000 for i in range(20)})

    def _robots(self, _: str) -> None:
        self.answer(b"User-agent: *\nDisallow: /image?1\n", "text/plain")

    def _grün_weiß(self, _: str) -> None:
        self._image("4")


@lru_cache
def bomb() -> bytes:
    """60 MB in 60 kB."""
    return gzip.compress(bytes(60_000_000))


@lru_cache
def many_pixels(side: int) -> bytes:
    """A PNG of grey pixels in less than a MB: with a side of 30,000 it takes 900 MB when it is decoded."""
    packer = zlib.compressobj(9)
    first = packer.compress(bytes(side + 1)) + packer.flush(zlib.Z_FULL_FLUSH)
    row = packer.compress(bytes(side + 1)) + packer.flush(zlib.Z_FULL_FLUSH)
    header = side.to_bytes(4) * 2 + bytes([8, 0, 0, 0, 0])
    chunks = [(b"IHDR", header), (b"IDAT", first + row * (side - 1)), (b"IEND", b"")]
    packed = (len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4) for name, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@contextmanager
def nasty(address: str = "127.0.0.1") -> Iterator[tuple[str, type[Nasty]]]:
    """The server: its address, and the handler that says what it was asked for."""
    handler = type("Handler", (Nasty,), {"asked": [], "headers_seen": [], "sent": {}, "is_down": False})
    server = ThreadingHTTPServer((address, 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
