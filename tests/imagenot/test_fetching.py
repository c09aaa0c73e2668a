"""Fetching from a nasty server: what is asked, what is taken, and what becomes of every URL."""

import asyncio
import hashlib
import io
import json
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest
from aiohttp import ClientConnectorError, ClientSession
from aiohttp.abc import AbstractResolver
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_prep.imagenot import addresses
from data_prep.imagenot.__main__ import main
from data_prep.imagenot.blocklist import Blocklist
from data_prep.imagenot.build import Build
from data_prep.imagenot.fetch import parse
from data_prep.imagenot.options import Download, Options, changed
from data_prep.imagenot.outage import Outage
from data_prep.imagenot.shard_fetch import Outcome, Picture, Wanted, fetch
from data_prep.imagenot.states import Failed
from tests.imagenot.laion import picture
from tests.imagenot.nasty import Nasty, bomb, many_pixels, nasty
from toolkit.errors import UsageError

Server = tuple[str, type[Nasty]]
NOTHING = Blocklist(frozenset())
LAB = Download(contact="lab@example.org", allow_private=True, probe=(), retries=0, image_size=64, total_s=20)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with nasty() as served:
        yield served


def ask(
    *urls: str | Wanted, section: Download = LAB, blocked: Blocklist = NOTHING, **options: object
) -> tuple[list[Outcome], dict[int, Picture]]:
    """What becomes of the URLs, and the images that came, by their place among them."""
    kept: dict[int, Picture] = {}
    wanted = [url if isinstance(url, Wanted) else Wanted(url) for url in urls]
    return fetch(wanted, section.model_copy(update=options), blocked, kept.__setitem__), kept


def asks_no(server: Server, outcomes: list[Outcome], before: int) -> None:
    assert {outcome.status for outcome in outcomes} <= {"refused", "failed_to_download"}, outcomes
    assert len(server[1].asked) == before


def test_only_the_web_is_asked(server: Server) -> None:
    before = len(server[1].asked)
    outcomes, _ = ask(
        "ftp://127.0.0.1/a", "file:///etc/passwd", "data:,x", "//x/y", "", "http://", "http://127.0.0.1:25/"
    )
    asks_no(server, outcomes, before)
    leads = ("ftp://127.0.0.1/a.jpg", "file:///etc/passwd", "gopher://127.0.0.1/", "http://127.0.0.1:22/")
    outcomes, kept = ask(*(f"{server[0]}/to?{url}" for url in leads), f"{server[0]}/loop")
    assert [outcome.status for outcome in outcomes] == ["refused"] * 4 + ["failed_to_download"] and not kept
    assert outcomes[4].error_message == "leads on more than 5 times"


def test_this_machine_is_not_asked_in_any_spelling(server: Server) -> None:
    port, before = server[0].rpartition(":")[2], len(server[1].asked)
    hosts = (
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
    )
    outcomes, _ = ask(*(f"http://{host}:{port}/image" for host in hosts), allow_private=False)
    asks_no(server, outcomes, before)
    assert outcomes[0].error_message == "the address 127.0.0.1 is not public"


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255",
     "fe80::1", "fd00::1", "ff02::1", "::ffff:192.168.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "::127.0.0.1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not addresses.is_public(address)
    assert addresses.is_public("93.184.215.14") and addresses.is_public("2606:2800:21f:cb07:6820:80da:af6b:8b2c")


class Liar(AbstractResolver):
    """Says that every name is this machine's, as a name server may that said otherwise before."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[addresses.ResolveResult]:
        here = addresses.ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
        )
        return [here]

    async def close(self) -> None:
        """Nothing is open."""


def test_the_address_that_is_connected_to_is_the_one_that_was_looked_at(server: Server) -> None:
    async def connect() -> None:
        async with ClientSession(connector=addresses.connector(Liar(), 1, allow_private=False)) as session:
            await session.get(f"http://innocent.example:{server[0].rpartition(':')[2]}/image")

    before = len(server[1].asked)
    with pytest.raises(ClientConnectorError) as caught:
        asyncio.run(connect())
    assert isinstance(caught.value.os_error, addresses.NotPublic) and len(server[1].asked) == before


def test_a_redirect_to_this_machine_is_not_followed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.2 stands for a server on the internet, which none is here."""
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2" or real(address))
    before = len(server[1].asked)
    with nasty("127.0.0.2") as (public, handler):
        [outcome], _ = ask(f"{public}/to?{server[0]}/image", allow_private=False)
    asks_no(server, [outcome], before)
    assert len(handler.asked) == 1


