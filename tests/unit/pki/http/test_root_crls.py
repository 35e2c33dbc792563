"""The CRL of a root is carried here in a file, and that file may be any: an old copy, another CA's, half a one."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from authz.edge.settings import load_settings
from pki.app import OpenAuthority, open_authority
from pki.certificate_files import CertificateFileError
from pki.http.published import Published
from pki.revocation import root_crls
from pki.revocation.root_crls import RootCrlRefused, RootCrls
from pki.settings import PkiSettings
from pki.store.database import StoreUnavailable
from pki.store.register import Register
from tests.fakes.certificates import issuing_distribution_point
from tests.fakes.clock import FixedClock
from tests.fakes.domains import EveryName
from tests.unit.pki.conftest import NOW, PASSPHRASE

PATH = "/crl/root.crl"


@dataclass
class Desk:
    """An operator with the key of the root, and the file that the authority publishes."""

    ca: Path
    config: Path
    file: Path
    key: ec.EllipticCurvePrivateKey
    root: x509.Certificate
    turned: int = field(default=0)

    def crl(
        self,
        number: int | None,
        *entries: int,
        age: timedelta = timedelta(),
        extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
        name: x509.Name | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(name or self.root.subject)
            .last_update(NOW - age)
            .next_update(NOW + timedelta(days=300))
        )
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        for value, critical in extensions:
            builder = builder.add_extension(value, critical=critical)
        for serial in entries:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - age).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def put(self, content: bytes) -> None:
        """Over the file, at a moment that differs however coarse the file system tells time."""
        self.turned += 1
        self.file.write_bytes(content)
        os.utime(self.file, ns=(self.turned * 10**9, self.turned * 10**9))

    @asynccontextmanager
    async def serve(self, clock: FixedClock) -> AsyncIterator[Published]:
        """As a service that starts."""
        async with open_authority(load_settings(PkiSettings, self.config), clock, validator=EveryName()) as pki:
            await pki.withdrawal.sweep()
            published = Published(pki)
            await published.load()
            yield published
            published.close()


def scope(names: list[x509.GeneralName] | None, *, users_only: bool = False) -> x509.IssuingDistributionPoint:
    return issuing_distribution_point(full_name=names, only_contains_user_certs=users_only)


@pytest.fixture
def desk(ca_folder: Path, config: Path, tmp_path: Path) -> Desk:
    file = tmp_path / "published.crl"
    file.write_bytes((ca_folder / "root.crl").read_bytes())
    text = config.read_text()
    assert f'"{ca_folder / "root.crl"}"' in text
    config.write_text(text.replace(f'"{ca_folder / "root.crl"}"', f'"{file}"'))
    key = load_pem_private_key((ca_folder / "root.key.pem").read_bytes(), PASSPHRASE)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    root = x509.load_pem_x509_certificate((ca_folder / "root.crt").read_bytes())
    return Desk(ca_folder, config, file, key, root)


async def served(published: Published) -> bytes:
    document = await published.get(PATH)
    assert document is not None
    return document.content


async def of_issuing_ca(published: Published) -> bytes:
    document = await published.get("/crl/issuing-tst.crl")
    assert document is not None
    return document.content


async def test_an_older_list_put_back_is_refused_also_after_a_restart(desk: Desk, clock: FixedClock) -> None:
    first = desk.file.read_bytes()
    newer = desk.crl(2, 4711)
    async with desk.serve(clock) as published:
        assert await served(published) == first
        desk.put(newer)
        assert await served(published) == newer
        assert await published.problems() == []
        desk.put(first)
        assert await served(published) == newer
        assert await published.problems() == ["root_crl_refused"]
    async with desk.serve(clock) as again:
        assert await served(again) == newer
        assert await again.problems() == ["root_crl_refused"]
        assert again.root_crls.samples() == [("sluis_pki_root_crl_refused", {"root": "root"}, 1.0)]
        desk.put(newer)
        assert await served(again) == newer
        assert await again.problems() == []
        assert again.root_crls.samples() == [("sluis_pki_root_crl_refused", {"root": "root"}, 0.0)]


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_what_is_no_newer_list_of_this_root_is_not_published(desk: Desk, clock: FixedClock) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    elsewhere: list[x509.GeneralName] = [x509.UniformResourceIdentifier("http://elsewhere.example.nl/a.crl")]
    async with desk.serve(clock) as published:
        good = desk.crl(5, 4711, age=timedelta(hours=1))
        desk.put(good)
        assert await served(published) == good
        refused = {
            "issuing CA": await of_issuing_ca(published),
            "another root": desk.crl(6, name=x509.Name([]), key=other),
            "this name and another key": desk.crl(6, key=other),
            "lower number": desk.crl(4, 4711),
            "earlier date": desk.crl(6, 4711, age=timedelta(hours=2)),
            "same number and date": desk.crl(5, age=timedelta(hours=1)),
            "without a number": desk.crl(None),
            "number that nothing follows": desk.crl(2**31),
            "unknown critical extension": desk.crl(
                6, extensions=((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),)
            ),
            "delta": desk.crl(6, extensions=((x509.DeltaCRLIndicator(1), True),)),
            "end entities only": desk.crl(6, extensions=((scope(None, users_only=True), True),)),
            "another distribution point": desk.crl(6, extensions=((scope(elsewhere), True),)),
            "empty": b"",
            "half": good[: len(good) // 2],
            "certificate": (desk.ca / "root.crt").read_bytes(),
            "half a PEM": b"-----BEGIN X509 CRL-----\nAAAA",
        }
        for what, content in refused.items():
            desk.put(content)
            assert await served(published) == good, what
            assert await published.problems() == ["root_crl_refused"], what
            desk.put(good)
            assert await published.problems() == [], what
        # As relying parties would, the next number is taken, and a list made later under the same number.
        for later in (desk.crl(5, 4711, age=timedelta(minutes=9)), desk.crl(6, 4711, age=timedelta(minutes=9))):
            desk.put(later)
            assert await served(published) == later


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_pem_is_taken_and_published_as_der(desk: Desk, clock: FixedClock) -> None:
    der = desk.crl(2, 4711)
    async with desk.serve(clock) as published:
        pem = b"-----BEGIN X509 CRL-----\n" + base64.encodebytes(der) + b"-----END X509 CRL-----\n"
        desk.put(pem)
        assert await served(published) == der
        assert await published.problems() == []


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_a_refusal_is_logged_once_for_each_file(desk: Desk, clock: FixedClock) -> None:
    async with desk.serve(clock) as published:
        with structlog.testing.capture_logs() as logs:
            desk.put(b"first")
            for _ in range(5):
                await served(published)
            desk.put(b"second")
            for _ in range(5):
                await served(published)
            desk.file.unlink()
            for _ in range(5):
                await served(published)
        assert [line["event"] for line in logs] == ["root_crl_refused"] * 3
        assert await published.problems() == ["root_crl_refused"]


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_a_list_of_the_future_is_taken_when_its_time_has_come(desk: Desk, clock: FixedClock) -> None:
    early = desk.crl(2, age=-timedelta(minutes=5))
    async with desk.serve(clock) as published:
        desk.put(early)
        assert await served(published) != early
        assert await published.problems() == ["root_crl_refused"]
        clock.advance(minutes=5)
        assert await served(published) == early
        assert await published.problems() == []


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_no_start_with_a_refused_list_when_nothing_better_is_held(desk: Desk, clock: FixedClock) -> None:
    good = desk.file.read_bytes()
    desk.put(desk.crl(1, key=ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(RootCrlRefused, match=r"published\.crl: expected the newest CRL of root\. .*signature"):
        async with desk.serve(clock):
            pass
    desk.put(good)
    async with desk.serve(clock) as published:
        assert await served(published) == good


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_a_list_of_before_the_root_got_another_key_does_not_count(
    desk: Desk, pki: OpenAuthority, clock: FixedClock
) -> None:
    await pki.withdrawal.sweep()
    async with pki.database.write() as connection:
        register = Register(connection)
        crls = RootCrls(pki.database, pki.settings.roots(), [], clock)
        kept = (await register.crls())[0]
        old = type(kept)("root", 9, NOW, NOW + timedelta(days=9), kept.signed)
        await register.keep_root_crl(old, "0" * 64)
    await crls.load()
    assert crls.published["root"] == (desk.ca / "root.crl").read_bytes()


async def test_two_services_on_one_register_publish_the_newer_list(desk: Desk, clock: FixedClock) -> None:
    behind = desk.file.read_bytes()
    newer = desk.crl(2, 4711)
    async with desk.serve(clock) as one:
        desk.put(newer)
        assert await served(one) == newer
        desk.put(behind)
        async with desk.serve(clock) as other:
            assert await served(other) == newer


async def test_what_one_service_publishes_a_running_other_one_has_at_once(desk: Desk, clock: FixedClock) -> None:
    """Its own file stays what it was, and no issuing CA makes a list meanwhile."""
    old = desk.file.read_bytes()
    theirs = desk.file.with_name("theirs.crl")
    theirs.write_bytes(old)
    config = desk.config.with_name("theirs.toml")
    config.write_text(desk.config.read_text().replace(str(desk.file), str(theirs)))
    newer, newest = desk.crl(2, 4711), desk.crl(3, 4711, 4712)
    async with desk.serve(clock) as one, replace(desk, config=config, file=theirs).serve(clock) as other:
        of_ca = await of_issuing_ca(other)
        assert await served(other) == old
        for made in (newer, newest):
            changed = other.next_change()
            desk.put(made)
            assert await served(one) == made
            assert await served(other) == made
            assert changed.is_set()
        # Nothing goes back, and nothing is told twice.
        desk.put(old)
        changed = other.next_change()
        assert [await served(one), await served(other)] == [newest, newest]
        assert (await one.problems(), await other.problems()) == (["root_crl_refused"], [])
        assert not changed.is_set()
        assert await of_issuing_ca(other) == of_ca


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
@pytest.mark.parametrize("fault", [RuntimeError("x"), StoreUnavailable("x"), asyncio.CancelledError()])
async def test_a_file_of_which_the_judging_failed_is_judged_at_the_next_look(
    desk: Desk, clock: FixedClock, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, newer = desk.file.read_bytes(), desk.crl(2, 4711)
    async with desk.serve(clock) as published:
        desk.put(newer)

        def fails(_path: Path) -> bytes:
            raise fault

        with monkeypatch.context() as patch:
            patch.setattr(root_crls, "read_crl", fails)
            for _ in range(2):
                with pytest.raises(type(fault)):
                    await published.root_crls.look()
            assert published.root_crls.published["root"] == old
        await published.root_crls.look()
        assert published.root_crls.published["root"] == newer
        assert await published.problems() == []


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_a_list_of_the_future_of_which_the_judging_failed_is_judged_again(
    desk: Desk, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = desk.crl(2, age=-timedelta(minutes=5))
    async with desk.serve(clock) as published:
        desk.put(early)
        await published.root_crls.look()
        clock.advance(minutes=5)

        def fails(_path: Path) -> bytes:
            raise RuntimeError

        with monkeypatch.context() as patch:
            patch.setattr(root_crls, "read_crl", fails)
            with pytest.raises(RuntimeError):
                await published.root_crls.look()
        assert await served(published) == early


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_what_is_the_matter_with_the_file_of_a_root_stops_no_list_of_an_issuing_ca(
    desk: Desk, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.serve(clock) as published:
        old = await of_issuing_ca(published)
        desk.put(desk.crl(2, 4711))

        def fails(_path: Path) -> bytes:
            raise RuntimeError

        monkeypatch.setattr(root_crls, "read_crl", fails)
        clock.advance(minutes=50)
        async with open_authority(load_settings(PkiSettings, desk.config), clock, validator=EveryName()) as command:
            await command.withdrawal.sweep()
        assert await of_issuing_ca(published) != old
        assert await published.problems() == ["database_unavailable"]


@pytest.mark.parametrize("config", ["sqlite"], indirect=True)
async def test_a_cross_certificate_of_another_key_is_not_published(desk: Desk, clock: FixedClock) -> None:
    wrong = desk.config.read_text().replace("[root]", f'[root]\ncross = "{desk.ca / "issuing-tst.crt"}"')
    desk.config.write_text(wrong)
    with pytest.raises(CertificateFileError, match="certified by another CA"):
        async with desk.serve(clock):
            pass
