"""The CRLs of offline roots, which operators carry here in files: each is judged before anybody is given it.

Specification: RFC 5280 sections 5.2.3 and 6.3.3; docs/decisions/0125. A file is taken as a relying party takes a CRL
(`pki.validation.crl`): of this root by name and key, complete, for CA certificates, nothing critical that is not
understood. Besides it must be newer than what was published last, which the register keeps: a copy of an older list,
put back by mistake or on purpose, would tell who comes new that a withdrawn CA is in order. Whether a list has ended is
not judged here: health tells, and an ended list that names a withdrawn CA is better than none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog
from asn1crypto import pem
from cryptography import x509
from sqlalchemy.exc import IntegrityError

from authz.domain.clock import Clock
from authz.domain.errors import Refused, SluisError
from authz.domain.files import read_limited
from authz.domain.reasons import Reason
from authz.edge.pages import Sample
from pki.ca_settings import RootSettings
from pki.certificate_files import read_certificate
from pki.keys import spki_sha256
from pki.revocation.crl import SignedCrl
from pki.store.crls import CrlRegister
from pki.store.database import Database
from pki.store.register import Register, StoredCrl
from pki.validation.crl import MAX_CRL_BYTES, VerifiedCrl, verify_crl

_LOG: Final = structlog.get_logger(__name__)
MAX_NUMBER: Final = 2**31 - 1
"""What the register counts to; a root that signs one list a second gets there in 68 years."""
_NO_FILE: Final = (0, 0, 0)


class RootCrlRefused(SluisError):  # noqa: N818  it says what happened
    """The CRL of a root may not be published, and nothing better is there."""


@dataclass(slots=True)
class _Root:
    """One root, and how it stands.

    Attributes:
        settings: names and files.
        certificate: of the root.
        covered: CA certificates that its CRL must speak about.
        published: the list that is given to readers; None before the first.
        seen: the file that was judged last.
        again_at: when that file is judged again although it did not change, UTC.
        refused: why it was refused; empty when it was not.
    """

    settings: RootSettings
    certificate: x509.Certificate
    covered: tuple[x509.Certificate, ...]
    published: StoredCrl | None = None
    seen: tuple[int, int, int] | None = None
    again_at: datetime | None = None
    refused: str = ""

    @property
    def key(self) -> str:
        return spki_sha256(self.certificate)


class RootCrls:
    """What is published of every root.

    Args:
        database: keeps the newest list of each root.
        roots: names and files.
        cas: the issuing CAs here.
        clock: the time.

    Raises:
        CertificateFileError: the certificate of a root cannot be read.
    """

    def __init__(
        self, database: Database, roots: Sequence[RootSettings], cas: Sequence[x509.Certificate], clock: Clock
    ) -> None:
        self._database = database
        self._clock = clock
        self._roots = [_root(root, cas) for root in roots]

    async def load(self) -> None:
        """Judge every file for the first time.

        Raises:
            RootCrlRefused: the file of a root is refused, and none of its lists was published before.
            StoreUnavailable: the register cannot be used.
        """
        await self.look()
        for root in self._roots:
            if root.published is None:
                name = root.settings.name
                raise RootCrlRefused(f"{root.settings.crl}: expected the newest CRL of {name}. {root.refused}")

    async def look(self) -> None:
        """Judge every file that changed.

        Raises:
            StoreUnavailable: the register cannot be used; what was not judged is judged at the next look.
        """
        for root in self._roots:
            await self._look(root)

    @property
    def published(self) -> dict[str, bytes]:
        """DER of the list of every root that has one, by the name of the root."""
        return {root.settings.name: root.published.der for root in self._roots if root.published is not None}

    async def take_up(self, register: CrlRegister) -> None:
        """What other processes published meanwhile. The change counter does not tell, so each time this asks.

        Raises:
            SQLAlchemyError: the register cannot be read.
        """
        kept = await register.root_crls_kept([root.settings.name for root in self._roots])
        for root in self._roots:
            last, there = root.published, kept.get(root.settings.name)
            if there is None or (last is not None and there == (last.number, last.this_update)):
                continue
            crl = await register.root_crl(root.settings.name, root.key)
            if crl is not None and _follows(crl, root):
                root.published = crl

    @property
    def refused(self) -> dict[str, str]:
        """Name of a root -> why the file that lies there now is not published."""
        return {root.settings.name: root.refused for root in self._roots if root.refused}

    def samples(self) -> list[Sample]:
        """Measurements."""
        return [
            ("sluis_pki_root_crl_refused", {"root": root.settings.name}, float(bool(root.refused)))
            for root in self._roots
        ]

    async def _look(self, root: _Root) -> None:
        seen = _seen(root.settings.crl)
        if seen == root.seen and not (root.again_at is not None and self._clock.now() >= root.again_at):
            return
        before = root.seen, root.again_at
        root.seen, root.again_at = seen, None  # who looks at the same moment need not judge it too
        try:
            if before[0] is None:
                async with self._database.read() as connection:
                    root.published = await Register(connection).root_crl(root.settings.name, root.key)
            crl = self._judged(root)
            if root.published is None or crl.der != root.published.der:
                await self._keep(root, crl)
        except Refused as error:
            root.refused = error.detail
            _LOG.error("root_crl_refused", root=root.settings.name, why=error.detail)
            return
        except BaseException:  # whatever it was, the file was not judged
            root.seen, root.again_at = before
            raise
        root.refused = ""

    def _judged(self, root: _Root) -> VerifiedCrl:
        try:
            der = read_crl(root.settings.crl)
        except OSError as error:
            raise _refused(f"its file cannot be read: {error.strerror or 'it is too large'}") from error
        crl = verify_crl(der, [root.certificate])
        if crl.scope.delta:
            raise _refused("it tells only what changed (a delta CRL)")
        if not crl.scope.authorities or not all(crl.scope.covers(ca, is_ca=True) for ca in root.covered):
            raise _refused("it does not speak about the CA certificates of this root")
        if crl.number > MAX_NUMBER:
            raise _refused("its number is too high")
        if crl.this_update > self._clock.now():
            root.again_at = crl.this_update
            raise _refused("it is of the future; are the clocks right?")
        return crl

    async def _keep(self, root: _Root, crl: VerifiedCrl) -> None:
        made = StoredCrl(root.settings.name, crl.number, crl.this_update, crl.next_update, SignedCrl(crl.der, (), b""))
        try:
            await self._replace(root, made)
        except IntegrityError:  # another process kept the first one of this root at this very moment
            await self._replace(root, made)
        _LOG.info("root_crl_published", root=root.settings.name, number=crl.number)

    async def _replace(self, root: _Root, made: StoredCrl) -> None:
        async with self._database.write() as connection:
            register = Register(connection)
            # Asked again, and held: another process may have published a newer one since.
            root.published = last = await register.root_crl(made.issuer, root.key, lock=True)
            if last is not None and not _follows(made, root):
                raise _refused(
                    "it is not newer than the one that was published last"
                    f" (it has number {made.number}, and number {last.number} was published)"
                )
            await register.keep_root_crl(made, root.key)
        root.published = made


def read_crl(path: Path) -> bytes:
    """DER of the CRL in a file, which may be PEM.

    Raises:
        OSError: it cannot be read, or is too large.
        Refused: CRL_INVALID, it is neither.
    """
    content = read_limited(path, 2 * MAX_CRL_BYTES)
    if not pem.detect(content):
        return content
    try:
        label, _, der = pem.unarmor(content)
    except ValueError as error:
        raise _refused("its PEM is damaged") from error
    if label != "X509 CRL":
        raise _refused("its file holds something else, in PEM")
    return bytes(der)


def _root(settings: RootSettings, cas: Sequence[x509.Certificate]) -> _Root:
    certificate = x509.load_der_x509_certificate(read_certificate(settings.certificate))
    return _Root(settings, certificate, tuple(ca for ca in cas if ca.issuer == certificate.subject))


def _follows(crl: StoredCrl, root: _Root) -> bool:
    """Whether those who have the published one would take this one: neither number nor date goes back."""
    last = root.published
    if last is None or crl.der == last.der:
        return True
    is_later = (crl.number, crl.this_update) > (last.number, last.this_update)
    return is_later and crl.this_update >= last.this_update


def _seen(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return _NO_FILE
    return status.st_mtime_ns, status.st_size, status.st_ino


def _refused(what: str) -> Refused:
    return Refused(Reason.CRL_INVALID, f"The certificate revocation list is refused: {what}.")