def test_bytes_pixels_and_time_are_bounded(server: Server) -> None:
    kinds = ("huge", "endless", "bomb", "many-pixels.png?30000", "many-pixels.png?8000", "trickle")
    bomb(), many_pixels(30_000), many_pixels(8_000)  # made before memory is counted
    tracemalloc.start()
    outcomes, kept = ask(*(f"{server[0]}/{kind}" for kind in kinds), max_bytes=2_000_000, total_s=2.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reasons = [outcome.error_message for outcome in outcomes]
    assert reasons[:3] == ["has more than 2,000,000 bytes"] * 3 and not kept
    assert "900000000 pixels" in str(reasons[3]) and "8000 x 8000 pixels" in str(reasons[4])
    assert reasons[5] == "took more than 2.0 s"
    assert [outcome.status for outcome in outcomes] == ["failed_to_resize"] * 5 + ["later"]
    assert max(server[1].sent.values()) < 50_000_000 and peak < 60_000_000


def test_answers_that_are_none(server: Server) -> None:
    kinds = ("page", "empty", "half", "silent", "noise", "headers", "missing")
    outcomes, kept = ask(*(f"{server[0]}/{kind}" for kind in kinds))
    states = dict(zip(kinds, (outcome.status for outcome in outcomes), strict=True))
    assert states == {
        "page": "failed_to_resize", "empty": "failed_to_resize", "half": "later", "silent": "later", "noise": "later",
        "headers": "later", "missing": "failed_to_download",
    }  # fmt: skip
    assert not kept and all(outcome.error_message for outcome in outcomes)


def test_who_asks_is_said_and_nothing_else(server: Server) -> None:
    _, kept = ask(server[0].replace("//", "//me:secret@") + "/image?5", f"{server[0]}/zipped?6")
    seen = server[1].headers_seen[-1]
    assert seen["User-Agent"].startswith("imagenot-toolkit/") and seen["User-Agent"].endswith("(+lab@example.org)")
    assert not {"Authorization", "Cookie", "Referer"} & set(seen)
    assert [kept[i].sha256 for i in range(2)] == [hashlib.sha256(picture(i)).hexdigest() for i in (5, 6)]
    with pytest.raises(UsageError, match="say who does"):
        ask(f"{server[0]}/image", contact="")


def test_what_a_server_asks_for_is_kept(server: Server) -> None:
    forbidden = ("noai", "noindex, nofollow", "none", "imagenot-toolkit: noai", "*: noimageai", "NoAI")
    allowed = (
        "nofollow",
        "googlebot: noindex",
        "unavailable_after: 25 Jun 2010 15:00:00 PST",
        "max-image-preview:large",
    )
    outcomes, _ = ask(f"{server[0]}/reserved", *(f"{server[0]}/tagged?{quote(tag)}" for tag in forbidden + allowed))
    assert [outcome.status for outcome in outcomes] == ["refused"] * 7 + ["success"] * 4
    outcomes, _ = ask(f"{server[0]}/image?1", f"{server[0]}/image?2", robots=True)
    assert [outcome.status for outcome in outcomes] == ["refused", "success"]
    assert server[1].asked.count("/robots.txt") == 1


def test_later_is_not_dead(server: Server) -> None:
    url = f"{server[0]}/busy?1"
    assert [outcome.status for outcome in ask(url)[0]] == ["later"]
    outcomes, kept = ask(f"{server[0]}/busy?2", f"{server[0]}/image?7", retries=1, threads=1)
    assert [outcome.status for outcome in outcomes] == ["success"] * 2 and kept  # the second waited with the first
    before = len(server[1].asked)
    outcomes, _ = ask(f"{server[0]}/closed", f"{server[0]}/image?8", retries=1, threads=1)
    assert [outcome.error_message for outcome in outcomes] == ["the host asks to come later"] * 2
    assert len(server[1].asked) == before + 1


def test_urls_that_are_not_ascii(server: Server) -> None:
    urls = ("/grün-weiß.jpg", "/gr%C3%BCn-wei%C3%9F.jpg", "/to?/grün-weiß.jpg", "/image.jpg?4")
    outcomes, _ = ask(*(server[0] + url for url in urls))
    assert {outcome.sha256 for outcome in outcomes} == {hashlib.sha256(picture(4)).hexdigest()}, outcomes
    ask(f"{server[0]}/to-latin?/grün-weiß.jpg")
    assert server[1].asked[-1] == "/gr%FCn-wei%DF.jpg"


@settings(max_examples=100)
@given(st.tuples(st.sampled_from(["", "http://", "HTTPS://", "http://a@b.c:80"]), st.text(max_size=12)))
def test_any_text_is_a_url_or_is_refused(parts: tuple[str, str]) -> None:
    text = "".join(parts)
    try:
        url = parse(text)
    except Failed as failed:
        assert failed.state in ("refused", "failed_to_download")
    else:
        assert url.scheme in ("http", "https") and url.host and url.user is None and str(url)


def test_images_lie_upright(server: Server) -> None:
    _, kept = ask(f"{server[0]}/turned")
    image = Image.open(io.BytesIO(kept[0].content)).convert("RGB")
    assert image.size == (kept[0].width, kept[0].height) == (40, 60)
    top, bottom = image.getpixel((20, 5)), image.getpixel((20, 55))
    assert top[0] > 200 > top[2] and bottom[2] > 200 > bottom[0]


def test_blocklists_before_and_after_the_request(server: Server, tmp_path: Path) -> None:
    seen = hashlib.md5(picture(11)).hexdigest()
    (tmp_path / "list.txt").write_text(f"# of a hotline\n{server[0]}/image?9\nid-10\n{seen.upper()}\n")
    blocked = Blocklist.read([tmp_path / "list.txt"])
    before = len(server[1].asked)
    outcomes, kept = ask(
        f"{server[0]}/image?9", Wanted(f"{server[0]}/image?10", "id-10"), f"{server[0]}/image?11",
        f"{server[0]}/image?12", Wanted(f"{server[0]}/image?13", md5=seen), blocked=blocked,
    )  # fmt: skip
    assert [outcome.status for outcome in outcomes] == ["refused"] * 3 + ["success", "refused"] and list(kept) == [3]
    assert sorted(server[1].asked[before:]) == ["/image?11", "/image?12"]  # 11 is known by its hash alone
    with pytest.raises(UsageError, match="cannot be read"):
        Blocklist.read([tmp_path / "none"])


def test_a_file_that_is_not_the_metadatas_is_left_out(server: Server) -> None:
    sha256, md5 = hashlib.sha256(picture(1)).hexdigest(), hashlib.md5(picture(1)).hexdigest()
    url = f"{server[0]}/image?1"
    wanted = [Wanted(url, sha256=sha256.upper(), md5=md5), Wanted(url, sha256="0" * 64), Wanted(url, md5="0" * 32)]
    assert [outcome.status for outcome in ask(*wanted)[0]] == ["success", "changed", "changed"]
    assert [outcome.status for outcome in ask(*wanted, verify=False)[0]] == ["success"] * 3


def build_of(folder: Path, urls: list[str], **options: object) -> Path:
    """A build whose stage select is done: two images of one class, and the rest spares."""
    section = {"contact": "lab@example.org", "allow_private": True, "retries": 0, "probe": [], **options}
    build = Build(folder, changed(changed(Options(), "select", {"per_class": 2}), "download", section))
    build.save(build.options)
    build.room("select").mkdir()
    table = pl.DataFrame({"id": [f"{i:03d}" for i in range(len(urls))], "url": urls, "rank": range(len(urls))})
    same = {"class": "n00015388", "caption": "animal", "license": "?", "sample_id": "1"}
    table.with_columns(score=0.6, **{name: pl.lit(value) for name, value in same.items()}).write_parquet(
        build.room("select") / "selected.parquet"
    )
    return folder


def states(build: Path) -> list[tuple[str, str | None]]:
    from data_prep.imagenot.stages.download import outcomes

    return sorted(outcomes(Build.open(build)).select("status", "error_message").iter_rows())


def test_without_a_network_nothing_is_asked_for(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        probe = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        build = build_of(tmp_path / "build", [f"{server[0]}/image?{i}" for i in range(9)], probe=[probe])
        before = len(server[1].asked)
        with pytest.raises(Outage, match=r"no known host can be reached .*mend the network and start again: no spare"):
            main(["download", str(build)])
    assert len(server[1].asked) == before and not states(build)
    assert main(["download", str(build), "--set", f"probe={server[0]}/missing"]) == 0
    assert states(build) == [("success", None)] * 2 and len(list((build / "download").glob("round-*"))) == 1


def test_an_outage_in_the_middle_stops_the_stage(server: Server, tmp_path: Path) -> None:
    """Hosts that nobody listens at stand for a network that went away; two answered before it did."""
    port = server[0].rpartition(":")[2]
    urls = [f"http://127.0.1.{i}:{port}/image" for i in range(1, 41)] + [f"{server[0]}/image?{i}" for i in range(3)]
    build = build_of(tmp_path / "build", urls, probe=[f"{server[0]}/missing"])
    with pytest.raises(Outage, match=r"of the last \d+ hosts cannot be resolved or connected to \(known hosts can be"):
        fetch([Wanted(url) for url in urls], Build.open(build).options.download, NOTHING, lambda *_: None)
    outcomes, _ = ask(*urls, max_unreachable=1.0)
    assert [outcome.status for outcome in outcomes] == ["later"] * 40 + ["success"] * 3


def test_one_dead_host_is_no_outage(server: Server) -> None:
    port = server[0].rpartition(":")[2]
    outcomes, _ = ask(
        *(f"http://127.0.1.1:{port}/image?{i}" for i in range(60)), f"{server[0]}/image", probe=(f"{server[0]}/x",)
    )
    assert {outcome.status for outcome in outcomes[:60]} == {"later"} and outcomes[60].status == "success"


def test_retry_asks_again_for_what_failed_for_passing_reasons(server: Server, tmp_path: Path) -> None:
    urls = [f"{server[0]}/image?1", f"{server[0]}/closed", f"{server[0]}/missing", f"{server[0]}/image?2"]
    build = build_of(tmp_path / "build", urls)
    server[1].is_down = True
    assert main(["download", str(build)]) == 0
    assert states(build) == [("later", "HTTP 503")] * 4
    server[1].is_down = False
    assert main(["download", str(build), "--retry"]) == 0
    kept = [("failed_to_download", "HTTP 404"), ("later", "HTTP 503"), ("success", None), ("success", None)]
    assert states(build) == kept
    counts = [json.loads(path.read_bytes()) for path in sorted((build / "download").glob("[0-9]*.json"))]
    assert sum(count["urls"] for count in counts) == sum(sum(count.values()) for count in counts) / 2
