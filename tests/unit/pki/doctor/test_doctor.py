"""The doctor on installations with one thing wrong: real files, a real CRL over HTTP, real TLS."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from authz.edge.pages import PageServer
from pki.cli.main import app
from pki.doctor.clock import skew
from pki.doctor.domains import check_dane_of
from pki.doctor.hello import ServerChoice, TlsVersion, choose, client_hello, server_choice
from pki.doctor.model import Endpoint, Finding, Installation, Result, passed
from pki.doctor.running import as_json, examine, table
from pki.doctor.suites import ALLOWED, WEAK, Level, level
from tests.fakes.certificates import FakeAuthority
from tests.fakes.dns import FakeDns

HOST = "agent.ciz.nl"
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Place:
    """A participant's machine."""

    folder: Path
    ca: FakeAuthority
    crl: bytes

    def installation(self, **changes: Any) -> Installation:
        given = Installation(
            certificate=self.folder / "chain.pem", key=self.folder / "key.pem", anchors=self.folder / "root.pem", at=NOW
        )
        return replace(given, **changes)

    def write(self, leaf: Any, *, chain: bool = True, key: Any = None) -> None:
        certificates = [leaf.certificate, *([self.ca.issuing.certificate] if chain else [])]
        pem = b"".join(item.public_bytes(Encoding.PEM) for item in certificates)
        (self.folder / "chain.pem").write_bytes(pem)
        (self.folder / "root.pem").write_bytes(self.ca.root.certificate.public_bytes(Encoding.PEM))
        secret = (key or leaf.key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "key.pem").write_bytes(secret)
        (self.folder / "key.pem").chmod(0o600)

    async def page(self) -> tuple[int, str, bytes]:
        return 200, "application/pkix-crl", self.crl

    async def root_page(self) -> tuple[int, str, bytes]:
        return 200, "application/pkix-crl", self.ca.root_crl()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    ca = FakeAuthority(now=NOW)
    found = Place(tmp_path, ca, ca.crl())
    found.write(ca.issue("oin:00000009900000020000", dns=(HOST,)))
    return found


def of(findings: list[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check == check)


@contextlib.asynccontextmanager
async def crls(place: Place) -> AsyncIterator[tuple[str, ...]]:
    async with PageServer({"/own.crl": place.page, "/root.crl": place.root_page}, ("127.0.0.1", 0)) as server:
        yield tuple(f"http://127.0.0.1:{server.port}/{name}.crl" for name in ("own", "root"))


async def test_files_and_crls_that_are_in_order_pass(place: Place) -> None:
    async with crls(place) as urls:
        found = await examine(place.installation(crl_urls=urls))
    wrong = [finding for finding in found if finding.result not in {Result.OK, Result.SKIP}]
    assert wrong == []
    assert passed(found)
    assert of(found, "certificate.identity").detail.startswith("oin:00000009900000020000")
    assert {finding.check for finding in found if finding.result is Result.SKIP} == {"ocsp", "dnssec", "tls", "authz"}


async def test_a_certificate_that_expires_soon_warns_and_an_expired_one_fails(place: Place) -> None:
    for end, result in ((timedelta(days=31), Result.OK), (timedelta(days=29), Result.WARN)):
        place.write(place.ca.issue("uzovi:5000", not_after=NOW + end))
        assert of(await examine(place.installation()), "certificate.validity").result is result
    place.write(place.ca.issue("uzovi:5000", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1)))
    assert of(await examine(place.installation()), "certificate.validity").result is Result.FAIL
    place.write(place.ca.issue("uzovi:5000", not_before=NOW + timedelta(hours=1)))
    assert "clock" in of(await examine(place.installation()), "certificate.validity").to_do


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("key of another", "key.match"),
        ("no issuer in the file", "chain.order"),
        ("another root", "chain.root"),
        ("not a certificate", "certificate.file"),
        ("not a key", "key.match"),
    ],
)
async def test_one_wrong_file_is_named_and_the_rest_is_still_looked_at(place: Place, fault: str, check: str) -> None:
    leaf = place.ca.issue("uzovi:5000", dns=(HOST,))
    place.write(leaf, chain=fault != "no issuer in the file")
    if fault == "key of another":
        place.write(leaf, key=ec.generate_private_key(ec.SECP256R1()))
    if fault == "another root":
        (place.folder / "root.pem").write_bytes(place.ca.rogue().root.certificate.public_bytes(Encoding.PEM))
    if fault == "not a certificate":
        (place.folder / "chain.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    if fault == "not a key":
        (place.folder / "key.pem").write_bytes(b"not a key")
    found = await examine(place.installation())
    finding = of(found, check)
    assert (finding.result, finding.essential) == (Result.FAIL, True)
    assert finding.to_do
    assert not passed(found)


async def test_with_the_key_of_another_the_authorization_server_is_not_asked(place: Place) -> None:
    authz = Endpoint(HOST, 1, "127.0.0.1:1")
    assert of(await examine(place.installation(authz=authz)), "authz.reachable").result is not Result.SKIP
    place.write(place.ca.issue("uzovi:5000", dns=(HOST,)), key=ec.generate_private_key(ec.SECP256R1()))
    found = await examine(place.installation(authz=authz))
    assert of(found, "key.match").result is Result.FAIL
    skipped = of(found, "authz.reachable")
    assert (skipped.result, skipped.to_do) == (Result.SKIP, "Repair key.match first.")


async def test_a_key_that_others_can_read_warns(place: Place) -> None:
    (place.folder / "key.pem").chmod(0o644)
    assert of(await examine(place.installation()), "key.match").result is Result.WARN


async def test_a_missing_identity_is_said_and_not_fatal(place: Place) -> None:
    place.write(place.ca.issue(None, dns=(HOST,)))
    finding = of(await examine(place.installation()), "certificate.identity")
    assert (finding.result, finding.essential) == (Result.WARN, False)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("revoked", "crl.own.revoked"),
        ("stale", "crl.own.fresh"),
        ("rogue", "crl.own.reachable"),
        ("gone", "crl.own.reachable"),
        ("not http", "crl.own.reachable"),
    ],
)
async def test_what_is_wrong_with_a_crl_is_told_apart(place: Place, fault: str, check: str) -> None:
    leaf = place.ca.issue("uzovi:5000", dns=(HOST,))
    place.write(leaf)
    if fault == "revoked":
        place.ca.revoke(leaf)
        place.crl = place.ca.crl()
    if fault == "stale":
        place.crl = place.ca.crl(at=NOW - timedelta(minutes=61))
    if fault == "rogue":
        place.crl = place.ca.rogue().crl()
    async with crls(place) as (own, root):
        own = {"gone": f"{own}x", "not http": "file:///etc/passwd"}.get(fault, own)  # noqa: PLW2901
        found = await examine(place.installation(crl_urls=(own, root)))
    assert of(found, check).result is Result.FAIL
    if fault == "revoked":
        assert of(found, check).detail == f"the certificate is revoked since {NOW:%Y-%m-%d %H:%M} UTC, without a reason"
    assert not passed(found)


