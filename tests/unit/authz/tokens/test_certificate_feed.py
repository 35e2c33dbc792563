"""A feed of revoked certificates comes over plain HTTP, from whoever answers: nothing in it ends the following."""

import asyncio
import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
import pytest
from asn1crypto import x509

from authz.domain.clock import SystemClock
from authz.domain.errors import Refused
from authz.edge import long_poll
from authz.tokens.certificate_feed import CertificateFeedMirror
from authz.tokens.revocation import Revocation
from pki.validation.revocation_feed import FEED_TYPE, FeedReader
from tests.fakes.certificates import FakeAuthority

URL = "http://pki.test/revocations/issuing"


@pytest.fixture(scope="module")
def ca() -> FakeAuthority:
    return FakeAuthority(now=datetime.now(UTC).replace(microsecond=0))


def unsigned_feed(certificate: bytes) -> bytes:
    """What anybody on the path can send: a header with a certificate in it, and no signature."""
    header = {"alg": "ES256", "typ": FEED_TYPE, "x5c": [base64.b64encode(certificate).decode()]}
    parts = (json.dumps(header).encode(), b"{}", b"\0" * 64)
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def with_duplicate_extension(der: bytes) -> bytes:
    certificate = x509.Certificate.load(der)
    extensions = certificate["tbs_certificate"]["extensions"]
    twice = [x509.Extension.load(item.dump()) for item in (*extensions, extensions[0])]
    certificate["tbs_certificate"]["extensions"] = x509.Extensions(twice)
    return bytes(certificate.dump(force=True))


def hostile(ca: FakeAuthority) -> list[bytes]:
    return [
        unsigned_feed(ca.rogue().issue(eku=None).der),
        unsigned_feed(with_duplicate_extension(ca.issue().der)),
        unsigned_feed(b"\x30\x03\x0a\x01\x00"),
        b"..",
        b"",
    ]


class Repository:
    """Keeps nothing, and says when it was asked to."""

    def __init__(self) -> None:
        self.followed = asyncio.Event()

    async def follow(self, present: Sequence[Revocation], gone: Sequence[str]) -> int:  # noqa: ARG002
        self.followed.set()
        return 1


def test_a_certificate_in_a_feed_without_usage_or_with_an_extension_twice_is_refused(ca: FakeAuthority) -> None:
    reader = FeedReader([ca.issuing.der])
    for body in hostile(ca):
        with pytest.raises(Refused):
            reader.read(body, ca.now)


async def test_a_hostile_answer_does_not_end_the_following(ca: FakeAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(long_poll, "_LONGEST_PAUSE", 0.001)
    bodies, asked = hostile(ca), asyncio.Event()

    def answer(_: httpx.Request) -> httpx.Response:
        if not bodies:
            asked.set()
            return httpx.Response(503)
        return httpx.Response(200, content=bodies.pop(0))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        read = FeedReader([ca.issuing.der]).read
        mirror = CertificateFeedMirror([URL, URL + "2"], read, Repository(), client, SystemClock())
        running = asyncio.create_task(mirror.run())
        async with asyncio.timeout(50):
            await asked.wait()
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
