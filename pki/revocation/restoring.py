"""After an older copy of the register was put back: it learns again what the world knows from the published CRLs.

Readers keep the CRL with the highest number, so an authority whose numbers went back is not heard until their copy is
too old, and then they refuse everybody. And what was revoked since the copy would work again. So the newest published
CRL of each CA, which nobody else could have signed, is read back: numbers go on above it, and what it lists is revoked
or on hold here too. What it lists and the register does not know stays on the list.

What no CRL tells, operators do by hand: keys that were blocked without a revocation, and certificates issued since
(docs/how-to/back-up-restore-upgrade.md).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.audit import EventType
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.audit.records import Actor, RecordMaker
from pki.issuing import IssuingCa
from pki.revocation.crl import COMPROMISED, RevocationReason
from pki.revocation.publishing import CrlPublisher
from pki.signing.encoding import CrlEntry
from pki.store.keys import Keys
from pki.store.register import LIVE, UNDERWAY, Register, StoredCrl
from pki.store.restored import Known, RestoredRegister
from pki.validation.crl import MAX_CRL_BYTES, verify_crl

if TYPE_CHECKING:
    from pki.app import OpenAuthority
    from pki.enrolment.key_names import KeyName

MAX_CRL_NUMBER: Final = 2**30
"""Half of what the register holds (PostgreSQL's `integer`): as many fit after it, and the change counter beside it."""
MAX_CRL_FILE: Final = 2 * MAX_CRL_BYTES
"""Bytes; PEM is a third longer than DER."""
_PAGE: Final = 500
_PEM: Final = b"-----BEGIN"


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of a CRL."""

    serial_number: int
    at: datetime
    reason: RevocationReason


@dataclass(frozen=True, slots=True)
class PublishedCrl:
    """A CRL that one of our CAs signed.

    Attributes:
        ca: which one.
        number: CRL number.
        entries: by serial number, hex.
    """

    ca: IssuingCa
    number: int
    entries: Mapping[str, Listed]


@dataclass(slots=True)
class Restored:
    """What became of it; certificates as `<issuer>/<serial number>`.

    Attributes:
        revoked: were alive in the register, and were revoked since it was copied.
        held: the same, on hold.
        unknown: on the CRL and not in the register: issued after it was copied. They stay on the CRL.
        codes: selectors of enrolment codes that do not work any more.
        crls: as published now.
    """

    revoked: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    crls: list[StoredCrl] = field(default_factory=list)


class Restoration:
    """Brings a register of an older copy up to what was published.

    Args:
        pki: the open authority.
    """

    def __init__(self, pki: "OpenAuthority") -> None:
        self._pki = pki
        crl = pki.settings.crl
        self._publisher = CrlPublisher(
            pki.cas, life=timedelta(minutes=crl.life_minutes), refresh=timedelta(minutes=crl.refresh_minutes)
        )
        self._records = RecordMaker(pki.settings.audit.source)

    async def restore(self, files: Sequence[bytes], actor: Actor) -> Restored:
        """Take back what published CRLs say, in one transaction, and publish new ones with higher numbers.

        Doing it twice changes nothing more, but for the numbers.

        Args:
            files: the newest published CRL of each CA that has its key here, DER or PEM; of several of one CA, all
                entries count and the highest number.
            actor: who asks.

        Raises:
            Refused: CRL_INVALID, one is not a full CRL that a CA of ours signed, or its number is too large;
                PARAMETER_MISSING, there is none of one CA. Nothing was changed.
            SignerError: the key of a CA cannot be used.
        """
        published = [read_published(data, self._pki.cas) for data in files]
        if missing := sorted({ca.name for ca in self._pki.cas} - {item.ca.name for item in published}):
            raise Refused(
                Reason.PARAMETER_MISSING,
                f"Expected the newest published CRL of each CA; missing: {', '.join(missing)}.",
            )
        published.sort(key=lambda item: (item.ca.name, item.number))
        await self._publisher.make_ready(self._pki.database)
        at = self._pki.clock.now()
        found = Restored()
        async with self._pki.database.write() as connection:
            # Codes before certificates before CAs, as everybody else waits for them.
            register, copy = Register(connection), RestoredRegister(connection)
            found.codes = await copy.withdraw_codes()
            unknown: dict[str, dict[int, CrlEntry]] = defaultdict(dict)
            for item in published:
                for page in _pages(item.entries):
                    known = await copy.known(item.ca.name, list(page))
                    lost = {serial: entry for serial, entry in page.items() if serial not in known}
                    unknown[item.ca.name] |= {
                        entry.serial_number: CrlEntry(entry.serial_number, entry.at, entry.reason.code)
                        for entry in lost.values()
                    }
                    changes = _Changes(item.ca.name, found)
                    for serial, row in known.items():
                        changes.add(row, page[serial])
                    await changes.make(register, Keys(connection), at)
            for item in published:  # by name, so that two who do this wait in one order
                await copy.raise_crl_number(item.ca.name, item.number)
            for ca in sorted(self._pki.cas, key=lambda ca: ca.name):
                found.crls.append(await self._publisher.publish(register, ca, at, also=unknown[ca.name]))
                found.unknown += [f"{ca.name}/{serial:x}" for serial in sorted(unknown[ca.name])]
            record = self._records.make(
                EventType.COMPONENT_GAP,
                actor,
                at,
                subject="unknown",
                details={
                    "restored": "pki",
                    "crls": ", ".join(f"{crl.issuer}: {crl.number}" for crl in found.crls),
                    "revoked": len(found.revoked),
                    "held": len(found.held),
                    "unknown": len(found.unknown),
                    "codes": len(found.codes),
                },
            )
            await register.write([record])
        return found


class _Changes:
    """What one page of entries changes in the register."""

    def __init__(self, issuer: str, found: Restored) -> None:
        self._issuer = issuer
        self._found = found
        self._revoked: dict[tuple[RevocationReason, datetime], dict[int, str]] = defaultdict(dict)
        self._held: dict[int, tuple[str, datetime]] = {}
        self._worse: dict[RevocationReason, list[int]] = defaultdict(list)
        self._compromised: list[KeyName] = []

    def add(self, row: Known, entry: Listed) -> None:
        """One certificate that the CRL lists and the register knows."""
        if entry.reason in COMPROMISED:
            self._compromised.append(row.key)
        if row.status == "revoked":
            if entry.reason in COMPROMISED:
                self._worse[entry.reason].append(row.id)
        elif entry.reason is not RevocationReason.CERTIFICATE_HOLD:
            self._revoked[entry.reason, entry.at][row.id] = row.serial_number
        elif row.status in UNDERWAY:
            # It was signed since, and its bytes are not here: nobody could ever release it.
            self._revoked[RevocationReason.CESSATION_OF_OPERATION, entry.at][row.id] = row.serial_number
        elif row.status in LIVE and row.held_at is None:
            self._held[row.id] = (row.serial_number, entry.at)

    async def make(self, register: Register, keys: Keys, at: datetime) -> None:
        """In the transaction."""
        for (reason, moment), rows in self._revoked.items():
            changed = await register.revoke(sorted(rows), reason, moment)
            self._found.revoked += [f"{self._issuer}/{rows[row]}" for row in sorted(changed)]
        for row, (serial, moment) in self._held.items():
            if await register.hold(row, moment):
                self._found.held.append(f"{self._issuer}/{serial}")
        for reason, worse in self._worse.items():
            await register.worsen(worse, reason)
        if self._compromised:
            await keys.mark_compromised(self._compromised, at)


def read_published(data: bytes, cas: Sequence[IssuingCa]) -> PublishedCrl:
    """A CRL that one of these CAs signed.

    Args:
        data: DER or PEM.
        cas: ours.

    Raises:
        Refused: CRL_INVALID.
    """
    if data.lstrip().startswith(_PEM):
        try:
            data = x509.load_pem_x509_crl(data).public_bytes(Encoding.DER)
        except ValueError as error:
            raise Refused(Reason.CRL_INVALID, "The CRL cannot be used: it cannot be read as PEM.") from error
    crl = verify_crl(data, [ca.certificate for ca in cas])
    if crl.scope.delta or not (crl.scope.users and crl.scope.authorities):
        raise Refused(Reason.CRL_INVALID, "The CRL cannot be used: expected a full one.")
    if crl.number >= MAX_CRL_NUMBER:
        raise Refused(Reason.CRL_INVALID, f"The CRL cannot be used: its number is not below {MAX_CRL_NUMBER}.")
    ca = next(ca for ca in cas if ca.certificate == crl.signer)
    return PublishedCrl(ca, crl.number, {f"{entry.serial_number:x}": entry for entry in _entries(crl.der)})


def _entries(der: bytes) -> Iterator[Listed]:
    for entry in x509.load_der_x509_crl(der):
        try:
            said = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            reason = RevocationReason.UNSPECIFIED
        else:
            reason = RevocationReason(said.value)
        yield Listed(entry.serial_number, entry.revocation_date_utc, reason)


def _pages(entries: Mapping[str, Listed]) -> Iterator[dict[str, Listed]]:
    names = list(entries)
    for start in range(0, len(names), _PAGE):
        yield {name: entries[name] for name in names[start : start + _PAGE]}
