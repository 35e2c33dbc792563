"""The doctor where files are missing, strangers answer, and terminals are narrow."""

import asyncio
import contextlib
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from rich.console import Console

from pki.dnssec.model import ChainLink, DnssecResult, DnssecState, LinkKind
from pki.dnssec.tree import render
from pki.doctor import domains, running
from pki.doctor import revocation as crl
from pki.doctor.model import Endpoint, Finding, Result
from pki.doctor.running import examine, listing
from tests.fakes.certificates import Odd
from tests.fakes.dns import FakeDns
from tests.unit.pki.doctor.test_doctor import HOST, NOW, Place, crls, of, place, tls  # noqa: F401  a fixture


@pytest.mark.parametrize("what", ["issuing", "own chain", "leaf", "nothing", "missing"])
async def test_only_a_root_is_a_root(place: Place, what: str) -> None:  # noqa: F811
    root = place.folder / "root.pem"
    if what == "issuing":
        root.write_bytes(place.ca.issuing.pem)
    if what == "own chain":
        root.write_bytes((place.folder / "chain.pem").read_bytes())
    if what == "leaf":
        root.write_bytes(place.ca.issue("uzovi:5000").pem)
    if what == "nothing":
        root.write_bytes(b"nothing")
    if what == "missing":
        root.unlink()
    found = of(await examine(place.installation()), "chain.root")
    assert found.result is Result.FAIL
    assert found.to_do
    # A bundle with the root in it is good.
    root.write_bytes(place.ca.issuing.pem + place.ca.root.pem)
    assert of(await examine(place.installation()), "chain.root").result is Result.OK


async def test_each_missing_file_is_one_clear_line_and_the_others_are_looked_at(place: Place) -> None:  # noqa: F811
    for name in ("chain.pem", "key.pem", "root.pem"):
        (place.folder / name).unlink()
    found = await examine(place.installation())
    for check, name in (("certificate.file", "chain.pem"), ("key.match", "key.pem"), ("chain.root", "root.pem")):
        assert of(found, check).detail == f"{place.folder / name}: No such file or directory"
        assert of(found, check).result is Result.FAIL
    os.mkfifo(place.folder / "chain.pem")
    assert "expected a file, not" in of(await examine(place.installation()), "certificate.file").detail


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://a:99999/x",
        "http://a:x/",
        "ftp://a.nl/x",
        "http:///x",
        "http://xn--.nl\x00/",
        f"http://{'a' * 70}.nl/",
        "http://a b/",
        "",
    ],
)
async def test_a_url_of_a_crl_that_cannot_be_is_a_finding(place: Place, url: str) -> None:  # noqa: F811
    assert of(await examine(place.installation(crl_urls=(url,))), "crl.own.reachable").result is Result.FAIL
    # The same in a certificate, where a stranger put it.
    name = x509.UniformResourceIdentifier(url) if url.isascii() else None
    if name is not None:
        points = x509.CRLDistributionPoints([x509.DistributionPoint([name], None, None, None)])
        place.write(place.ca.issue("uzovi:5000", dns=(HOST,), odd=Odd(extensions=((points, False),))))
        found = await examine(place.installation())
        assert any(item.check.startswith("crl") and item.result is not Result.OK for item in found)


async def test_who_dribbles_a_crl_is_not_waited_for(
    place: Place,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        work.append(asyncio.create_task(dribble(reader, writer)))

    work: list[asyncio.Task[None]] = []
    monkeypatch.setattr(crl, "FETCH_TIME", 0.3)
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await examine(place.installation(crl_urls=(f"http://127.0.0.1:{port}/x",)))
        await asyncio.gather(*work)
    assert "no whole answer" in of(found, "crl.own.reachable").detail


@asynccontextmanager
async def _plain() -> AsyncIterator[Endpoint]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            writer.close()
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        work.append(asyncio.create_task(answer(reader, writer)))

    work: list[asyncio.Task[None]] = []
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield Endpoint(HOST, port, f"127.0.0.1:{port}")
    await asyncio.gather(*work)


async def test_where_no_tls_is_spoken_nothing_later_is_called_good(place: Place) -> None:  # noqa: F811
    async with _plain() as endpoint:
        found = await examine(place.installation(endpoint=endpoint))
    assert of(found, "tls.versions").result is Result.FAIL
    for check in ("tls.old_versions", "tls.suites", "tls.certificate", "tls.client_certificate"):
        assert of(found, check).result is Result.SKIP
    async with tls(place) as good:
        found = await examine(place.installation(endpoint=good))
    assert of(found, "tls.suites").result is Result.OK


async def test_a_certificate_that_makes_no_sense_ends_one_check_and_not_the_report(
    place: Place,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hostile(*_: object) -> None:
        raise ValueError("s3cret")

    network = FakeDns({"name": "ciz.nl", "records": {"agent": ["127.0.0.1"]}}, at=NOW)
    with monkeypatch.context() as patched:
        patched.setattr(domains, "check_dane", hostile)
        async with tls(place) as endpoint:
            found = await examine(place.installation(endpoint=endpoint, validator=network.validator()))
    dane = of(found, "dane")
    assert (dane.result, "s3cret" in dane.detail) == (Result.FAIL, False)
    assert of(found, "tls.certificate").result is Result.OK
    assert found[-1].check == "authz"
    monkeypatch.setattr(running, "check_files", hostile)
    assert of(await examine(place.installation()), "certificate.file").result is Result.FAIL


async def test_participants_are_told_their_own_command(place: Place) -> None:  # noqa: F811
    place.write(place.ca.issue("uzovi:5000", not_after=NOW + timedelta(days=10)))
    to_do = of(await examine(place.installation()), "certificate.validity").to_do
    assert to_do.index("pki reenrol") < to_do.index("pki renew")


def test_in_a_narrow_terminal_nothing_is_broken_into_columns() -> None:
    record = "Publish: _8443._tcp.agent.ciz.nl. IN TLSA 3 1 1 " + "ab" * 32
    shown = io.StringIO()
    Console(file=shown, width=60).print(listing([Finding("dane", Result.WARN, "\x1b[2J", record)]))
    text = shown.getvalue()
    assert "\x1b" not in text
    assert "".join(text.split()).endswith("".join(record.split()))
    assert text.splitlines()[0] == "warn  dane"


def test_marks_are_plain_where_the_encoding_has_no_others() -> None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    link = ChainLink(LinkKind.ANCHOR, 0, ".", DnssecState.SECURE, "1 trust anchor")
    result = DnssecResult("a.nl", DnssecState.BOGUS, "it does not fit", at, (link,))
    for encoding, mark in (("ascii", "ok 1"), ("latin-1", "ok 1"), ("no-such", "ok 1"), ("utf-8", "✓ 1")):
        raw = io.BytesIO()
        codec = "utf-8" if encoding == "utf-8" else "ascii" if encoding == "no-such" else encoding
        file = io.TextIOWrapper(raw, encoding=codec)
        Console(file=file, width=100).print(render(result, at, encoding=encoding))
        file.flush()
        assert mark in raw.getvalue().decode(codec)