@contextlib.asynccontextmanager
async def tls(place: Place, prepare: Any = None, *, need_client: bool = True) -> AsyncIterator[Endpoint]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place.folder / "chain.pem", place.folder / "key.pem")
    context.load_verify_locations(place.folder / "root.pem")
    context.set_ciphers("ECDHE+AESGCM")
    context.verify_mode = ssl.CERT_REQUIRED if need_client else ssl.CERT_NONE
    if prepare is not None:
        prepare(context)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Endpoint(HOST, port, f"127.0.0.1:{port}")


async def test_an_endpoint_in_order_passes(place: Place) -> None:
    async with tls(place) as endpoint:
        found = [f for f in await examine(place.installation(endpoint=endpoint)) if f.check.startswith("tls")]
    assert [(finding.check, finding.result) for finding in found] == [
        (check, Result.OK)
        for check in (
            "tls.reachable",
            "tls.versions",
            "tls.old_versions",
            "tls.suites",
            "tls.certificate",
            "tls.client_certificate",
        )
    ]
    assert of(found, "tls.versions").detail == "TLS 1.3, TLS 1.2"


def old(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")


def weak(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AES:@SECLEVEL=0")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
async def test_old_versions_and_weak_suites_fail_by_name(place: Place) -> None:
    async with tls(place, old) as endpoint:
        found = await examine(place.installation(endpoint=endpoint))
    finding = of(found, "tls.old_versions")
    assert finding.result is Result.FAIL
    assert "TLS 1.0" in finding.detail
    async with tls(place, weak) as endpoint:
        found = await examine(place.installation(endpoint=endpoint))
    assert of(found, "tls.old_versions").result is Result.OK
    finding = of(found, "tls.suites")
    assert finding.result is Result.FAIL
    assert "ECDHE_ECDSA_AES_128_CBC_SHA" in finding.detail
    assert not passed(found)


async def test_an_endpoint_that_asks_no_client_certificate_fails(place: Place) -> None:
    async with tls(place, need_client=False) as endpoint:
        found = await examine(place.installation(endpoint=endpoint))
    assert of(found, "tls.client_certificate").result is Result.FAIL


async def test_a_certificate_for_another_host_fails_and_another_certificate_warns(place: Place) -> None:
    async with tls(place) as endpoint:
        other = replace(endpoint, host="other.ciz.nl")
        found = await examine(place.installation(endpoint=other))
        assert of(found, "tls.certificate").result is Result.FAIL
        assert "mismatch" in of(found, "tls.certificate").detail.lower()
        place.write(place.ca.issue("uzovi:5000", dns=(HOST,)))
        found = await examine(place.installation(endpoint=endpoint))
    assert of(found, "tls.certificate").result is Result.WARN


async def test_nobody_listening_is_said(place: Place) -> None:
    found = await examine(place.installation(endpoint=Endpoint(HOST, 443, "127.0.0.1:1")))
    assert of(found, "tls.reachable").result is Result.FAIL


async def test_dnssec_and_dane_of_the_names_are_part_of_it(place: Place) -> None:
    zone = {"name": "ciz.nl", "records": {"agent": ["127.0.0.1"]}}
    for state, result in (("secure", Result.OK), ("unsigned", Result.FAIL), ("wrong-ds", Result.FAIL)):
        network = FakeDns(zone | {"state": state}, at=NOW)
        async with tls(place) as endpoint:
            given = place.installation(endpoint=endpoint, validator=network.validator())
            found = await examine(given)
            need = await examine(replace(given, need_dane=True))
        assert of(found, "dnssec").result is result
        if state == "secure":
            assert of(found, "dane").result is Result.WARN
            assert of(need, "dane").result is Result.FAIL
            record = of(found, "dane").to_do.partition("TLSA ")[2]
            secured, owner = endpoint, f"_{endpoint.port}._tcp.agent"
    network = FakeDns({"name": "ciz.nl", "records": {"agent": ["127.0.0.1"], owner: {"TLSA": [record]}}}, at=NOW)
    installation = place.installation(validator=network.validator())
    chain = x509.load_pem_x509_certificates((place.folder / "chain.pem").read_bytes())
    assert (await check_dane_of(installation, secured, (), chain)).result is Result.OK
    other = [place.ca.issue("uzovi:5000").certificate]
    assert (await check_dane_of(installation, secured, (), other)).result is Result.FAIL


@pytest.mark.parametrize(
    ("asked", "answered", "ahead"),
    [(0.2, 0.4, 0), (0.9, 1.1, 0), (30, 30.1, 29), (-30, -29.9, -29.9), (-0.5, 0.1, 0)],
)
def test_the_skew_is_measured_within_a_second(asked: float, answered: float, ahead: float) -> None:
    begin = NOW
    found = skew(begin + timedelta(seconds=asked), begin + timedelta(seconds=answered), begin)
    assert found.total_seconds() == pytest.approx(ahead)


def test_an_answer_that_does_not_fit_the_offer_is_a_refusal() -> None:
    hello = bytes([2, 0, 0, 38, 3, 3]) + bytes(32) + b"\x00" + b"\xc0\x2f" + b"\x00"
    assert server_choice(22, hello, TlsVersion.TLS_1_2, (0xC02F,)) == ServerChoice(0x0303, 0xC02F)
    assert server_choice(22, hello, TlsVersion.TLS_1_2, (0xC030,)) is None
    assert server_choice(22, hello, TlsVersion.TLS_1_1, (0xC02F,)) is None
    assert server_choice(21, b"\x02\x28", TlsVersion.TLS_1_2, (0xC02F,)) is None
    for length in range(len(hello)):
        server_choice(22, hello[:length], TlsVersion.TLS_1_2, (0xC02F,))
    assert client_hello(HOST, TlsVersion.TLS_1_3, (0x1301,))[:3] == b"\x16\x03\x01"
    assert {level(suite) for suite in WEAK}.isdisjoint({Level.GOOD, Level.SUFFICIENT})
    assert not ALLOWED.keys() & WEAK.keys()


async def test_a_server_that_hangs_up_takes_nothing() -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()[:2]
        assert await choose(address, HOST, TlsVersion.TLS_1_3, (0x1301,)) is None


def test_the_report_is_a_table_and_json_and_an_exit_status(place: Place) -> None:
    arguments = ["doctor", "--certificate", str(place.folder / "chain.pem"), "--resolver", "127.0.0.1:1", "--json"]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 3
    report = json.loads(ran.stdout)
    assert report["passed"] is False
    assert {check["check"] for check in report["checks"]} >= {"certificate.file", "key.match", "dnssec", "tls"}
    assert passed([]) is False
    assert as_json([Finding("x", Result.OK, "fine")])["passed"] is True
    assert table([Finding("x", Result.WARN, "\x1b[2J")]).row_count == 1
