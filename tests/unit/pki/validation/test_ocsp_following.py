"""Fetching OCSP answers ahead of time: what a responder, or somebody on the way, can do, and what is asked when."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote_to_bytes

import httpx
import pytest
from cryptography.x509 import ocsp

import pki.validation.ocsp_following
import pki.validation.ocsp_source
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.validation.ocsp_folder import OcspFolder
from pki.validation.ocsp_following import AT_ONCE, FORGET, LOOK, OcspFollower
from pki.validation.ocsp_source import OcspSource
from pki.validation.ocsp_store import MAX_OCSP_BYTES
from pki.validation.validator import PinnedIssuer
from tests.fakes.certificates import FakeAuthority, FakeCertificate
from tests.fakes.clock import FixedClock
from tests.fakes.ocsp import answer

URL = "http://ocsp.test/a"
REVOKED, UNKNOWN = ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
Answering = Callable[[ocsp.OCSPRequest], "bytes | httpx.Response"]


@pytest.fixture(scope="module")
def ca() -> FakeAuthority:
    return FakeAuthority()


@dataclass
class Place:
    """A validating point with a responder that does as it is told."""

    ca: FakeAuthority
    path: Path
    says: Answering = lambda _: b""
    clock: FixedClock = field(default_factory=FixedClock)
    seconds: float = 1_000.0
    asked: list[httpx.Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock.moment = self.ca.now
        self.key = self.ca.pin.spki_sha256
        self.start()

    def start(self) -> None:
        self.folder = OcspFolder(self.path / "ocsp", [self.ca.root.der, self.ca.issuing.der])
        self.folder.refresh()
        self.follower = OcspFollower(
            [OcspSource(URL, self.ca.issuing.der)],
            self.folder,
            self.clock,
            httpx.AsyncClient(transport=httpx.MockTransport(self._serve)),
            lambda: self.seconds,
        )

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        said = self.says(question_of(request))
        return streamed(httpx.Response(200, content=said) if isinstance(said, bytes) else said)

    def saw(self, *leaves: FakeCertificate) -> None:
        for leaf in leaves:
            self.follower.saw(self.key, leaf.certificate.serial_number)

    async def look(self) -> float:
        return await self.follower.look(self.key)

    def held(self, leaf: FakeCertificate) -> bool | None:
        """Whether the leaf is known to be revoked; None when nothing is known."""
        found = self.folder.store.about(self.key, leaf.certificate.serial_number)
        return None if found is None else found.revoked

    def files(self) -> list[Path]:
        return sorted(self.path.glob("ocsp/*"))

    def says_of(self, *leaves: FakeCertificate, **options: object) -> None:
        """Answer as a responder that knows these."""
        known = {leaf.certificate.serial_number: leaf for leaf in leaves}
        self.says = lambda asked: answer(self.ca, known[asked.serial_number], at=self.clock.now(), **options)  # type: ignore[arg-type]

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.clock.advance(seconds=seconds)


def streamed(said: httpx.Response) -> httpx.Response:
    """As it comes from a network: not read yet."""
    stream = httpx.ByteStream(said.content) if hasattr(said, "_content") else said.stream
    return httpx.Response(said.status_code, headers=said.headers, stream=stream)


def question_of(request: httpx.Request) -> ocsp.OCSPRequest:
    if request.method == "POST":
        return ocsp.load_der_ocsp_request(request.content)
    encoded = request.url.raw_path.removeprefix(b"/a/").decode()
    return ocsp.load_der_ocsp_request(base64.b64decode(unquote_to_bytes(encoded), validate=True))


@pytest.fixture
async def place(ca: FakeAuthority, tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(ca, tmp_path)
    yield made
    await made.follower.__aexit__()


async def test_what_is_seen_is_asked_about_and_nothing_else(place: Place, ca: FakeAuthority) -> None:
    leaf = ca.issue()
    assert await place.look() == LOOK
    place.follower.saw("00" * 32, leaf.certificate.serial_number)  # a CA for which nothing is configured
    assert await place.look() == LOOK
    assert not place.asked
    place.says_of(leaf)
    place.saw(leaf, leaf)
    assert await place.look() == 0
    assert await place.look() == LOOK
    (asked,) = place.asked
    assert (asked.method, asked.url.host, place.held(leaf)) == ("GET", "ocsp.test", False)
    assert len(str(asked.url)) <= 255
    assert not list(question_of(asked).extensions)  # no nonce: it may have been signed ahead
    (file,) = place.files()
    assert file.stat().st_mode & 0o077 == 0 or file.parent.stat().st_mode & 0o077 == 0


async def test_the_url_of_a_certificate_is_never_called(place: Place, ca: FakeAuthority) -> None:
    # Everything that is followed is a serial number: there is nothing in it that could be called.
    leaf = ca.issue()
    place.says_of(leaf)
    by = ca.validator(ocsp=place.folder.store, saw=place.follower.saw)
    assert by.validate(leaf.der, (), ca.now)
    await place.look()
    assert {request.url.host for request in place.asked} == {"ocsp.test"}


async def test_certificates_of_a_rogue_ca_are_not_followed(place: Place, ca: FakeAuthority) -> None:
    by = ca.validator(ocsp=place.folder.store, saw=place.follower.saw)
    with pytest.raises(Refused):
        by.validate(ca.rogue().issue().der, (), ca.now)
    assert len(place.follower) == 0
    revoked = ca.issue()
    crls = ca.crl_store(ca.root_crl(), ca.crl(revoked=[revoked.certificate.serial_number]))
    by = ca.validator(crls, ocsp=place.folder.store, saw=place.follower.saw)
    with pytest.raises(Refused):  # one of ours that is refused is followed all the same
        by.validate(revoked.der, (), ca.now)
    assert len(place.follower) == 1


@pytest.mark.parametrize("status", [REVOKED, UNKNOWN])
async def test_a_revocation_is_asked_for_again_each_minute(
    status: ocsp.OCSPCertStatus, place: Place, ca: FakeAuthority
) -> None:
    leaf = ca.issue()
    by = ca.validator(ocsp=place.folder.store, saw=place.follower.saw)
    assert by.validate(leaf.der, (), ca.now)
    place.says_of(leaf, status=status)
    await place.look()
    with pytest.raises(Refused, match="certificate_revoked"):
        by.validate(leaf.der, (), ca.now)
    for _ in range(3):
        place.wait(75)
        assert await place.look() == 0
    place.says_of(leaf)  # the hold is released, or the certificate is known now
    place.wait(75)
    await place.look()
    assert place.held(leaf) is False
    place.wait(75)
    assert await place.look() == LOOK


async def test_it_is_asked_again_at_half_its_life(place: Place, ca: FakeAuthority) -> None:
    leaf = ca.issue()
    place.says_of(leaf, life=timedelta(hours=2))  # of which one hour counts
    place.saw(leaf)
    await place.look()
    place.wait(29 * 60)
    assert await place.look() == LOOK
    place.wait(61)
    assert await place.look() == 0
    assert len(place.asked) == 2
    assert await place.look() == LOOK
    # The clock goes back: what is held is of the future, and something of now is asked for, but an older one not taken.
    place.seconds += 3_600
    place.clock.advance(hours=-1)
    await place.look()
    assert len(place.asked) == 3
    assert place.follower.without_answer(place.clock.now()) == 1


async def test_a_confirmed_good_does_not_empty_what_is_remembered(place: Place, ca: FakeAuthority) -> None:
    leaf, version = ca.issue(), 0
    place.says_of(leaf)
    place.saw(leaf)
    for expected in (1, 1, 1):
        await place.look()
        version = place.folder.store.version
        assert version == expected
        place.wait(1_801)
    place.says_of(leaf, status=REVOKED)
    await place.look()
    assert place.folder.store.version == 2


def replayed(ca: FakeAuthority, leaf: FakeCertificate) -> bytes:
    return answer(ca, leaf, at=ca.now - timedelta(minutes=1))


BAD: dict[str, Callable[[FakeAuthority, FakeCertificate], bytes | httpx.Response]] = {
    "garbage": lambda _ca, _leaf: b"half of an ans",
    "nothing": lambda _ca, _leaf: b"",
    "huge": lambda _ca, _leaf: bytes(MAX_OCSP_BYTES + 1),
    "a web page": lambda _ca, _leaf: httpx.Response(200, html="<h1>Please log in</h1>"),
    "429": lambda _ca, _leaf: httpx.Response(429, headers={"retry-after": "120"}),
    "500": lambda ca, leaf: httpx.Response(500, content=answer(ca, leaf)),
    "another place": lambda _ca, _leaf: httpx.Response(302, headers={"location": "http://127.0.0.1/"}),
    "try later": lambda _ca, _leaf: b"\x30\x03\x0a\x01\x03",
    "unauthorized": lambda _ca, _leaf: b"\x30\x03\x0a\x01\x06",
    "of another certificate": lambda ca, _leaf: answer(ca, ca.issue()),
    "of another CA": lambda ca, leaf: answer(ca.rogue(), leaf),
    "older than what is known": replayed,
    "expired": lambda ca, leaf: answer(ca, leaf, at=ca.now - timedelta(hours=3)),
    "expired revocation": lambda ca, leaf: answer(ca, leaf, REVOKED, at=ca.now - timedelta(hours=3)),
    "of the future": lambda ca, leaf: answer(ca, leaf, at=ca.now + timedelta(minutes=70)),
    "without an end": lambda ca, leaf: answer(ca, leaf, life=None),
    "compressed": lambda ca, leaf: httpx.Response(
        200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b" + answer(ca, leaf))
    ),
}


@pytest.mark.parametrize("what", BAD)
async def test_what_a_responder_may_send_changes_nothing(what: str, place: Place, ca: FakeAuthority) -> None:
    leaf = ca.issue()
    place.says_of(leaf)
    place.saw(leaf)
    await place.look()
    (file,) = place.files()
    before, known = file.read_bytes(), place.folder.store.about(place.key, leaf.certificate.serial_number)
    place.says = lambda _: BAD[what](ca, leaf)
    place.clock.moment = ca.now + timedelta(minutes=31) if "future" not in what else ca.now + timedelta(minutes=5)
    place.seconds += 1_900
    for _ in range(4):
        rest = await place.look()
        place.seconds += rest
    if "future" not in what:
        assert place.follower.failures[URL] >= 1
    assert place.folder.store.about(place.key, leaf.certificate.serial_number) == known
    assert [item.read_bytes() for item in place.files()] == [before]
    # And when it is well again, the next answer is taken.
    place.clock.moment = ca.now + timedelta(minutes=45)
    place.seconds += 1_000
    place.says_of(leaf)
    await place.look()
    assert place.follower.failures == {}
    assert place.files()[0].read_bytes() != before


@pytest.mark.parametrize("what", BAD)
async def test_nothing_bad_is_ever_a_first_answer(what: str, place: Place, ca: FakeAuthority) -> None:
    leaf = ca.issue()
    place.says = lambda _: BAD[what](ca, leaf)
    place.saw(leaf)
    await place.look()
    if what == "older than what is known":  # nothing is known: it counts
        assert place.held(leaf) is False
    else:
        assert (place.held(leaf), place.files()) == (None, [])
        assert place.follower.without_answer(place.clock.now()) == 1
        assert len({str(request.url) for request in place.asked}) == (2 if what == "unauthorized" else 1)


async def test_a_responder_that_drips(place: Place, ca: FakeAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki.validation.ocsp_source, "TIMEOUT", 0.05)

    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b"0"
                await asyncio.sleep(0.01)

    place.says = lambda _: httpx.Response(200, stream=Drip())
    place.saw(ca.issue())
    assert await place.look() > 0
    assert place.follower.failures == {URL: 1}


async def test_a_responder_in_trouble_is_left_alone_longer_and_longer(place: Place, ca: FakeAuthority) -> None:
    leaves = [ca.issue() for _ in range(12)]
    place.says = lambda _: httpx.Response(500)
    place.saw(*leaves)
    rests = []
    for _ in range(14):
        rests.append(await place.look())
        place.seconds += rests[-1]
    assert len(place.asked) <= 14 * AT_ONCE
    assert 1.6 <= rests[0] <= 2.4
    assert 480 <= rests[-1] <= 720
    assert sum(rests) > 1_800
    # It says itself for how long; and not for ever.
    place.says = lambda _: httpx.Response(503, headers={"retry-after": "999999999"})
    place.start()
    place.saw(*leaves)
    assert 600 <= await place.look() <= 720
    place.start()
    place.says_of(*leaves)
    place.saw(*leaves)
    assert [await place.look() for _ in range(4)] == [0, 0, 0, LOOK]


async def test_one_certificate_in_trouble_holds_up_no_other(place: Place, ca: FakeAuthority) -> None:
    bad, good = ca.issue(), [ca.issue() for _ in range(2 * AT_ONCE)]
    place.says_of(*good)
    well = place.says
    place.says = lambda asked: b"garbage" if asked.serial_number == bad.certificate.serial_number else well(asked)
    place.saw(bad, *good)
    for _ in range(4):
        await place.look()
    assert [place.held(leaf) for leaf in good] == [False] * len(good)
    assert place.held(bad) is None
    assert len(place.asked) == 1 + len(good)


async def test_a_mistake_about_one_certificate_waits_as_a_failure_and_holds_up_no_other(
    place: Place, ca: FakeAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = ca.issue(), ca.issue()
    place.says_of(bad, good)
    keep, tried = place.folder.keep, []

    async def mistaken(der: bytes, named: tuple[str, int], at: datetime, skew: timedelta) -> bool:
        if named[1] == bad.certificate.serial_number:
            tried.append(named)
            raise RecursionError
        return await keep(der, named, at, skew)

    monkeypatch.setattr(place.folder, "keep", mistaken)
    place.saw(bad, good)
    assert await place.look() == 0
    assert (place.held(good), place.held(bad)) == (False, None)
    assert await place.look() == LOOK
    assert len(tried) == 1
    place.wait(3)
    assert await place.look() > 0  # the near miss: after its pause it is tried again
    assert len(tried) == 2
    assert place.follower.failures == {URL: 1}
    monkeypatch.undo()
    place.wait(10)
    await place.look()
    assert place.held(bad) is False


async def test_a_responder_that_knows_no_sha256(place: Place, ca: FakeAuthority) -> None:
    leaf, other = ca.issue(), ca.issue()
    place.says_of(leaf, other)
    well = place.says
    place.says = lambda asked: well(asked) if asked.hash_algorithm.name == "sha1" else b"\x30\x03\x0a\x01\x06"
    place.saw(leaf)
    await place.look()
    place.saw(other)
    await place.look()
    assert (place.held(leaf), place.held(other)) == (False, False)
    assert [question_of(request).hash_algorithm.name for request in place.asked] == ["sha256", "sha1", "sha1"]


async def test_a_long_url_is_asked_by_post(ca: FakeAuthority, tmp_path: Path) -> None:
    leaf, requests = ca.issue(), []

    def serve(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return streamed(httpx.Response(200, content=answer(ca, leaf)))

    client = httpx.AsyncClient(transport=httpx.MockTransport(serve))
    folder = OcspFolder(tmp_path, [ca.issuing.der])
    source = OcspSource("http://ocsp.test/" + "a" * 200, ca.issuing.der)
    follower = OcspFollower([source], folder, FixedClock(ca.now), client)
    follower.saw(source.issuer_key, leaf.certificate.serial_number)
    await follower.look(source.issuer_key)
    (request,) = requests
    assert (request.method, request.headers["content-type"]) == ("POST", "application/ocsp-request")
    assert ocsp.load_der_ocsp_request(request.content).serial_number == leaf.certificate.serial_number
    assert folder.store.version == 1
    await client.aclose()


async def test_a_restart_starts_with_what_was_known_and_follows_it_on(place: Place, ca: FakeAuthority) -> None:
    leaf, held = ca.issue(), ca.issue()
    place.says_of(leaf)
    place.saw(leaf)
    await place.look()
    place.says_of(held, status=REVOKED)
    place.saw(held)
    await place.look()
    (place.path / "ocsp" / f"{place.key[:16]}-ff.new").write_bytes(b"half of an ans")  # a process that was killed
    (place.path / "ocsp" / f"{place.key[:16]}-ff.ocsp").write_bytes(b"half of an ans")
    place.start()
    assert (place.held(leaf), place.held(held)) == (False, True)
    async with asyncio.timeout(30):
        async with place.follower:
            assert len(place.follower) == 2
    # Unseen for a day: a good answer goes, a revocation stays.
    place.start()
    place.saw(leaf, held)
    place.seconds += FORGET + 1
    await place.look()
    assert len(place.follower) == 0
    assert (place.held(leaf), place.held(held)) == (None, True)
    assert [path.name for path in place.files() if path.suffix == ".ocsp"] == sorted(
        [f"{place.key[:16]}-ff.ocsp", f"{place.key[:16]}-{held.certificate.serial_number:x}.ocsp"]
    )


async def test_no_more_are_followed_than_fit(place: Place, ca: FakeAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki.validation.ocsp_following, "MAX_FOLLOWED", 2)
    first, second, third = (ca.issue() for _ in range(3))
    place.says_of(first, second, third)
    place.saw(first, second)
    await place.look()
    place.saw(first, third)  # the second is unseen for the longest
    await place.look()
    assert len(place.follower) == 2
    assert (place.held(first), place.held(second), place.held(third)) == (False, None, False)
    assert len(place.files()) == 2


async def test_a_folder_that_cannot_be_written_decides_nothing(place: Place, ca: FakeAuthority) -> None:
    (place.path / "ocsp").write_text("not a folder")
    leaf = ca.issue()
    place.says_of(leaf)
    place.saw(leaf)
    assert await place.look() == 0
    assert place.held(leaf) is False


async def test_it_runs_in_the_background_and_wakes_for_a_new_certificate(place: Place, ca: FakeAuthority) -> None:
    leaf = ca.issue()
    place.says_of(leaf)
    async with place.follower:
        place.saw(leaf)
        async with asyncio.timeout(30):
            while place.held(leaf) is None:  # noqa: ASYNC110  what is waited for has no event
                await asyncio.sleep(0.002)
    assert len(place.asked) == 1


async def test_where_ocsp_is_required_a_list_is_not_enough(place: Place, ca: FakeAuthority) -> None:
    leaf = ca.issue()
    pin = PinnedIssuer(ca.pin.spki_sha256, ca.pin.scheme, ca.pin.environment, ocsp_required=True)
    by = ca.validator(ocsp=place.folder.store, saw=place.follower.saw, issuers=[pin])

    def refused() -> Reason | None:
        try:
            by.validate(leaf.der, (), place.clock.now())
        except Refused as refusal:
            return refusal.reason
        return None

    # At first sight; and while the responder gives nothing.
    assert refused() is Reason.OCSP_MISSING
    place.says = lambda _: httpx.Response(500)
    await place.look()
    place.wait(30)
    assert refused() is Reason.OCSP_MISSING
    place.says_of(leaf)
    place.wait(30)
    await place.look()
    assert refused() is None
    # It grows old, whatever a list says: nobody can wait it out by keeping the responder away.
    place.clock.advance(seconds=59 * 60)
    fresh = ca.crl_store(ca.root_crl(), ca.crl(at=place.clock.now()))
    by = ca.validator(fresh, ocsp=place.folder.store, saw=place.follower.saw, issuers=[pin])
    assert refused() is None
    place.clock.advance(seconds=61)
    assert refused() is Reason.OCSP_MISSING
    plain = ca.validator(fresh, ocsp=place.folder.store)
    assert plain.validate(leaf.der, (), place.clock.now())  # the near miss: where it is not required
    # A list that names it refuses before anything else is asked.
    listed = ca.crl_store(ca.root_crl(), ca.crl(revoked=[leaf.certificate.serial_number]))
    by = ca.validator(listed, ocsp=place.folder.store, saw=place.follower.saw, issuers=[pin])
    assert refused() is Reason.CERTIFICATE_REVOKED


def test_names_of_files_are_ours(ca: FakeAuthority, tmp_path: Path) -> None:
    folder = OcspFolder(tmp_path, [ca.issuing.der])
    leaf = ca.issue().certificate
    for name in ("party.ocsp", f"{'0' * 16}-{leaf.serial_number:x}.ocsp", f"{ca.pin.spki_sha256[:16]}-zz.ocsp"):
        (tmp_path / name).write_bytes(answer(ca, ca.issue()))
    folder.refresh()
    assert folder.kept([ca.pin.spki_sha256]) == []
