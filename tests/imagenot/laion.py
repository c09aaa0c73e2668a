"""Made metadata in LAION's form, and a web server of images, some of which are not there, not images, or too late."""

import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import numpy as np
import polars as pl
from PIL import Image

from data_prep.imagenot.options import Classes
from data_prep.imagenot.stages.classes import find_classes
from data_prep.wordnet import Synset, WordNet
from tests import conftest

WORDNET = WordNet(conftest.WORDNET)
TINTS = np.array([[120, 0, 0], [0, 120, 0], [0, 0, 120], [60, 60, 0]], np.uint8)
IMAGENOT = find_classes(Classes(), WORDNET)


def rows(captions: Sequence[str | None], url: str = "http://127.0.0.1:9/{i}", **columns: object) -> pl.DataFrame:
    """A table with LAION-5B's columns; ``columns`` overrides them."""
    n = len(captions)
    table: dict[str, object] = {
        "SAMPLE_ID": np.arange(n) * 7.0 + 1e9,
        "URL": [url.format(i=i) for i in range(n)],
        "TEXT": list(captions),
        "HEIGHT": [300] * n,
        "WIDTH": [400] * n,
        "LICENSE": ["?"] * n,
        "NSFW": ["UNLIKELY"] * n,
        "similarity": [0.31] * n,
    }
    return pl.DataFrame(table | columns, strict=False)


def gloss_captions(synsets: Sequence[Synset], n: int, seed: int = 0) -> list[str]:
    """Captions from real lemmas and glosses."""
    rng = np.random.default_rng(seed)
    chosen = (synsets[i] for i in rng.integers(len(synsets), size=n))
    return [f"{s.lemmas[0].title()}: {s.definition[: rng.integers(15, 90)]}" for s in chosen]


def picture(seed: int, size: int = 96, quality: int = 90) -> bytes:
    """A JPEG of coloured blocks; the seed says which, and each thousand of seeds has its own tint, to be learnt."""
    blocks = np.random.default_rng(seed).integers(0, 128, (6, 6, 3), np.uint8) + TINTS[seed // 1000]
    file = io.BytesIO()
    Image.fromarray(blocks).resize((size, size), Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return file.getvalue()


class Web(BaseHTTPRequestHandler):
    """``/KIND?seed=N`` answers with picture N, or with what the kind says."""

    asked: list[str]

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        place = urlparse(self.path)
        seed = int(parse_qs(place.query).get("seed", ["0"])[0])
        getattr(self, f"_{place.path.strip('/')}", self._missing)(seed)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, content: bytes, kind: str = "image/jpeg", **headers: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def _image(self, seed: int) -> None:
        self._answer(picture(seed))

    def _copy(self, seed: int) -> None:
        """The same picture for several addresses, of other bytes each."""
        self._answer(picture(seed // 1000 * 1000 + 777, quality=60 + seed % 1000))

    def _sorry(self, _seed: int) -> None:
        """What stands in place of images that are gone."""
        self._answer(picture(3333))

    def _tiny(self, seed: int) -> None:
        self._answer(picture(seed, size=20))

    def _corrupt(self, seed: int) -> None:
        self._answer(picture(seed)[:30])

    def _page(self, _seed: int) -> None:
        self._answer(b"<html>not an image</html>", "text/html")

    def _noai(self, seed: int) -> None:
        self._answer(picture(seed), X_Robots_Tag="noai")

    def _moved(self, seed: int) -> None:
        self.send_response(302)
        self.send_header("Location", f"/image?seed={seed}")
        self.end_headers()

    def _slow(self, seed: int) -> None:
        time.sleep(20)
        self._image(seed)

    def _missing(self, _seed: int) -> None:
        self.send_error(404)


@contextmanager
def web() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine: its address, and the list of what it was asked for."""
    handler = type("Handler", (Web,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
