"""From one issuing CA to the next, and from one root to the next, without a moment in which a party is refused."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.audit import EventType
from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext
from authz.edge.settings import SettingsError, load_settings
from pki.app import AuthorityError, OpenAuthority, open_authority
from pki.audit.records import Actor
from pki.ceremony import CeremonyPlan, hold_ceremony
from pki.ceremony.first import HsmPlan
from pki.ceremony.later import RootFiles, cross_certify, hold_issuing, make_root_crl
from pki.ceremony.parts import FileKeyPlan, KeyPlan
from pki.ceremony.transcript import Occasion, People
from pki.enrolment.requests import CertificateRequest, parse_request
from pki.http.published import Published
from pki.issuing import Holder, IssuingError, Prepared
from pki.revocation.crl import RevocationReason
from pki.revocation.retirement import RetirementError
from pki.settings import PkiSettings
from pki.store.register import Register
from pki.validation.validator import CertificateValidator, CrlStore, PinnedIssuer
from tests.fakes.clock import FixedClock
from tests.fakes.domains import EveryName
from tests.fakes.softhsm import SoftHsm

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PASSPHRASE = b"correct horse battery staple"
BASE_URL = "http://127.0.0.1:18080"
OPERATOR = Actor("operator:test", "CA_OPERATOR", TraceContext("1" * 32, "1" * 16))
FIRST, SECOND = Identifier.parse_subject("uzovi:5000"), Identifier.parse_subject("agbcode:01234567")


def new_request() -> CertificateRequest:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return parse_request(csr.public_bytes(Encoding.DER))


def holder(identifier: Identifier) -> Holder:
    return Holder(identifier, "Test", "12345678", ("a.example.nl",))


def occasion(at: datetime = NOW) -> Occasion:
    return Occasion("A later ceremony", People("A. Jansen", "B. de Vries"), at)


@dataclass(frozen=True)
class World:
    """The folder of the authority, to which later ceremonies add their files."""

    folder: Path

    @property
    def root(self) -> RootFiles:
        return RootFiles(self.folder / "root.crt", self.folder / "root.key.pem", PASSPHRASE, BASE_URL)

    def take(self, made: dict[str, Path] | Path) -> None:
        """Copy what a ceremony made into the folder, as an operator would."""
        paths = made.values() if isinstance(made, dict) else made.iterdir()
        for path in paths:
            if path.name != "transcript.md":
                (self.folder / path.name).write_bytes(path.read_bytes())
                (self.folder / path.name).chmod(path.stat().st_mode)

    def add_issuer(self, folder: Path, plan: KeyPlan | None = None) -> None:
        """A second issuing CA of the same environment, in the settings as its ceremony says."""
        plan = plan or FileKeyPlan("ec-p256", PASSPHRASE, "../issuing.passphrase")
        hold_issuing(self.root, folder, "TST", generation=2, key_plan=plan, occasion=occasion())
        self.take(folder)
        with (self.folder / "pki.toml").open("a") as settings:
            settings.write("\n" + (folder / "issuers.toml").read_text())

    def set_active(self, *names: str) -> None:
        path = self.folder / "pki.toml"
        kept = path.read_text().split("\n[issuing]\n")[0]
        path.write_text(f"{kept}\n[issuing]\nactive = {list(names)!r}\n")

    def replace(self, old: str, new: str) -> None:
        path = self.folder / "pki.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    @asynccontextmanager
    async def open(self, clock: FixedClock) -> AsyncIterator[OpenAuthority]:
        settings = load_settings(PkiSettings, self.folder / "pki.toml")
        async with open_authority(settings, clock, validator=EveryName()) as pki:
            yield pki


@pytest.fixture
def world(tmp_path: Path) -> World:
    secret = tmp_path / "issuing.passphrase"
    secret.write_bytes(PASSPHRASE)
    secret.chmod(0o600)
    hold_ceremony(
        CeremonyPlan(
            folder=tmp_path / "ca",
            organization="Sluis test",
            environment="TST",
            base_url=BASE_URL,
            listen_port=18080,
            root_passphrase=PASSPHRASE,
            issuing_passphrase=PASSPHRASE,
            issuing_passphrase_file=secret,
        ),
        NOW - timedelta(days=1),
    )
    return World(tmp_path / "ca")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


async def documents(pki: OpenAuthority) -> dict[str, bytes]:
    """Everything that the authority publishes, as a relying party fetches it."""
    await pki.withdrawal.sweep()
    published = Published(pki)
    await published.load()
    assert await published.problems() == []
    return {path: document.content for path, document in published._documents.items()}


async def validator(
    pki: OpenAuthority, anchors: Sequence[bytes], intermediates: Sequence[bytes] = ()
) -> CertificateValidator:
    """A relying party with every CRL that is published now."""
    published = await documents(pki)
    authorities = [content for path, content in published.items() if path.startswith("/ca/")]
    crls = CrlStore([*anchors, *intermediates, *authorities])
    for path, content in published.items():
        if path.startswith("/crl/"):
            crls.put(content)
    pins = [PinnedIssuer(ca.key, "sluis", ca.environment) for ca in pki.cas]
    return CertificateValidator(anchors=anchors, issuers=pins, intermediates=[*intermediates], crls=crls)


async def test_a_rollover_to_a_second_issuing_ca_refuses_nobody(
    world: World, clock: FixedClock, tmp_path: Path
) -> None:
    anchors = [der(world.folder / "root.crt")]
    async with world.open(clock) as pki:
        old = await pki.issue(holder(FIRST), new_request(), OPERATOR)

    # Both are there; the old one still issues.
    world.add_issuer(tmp_path / "second")
    world.set_active("issuing-tst")
    async with world.open(clock) as pki:
        assert {"/crl/issuing-tst.crl", "/crl/issuing-tst-2.crl"} <= set(await documents(pki))
        still = await pki.issue(holder(SECOND), new_request(), OPERATOR)
        assert still.registered.issuer == "issuing-tst"

    # The new one issues. What the old one issued works, is renewed by the new one, and can be revoked.
    world.set_active("issuing-tst-2")
    async with world.open(clock) as pki:
        check = await validator(pki, anchors)
        for issued in (old, still):
            check.validate(issued.certificate, [issued.issuer], clock.now())
        with pytest.raises(Refused) as caught:
            await pki.issue(holder(FIRST), new_request(), OPERATOR)
        assert caught.value.reason is Reason.IDENTITY_HAS_CERTIFICATE
        new = await pki.renew(FIRST, new_request(), OPERATOR)
        assert (new.registered.issuer, old.registered.issuer) == ("issuing-tst-2", "issuing-tst")
        chain = x509.load_pem_x509_certificates(pki.chain_pem(new.certificate).encode())
        chain[0].verify_directly_issued_by(chain[1])
        assert len(chain) == 2
        check = await validator(pki, anchors)
        for issued in (old, still, new):
            found = check.validate(issued.certificate, [issued.issuer], clock.now())
            assert found.identity == issued.registered.identifier
        with pytest.raises(Refused) as caught:
            await retire(pki)
        assert caught.value.reason is Reason.ISSUER_IN_USE

        # The overlap ends: the old certificate is on the CRL of the old CA, the new one is on no CRL.
        await pki.revoke(RevocationReason.CESSATION_OF_OPERATION, OPERATOR, identifier=SECOND)
        clock.advance(days=7)
        check = await validator(pki, anchors)
        check.validate(new.certificate, [new.issuer], clock.now())
        for issued in (old, still):
            with pytest.raises(Refused) as caught:
                check.validate(issued.certificate, [issued.issuer], clock.now())
            assert caught.value.reason is Reason.CERTIFICATE_REVOKED
        await retire(pki)

    # Its key is gone, its certificate and last CRL are not.
    retired_ca = x509.load_der_x509_certificate(old.issuer)
    without_key(world)
    async with world.open(clock) as pki:
        assert [ca.name for ca in pki.cas] == ["issuing-tst-2"]
        clock.advance(days=2)
        published = await documents(pki)
        assert published["/ca/issuing-tst.crt"] == old.issuer
        last = x509.load_der_x509_crl(published["/crl/issuing-tst.crl"])
        assert last.next_update_utc == retired_ca.not_valid_after_utc
        assert last.get_revoked_certificate_by_serial_number(int(old.registered.serial_number, 16)) is not None
        await pki.renew(FIRST, new_request(), OPERATOR)
        async with pki.database.read() as connection:
            kinds = [record for _, record in await Register(connection).unshipped(100)]
        assert sum(f'"{EventType.KEY_ROTATE}"' in record for record in kinds) == 1

    # The root withdraws it: whatever else it might have signed is refused.
    gone = [(world.folder / "issuing-tst.crt", RevocationReason.CESSATION_OF_OPERATION)]
    made = make_root_crl(world.root, world.folder / "root.crl", tmp_path / "crl", gone, occasion(clock.now()))
    world.take(dict(made))
    async with world.open(clock) as pki:
        check = await validator(pki, anchors)
        check.validate(new.certificate, [new.issuer], clock.now())
        with pytest.raises(Refused):
            check.validate(old.certificate, [old.issuer], clock.now())


async def retire(pki: OpenAuthority) -> None:
    await pki.retirement.retire(next(ca for ca in pki.cas if ca.name == "issuing-tst"), OPERATOR)


def without_key(world: World) -> None:
    world.replace(
        'key = "issuing-tst.key.pem"\npassphrase_file = "../issuing.passphrase"\n\n[database]',
        'signer = "none"\n\n[database]',
    )


async def test_a_ca_without_a_key_that_was_not_retired_stops_the_start(
    world: World, clock: FixedClock, tmp_path: Path
) -> None:
    world.add_issuer(tmp_path / "second")
    world.set_active("issuing-tst-2")
    async with world.open(clock) as pki:
        await retire(pki)
        # The service that still has the key goes on making CRLs: then that last one is not the last.
        clock.advance(minutes=30)
        await pki.withdrawal.sweep()
    without_key(world)
    with pytest.raises(RetirementError, match="pki retire --issuer issuing-tst"):
        async with world.open(clock):
            pass


async def test_the_ca_that_issues_is_not_retired(world: World, clock: FixedClock) -> None:
    async with world.open(clock) as pki:
        with pytest.raises(Refused) as caught:
            await retire(pki)
    assert caught.value.reason is Reason.ISSUER_IN_USE


async def test_a_renewal_by_the_new_ca_that_fails_leaves_the_old_certificate_renewable(
    world: World, clock: FixedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.open(clock) as pki:
        await pki.issue(holder(FIRST), new_request(), OPERATOR)
    world.add_issuer(tmp_path / "second")
    world.set_active("issuing-tst-2")

    def broken(prepared: Prepared) -> bytes:
        raise IssuingError("the signer is broken")

    async with world.open(clock) as pki:
        active = pki.cas[1]
        monkeypatch.setattr(active, "redeem", broken)
        with pytest.raises(IssuingError):
            await pki.renew(FIRST, new_request(), OPERATOR)
        monkeypatch.undo()

        async def killed(*given: object) -> bytes:
            raise KeyboardInterrupt

        monkeypatch.setattr(pki.authority, "_sign", killed)
        with pytest.raises(KeyboardInterrupt):
            await pki.renew(FIRST, new_request(), OPERATOR)
        monkeypatch.undo()
        clock.advance(seconds=61)
        await pki.withdrawal.sweep()
        renewed = await pki.renew(FIRST, new_request(), OPERATOR)
    assert renewed.registered.issuer == "issuing-tst-2"


@pytest.mark.parametrize(
    ("active", "words"),
    [
        ((), "expected one of issuing-tst, issuing-tst-2"),
        (("issuing-tst", "issuing-tst-2"), "expected one issuing CA for TST"),
        (("issuing-acc",), "issuing-acc is not one of the issuers"),
    ],
)
def test_which_ca_issues_is_chosen_once(active: tuple[str, ...], words: str, world: World, tmp_path: Path) -> None:
    world.add_issuer(tmp_path / "second")
    world.set_active(*active)
    with pytest.raises(SettingsError, match=words):
        load_settings(PkiSettings, world.folder / "pki.toml")


async def test_two_cas_with_one_name_are_refused(world: World, clock: FixedClock, tmp_path: Path) -> None:
    plan = FileKeyPlan("ec-p256", PASSPHRASE, "../issuing.passphrase")
    hold_issuing(world.root, tmp_path / "same", "TST", generation=1, key_plan=plan, occasion=occasion())
    world.add_issuer(tmp_path / "second")
    for name in ("crt", "key.pem"):
        (world.folder / f"issuing-tst-2.{name}").write_bytes((tmp_path / "same" / f"issuing-tst.{name}").read_bytes())
    world.set_active("issuing-tst")
    with pytest.raises(AuthorityError, match="different subjects"):
        async with world.open(clock):
            pass


async def test_the_next_root_is_reached_through_a_cross_certificate(
    world: World, clock: FixedClock, tmp_path: Path
) -> None:
    old_root = der(world.folder / "root.crt")
    async with world.open(clock) as pki:
        before = await pki.issue(holder(FIRST), new_request(), OPERATOR)
    second = hold_ceremony(
        CeremonyPlan(
            folder=tmp_path / "root-2",
            organization="Sluis test",
            environment="TST",
            base_url=BASE_URL,
            listen_port=18080,
            root_passphrase=PASSPHRASE,
            issuing_passphrase=PASSPHRASE,
            issuing_passphrase_file=world.folder.parent / "issuing.passphrase",
            generation=2,
        ),
        NOW - timedelta(hours=1),
    )
    cross = cross_certify(world.root, second["root-2.crt"], tmp_path / "cross", occasion())
    world.take({name: path for name, path in second.items() if name not in {"pki.toml", "ca-bundle.pem"}})
    world.take(dict(cross))
    (world.folder / "pki.toml").write_text(
        (world.folder / "pki.toml").read_text()
        + '\n[[other_roots]]\nname = "root-2"\ncertificate = "root-2.crt"\n'
        + 'crl = "root-2.crl"\ncross = "root-2-cross.crt"\n'
        + '\n[[issuers]]\nname = "issuing-tst-2"\nenvironment = "TST"\ncertificate = "issuing-tst-2.crt"\n'
        + 'key = "issuing-tst-2.key.pem"\npassphrase_file = "../issuing.passphrase"\n'
    )
    world.set_active("issuing-tst-2")
    new_root, cross_der = der(world.folder / "root-2.crt"), der(world.folder / "root-2-cross.crt")
    async with world.open(clock) as pki:
        after = await pki.renew(FIRST, new_request(), OPERATOR)
        published = await documents(pki)
        assert published["/ca/root-2-cross.crt"] == cross_der
        assert published["/ca/root-2.crt"] == new_root
        both = await validator(pki, [old_root, new_root])
        only_old = await validator(pki, [old_root], [cross_der])
        only_new = await validator(pki, [new_root])
        alone = await validator(pki, [old_root])
        for check, issued in ((both, before), (both, after), (only_old, before), (only_old, after), (only_new, after)):
            assert check.validate(issued.certificate, [issued.issuer], clock.now()).identity == FIRST
        for check, issued in ((alone, after), (only_new, before)):
            with pytest.raises(Refused):
                check.validate(issued.certificate, [issued.issuer], clock.now())
    # The cross-certificate can be withdrawn like any other.
    gone = [(world.folder / "root-2-cross.crt", RevocationReason.SUPERSEDED)]
    clock.advance(minutes=1)
    made = make_root_crl(world.root, world.folder / "root.crl", tmp_path / "crl", gone, occasion(clock.now()))
    world.take(dict(made))
    async with world.open(clock) as pki:
        with pytest.raises(Refused):
            (await validator(pki, [old_root], [cross_der])).validate(after.certificate, [after.issuer], clock.now())


async def test_an_authority_with_its_key_in_a_token_issues_renews_and_revokes(
    world: World, clock: FixedClock, tmp_path: Path, hsm: SoftHsm
) -> None:
    async with world.open(clock) as pki:
        await pki.issue(holder(FIRST), new_request(), OPERATOR)
    plan = HsmPlan(hsm.module, "sluis", hsm.pin_file).key("ec-p256", world.folder)
    world.add_issuer(tmp_path / "second", plan)
    world.set_active("issuing-tst-2")
    assert not (world.folder / "issuing-tst-2.key.pem").exists()
    async with world.open(clock) as pki:
        issued = await pki.renew(FIRST, new_request(), OPERATOR)
        other = await pki.issue(holder(SECOND), new_request(), OPERATOR)
        await pki.revoke(RevocationReason.KEY_COMPROMISE, OPERATOR, identifier=SECOND)
        check = await validator(pki, [der(world.folder / "root.crt")])
        check.validate(issued.certificate, [issued.issuer], clock.now())
        with pytest.raises(Refused) as caught:
            check.validate(other.certificate, [other.issuer], clock.now())
        assert caught.value.reason is Reason.CERTIFICATE_REVOKED
