"""Where a certificate and the key that is made for it go, so that neither is ever lost.

The order is what matters. The key is on the disk, durable, before anybody is asked to certify it: under its own name
when nothing is there, else under `<name>.pending`. Room for the chain is taken at the same moment. So what can fail
when the certificate is there is little; when it does, the key stays where it is, and the text says how the certificate
is fetched. In a renewal the old key keeps a second name, `<name>.previous`, while the two files are exchanged.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import InvalidValue, Refused, SluisError
from authz.domain.files import PRIVATE, PUBLIC, Draft, is_same_file, naming, read_limited, sync_folder, write_new
from authz.domain.reasons import Reason
from pki.enrolment.requests import MAX_REQUEST_BYTES, CertificateRequest, parse_request
from pki.signing.signer import key_pem, new_key

CHAIN_ROOM: Final = 65_536
"""Bytes; two certificates in PEM need a tenth of it."""
_MAX_REPLACED: Final = 1024 * 1024


class CommandError(SluisError):
    """A command cannot be carried out as it was given."""


class DeliveryError(SluisError):
    """The certificate was made and its files are not where they should be. The text says what to do."""


class Delivery:
    """The files of one certificate.

    Args:
        out: for the chain.
        key_file: for a new key; None when a request is given.
        overwrite: whether files may be replaced, by others of their kind.
    """

    def __init__(self, out: Path, key_file: Path | None, *, overwrite: bool) -> None:
        self._out = out
        self._key_file = key_file
        self._overwrite = overwrite
        self._chain: Draft | None = None
        self._key_at: Path | None = None

    @property
    def key_at(self) -> Path | None:
        """Where the new key is at this moment; None when none was made."""
        return self._key_at

    def request(self, csr: Path | None) -> CertificateRequest:
        """The request in a file, or one for a new key that is on the disk when this returns.

        Everything that can be wrong with the files is found here, before anything is signed.

        Raises:
            CommandError: neither or both given, two files are one, or a file is in the way.
            Refused: REQUEST_MALFORMED, REQUEST_SIGNATURE, KEY_WEAK.
            OSError: a file cannot be read or written.
        """
        if (csr is None) == (self._key_file is None):
            raise InvalidValue("expected either --csr or --new-key")
        self._check(csr)
        request = _read_request(csr) if csr is not None else self._make_key()
        try:
            self._chain = Draft(self._out, PUBLIC, reserve=CHAIN_ROOM)
        except BaseException:
            self.discard()
            raise
        return request

    def put(self, chain: str, serial_number: str) -> None:
        """Put chain and key in their places.

        Args:
            chain: PEM.
            serial_number: of the certificate, for who has to fetch it again.

        Raises:
            DeliveryError: they cannot be put there.
        """
        try:
            draft = self._chain or Draft(self._out, PUBLIC)
            draft.write(chain.encode("ascii"))
            if not self._overwrite:
                draft.put_new()
            elif self._key_file is None or self._key_at == self._key_file:
                draft.put()
            else:
                self._exchange(draft)
        except OSError as error:
            raise DeliveryError(
                f"{error.filename or self._out}: {error.strerror}. The certificate {serial_number} was issued all the"
                f" same and is in the register{self._where_the_key_is()}. Fetch it with"
                f" `pki list --serial {serial_number} --out <file>`"
            ) from error

    def discard(self) -> None:
        """Leave nothing behind: no certificate was made."""
        self.release()
        if self._key_at is not None:
            with suppress(OSError):
                self._key_at.unlink(missing_ok=True)
                sync_folder(self._key_at.parent)
            self._key_at = None

    def release(self) -> None:
        """Give back the room for the chain, and keep the key: nobody knows whether a certificate was made."""
        if self._chain is not None:
            self._chain.drop()
            self._chain = None

    def _make_key(self) -> CertificateRequest:
        if self._key_file is None:
            raise InvalidValue("expected either --csr or --new-key")
        key = new_key("ec-p256")
        taken = os.path.lexists(self._key_file)
        place = self._key_file.with_name(f"{self._key_file.name}.pending") if taken else self._key_file
        write_new(place, key_pem(key, None), PRIVATE)
        self._key_at = place
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        return parse_request(request.public_bytes(Encoding.DER))

    def _exchange(self, chain: Draft) -> None:
        """Key and chain take the places of those of before; when the second one cannot, neither does."""
        if self._key_file is None or self._key_at is None:
            raise ValueError("no key to exchange")
        previous = self._key_file.with_name(f"{self._key_file.name}.previous")
        with naming(self._key_file):
            previous.unlink(missing_ok=True)
            os.link(self._key_file, previous, follow_symlinks=False)
            sync_folder(previous.parent)
            pending, self._key_at = self._key_at, self._key_file
            pending.replace(self._key_file)
            sync_folder(self._key_file.parent)
        try:
            chain.put()
        except OSError:
            self._key_file.replace(pending)
            self._key_at = pending
            previous.replace(self._key_file)
            raise
        with suppress(OSError):
            previous.unlink()

    def _check(self, csr: Path | None) -> None:
        named = {"--out": self._out, "--new-key": self._key_file, "--csr": csr}
        given = [(option, path) for option, path in named.items() if path is not None]
        for number, (option, path) in enumerate(given):
            for other, elsewhere in given[:number]:
                if is_same_file(path, elsewhere):
                    raise CommandError(f"{other} and {option} name the same file: expected two")
        for place, kind in ((self._out, b"CERTIFICATE"), (self._key_file, b"PRIVATE KEY")):
            if place is None:
                continue
            if self._overwrite and os.path.lexists(place):
                self._check_replaced(place, kind)
            else:
                require_new(place)

    def _check_replaced(self, path: Path, kind: bytes) -> None:
        found = read_limited(path, _MAX_REPLACED)
        if found.strip() and kind + b"-----" not in found:
            what = kind.decode("ascii").lower()
            raise CommandError(f"{path} exists already and holds no {what}; it is not overwritten")
        waiting = path.with_name(f"{path.name}.pending")
        if path == self._key_file and os.path.lexists(waiting):
            raise CommandError(
                f"{waiting}: the key of a renewal that did not come to its end. If its certificate is in the register"
                f" (`pki list --status active`), fetch that with `pki list --serial <serial> --out <file>`"
                f" and rename this key; if not, remove it"
            )

    def _where_the_key_is(self) -> str:
        return f"; its key is in {self._key_at}" if self._key_at is not None else ""


def require_new(path: Path) -> None:
    """See that a file can be made there.

    Raises:
        CommandError: something of that name is there, or there is no folder for it.
    """
    if os.path.lexists(path):
        raise CommandError(f"{path} exists already; it is not overwritten")
    if not path.parent.is_dir():
        raise CommandError(f"{path.parent}: expected a folder that can be written to")


def _read_request(csr: Path) -> CertificateRequest:
    try:
        return parse_request(read_limited(csr, MAX_REQUEST_BYTES))
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise Refused(Reason.REQUEST_MALFORMED, "Expected one PKCS#10 certificate request of at most 16 kB.") from error
