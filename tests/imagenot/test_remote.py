"""Metadata in remote storage, served on this machine as S3 and as a hub do; credentials from the environment alone."""

import io
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data_prep.imagenot.__main__ import main
from data_prep.imagenot.build import Build
from tests.conftest import real_part
from tests.imagenot.laion import IMAGENOT, rows
from tests.imagenot.small import command
from toolkit.errors import UsageError

KEY, SECRET = "AKIATHISISTHEKEY0000", "this/is+the+secret"
TOKEN = "hf_thisisthetoken"
CAPTIONS = [f"a {synset.lemmas[0]}" for synset in IMAGENOT[:50]]


def assert_unsaid(secrets: tuple[str, ...], build: Path, said: str) -> None:
    """No secret in what a build leaves or says."""
    written = b"".join(path.read_bytes() for path in build.rglob("*") if path.is_file())
    for secret in secrets:
        assert secret not in said and secret.encode() not in written


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A folder of a bucket with two tables, and the headers by which the server is asked."""
    try:
        from moto.server import ThreadedMotoServer
        from s3fs import S3FileSystem
    except ImportError as error:
        real_part(f"{error.name}, for an S3 server,", "make setup")
    signed: list[str] = []
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {"ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET, "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    served = server._server.app  # what the server calls for each request

    def listening(environ: dict[str, str], start: object) -> object:
        signed.append(environ.get("HTTP_AUTHORIZATION", ""))
        return served(environ, start)

    server._server.app = listening
    storage = S3FileSystem()
    storage.mkdir("lab")
    for number in range(2):
        with storage.open(f"lab/laion/part-{number}.parquet", "wb") as file:
            rows(CAPTIONS).write_parquet(file)
    signed.clear()
    yield "s3://lab/laion", signed
    server.stop()
    S3FileSystem.clear_instance_cache()


def test_s3_is_read_with_the_environments_credentials_which_stay_there(
    bucket: tuple[str, list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "build"
    assert main(["classes", str(place)]) == 0
    assert main(["match", str(place), "--source", bucket[0]]) == 0
    build = Build.open(place)
    assert build.options.match.sources == ("s3://lab/laion/part-0.parquet", "s3://lab/laion/part-1.parquet")
    assert [build.counts("match", shard)["rows"] for shard in ("00000", "00001")] == [50, 50]
    assert bucket[1] and all(f"Credential={KEY}/" in header for header in bucket[1])
    with pytest.raises(UsageError, match=r"s3://lab/nothing/\*\.parquet: there is no such table") as caught:
        main(["match", str(place), "--source", "s3://lab/nothing/*.parquet"])
    assert_unsaid((KEY, SECRET), place, "".join(capfd.readouterr()) + str(caught.value))


class Hub(BaseHTTPRequestHandler):
    """One set with one table, as Hugging Face's client asks for them; only with the token."""

    protocol_version = "HTTP/1.1"
    table: bytes

    def do_GET(self) -> None:
        place, status, headers = self.path.partition("?")[0], 200, {}
        file = {"type": "file", "oid": "a" * 40, "size": len(self.table), "path": "part-0.parquet"}
        if "/tree/" in place:
            content = json.dumps([file]).encode()
        elif wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), min(int(wanted[2]), len(self.table) - 1)
            content, status = self.table[first : last + 1], 206
            headers = {"Content-Range": f"bytes {first}-{last}/{len(self.table)}"}
        else:
            content = json.dumps({"id": "lab/laion", "sha": "b" * 40, "siblings": []}).encode()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            content, status = b"{}", 401
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_hf_is_read_with_the_environments_token_which_stays_there(tmp_path: Path) -> None:
    file = io.BytesIO()
    rows(CAPTIONS).write_parquet(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Hub,), {"table": file.getvalue()}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    place = tmp_path / "build"
    assert main(["classes", str(place)]) == 0
    said = ""
    for token, status in (("hf_another", 2), (TOKEN, 0)):
        hub = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_TOKEN": token, "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(
            command("match", place, "--source", "hf://datasets/lab/laion"),
            env=os.environ | hub, capture_output=True, text=True,
        )  # fmt: skip
        said += done.stdout + done.stderr
        assert done.returncode == status and "Traceback" not in done.stderr, done.stderr
    server.shutdown()
    server.server_close()
    build = Build.open(place)
    assert build.options.match.sources == ("hf://datasets/lab/laion/part-0.parquet",)
    assert build.counts("match", "00000")["rows"] == 50
    assert "HF_TOKEN" in said  # where it is refused, what would help is named
    assert_unsaid((TOKEN, "hf_another"), place, said)
