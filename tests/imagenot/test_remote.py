"""Metadata in remote storage: an S3 server on this machine, credentials from the environment alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prep.imagenot.__main__ import main
from data_prep.imagenot.build import Build
from tests.conftest import real_part
from tests.imagenot.laion import IMAGENOT, rows
from toolkit.errors import UsageError

KEY, SECRET = "AKIATHISISTHEKEY0000", "this/is+the+secret"


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
        captions = [f"a {synset.lemmas[0]}" for synset in IMAGENOT[:50]]
        with storage.open(f"lab/laion/part-{number}.parquet", "wb") as file:
            rows(captions).write_parquet(file)
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
    written = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
    said = "".join(capfd.readouterr()) + str(caught.value)
    for secret in (KEY, SECRET):
        assert secret not in said and secret.encode() not in written
