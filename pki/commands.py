"""What the commands of `pki` do around the authority: files, passphrases, and how a certificate is shown.

Kept out of `pki.cli` so that showing help imports none of it.
"""

import os
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import Refused, SluisError
from authz.domain.reasons import Reason
from pki.requests import MAX_REQUEST_BYTES, CertificateRequest, parse_request
from pki.signer import key_pem, new_key
from pki.store.register import Registered


class CommandError(SluisError):
    """A command cannot be carried out as it was given."""


class Delivery:
    """Where a certificate and, when it is made here, its key go.

    Args:
        out: for the chain.
        key_file: for a new key; None when a request is given.
        overwrite: whether files may be replaced.
    """

    def __init__(self, out: Path, key_file: Path | None, *, overwrite: bool) -> None:
        self._out = out
        self._key_file = key_file
        self._overwrite = overwrite
        self._key = b""

    def request(self, csr: Path | None) -> CertificateRequest:
        """The request in a file, or one for a new key that is kept until `write`.

        Everything that can be wrong with the files is found here, before anything is issued.

        Raises:
            CommandError: neither or both given, a file exists that must not, or a folder does not.
            Refused: REQUEST_MALFORMED, REQUEST_SIGNATURE, KEY_WEAK.
        """
        if (csr is None) == (self._key_file is None):
            raise CommandError("expected either --csr or --new-key")
        self._check()
        if csr is not None:
            if csr.stat().st_size > MAX_REQUEST_BYTES:
                raise Refused(Reason.REQUEST_MALFORMED, "Expected one PKCS#10 certificate request of at most 16 kB.")
            return parse_request(csr.read_bytes())
        key = new_key("ec-p256")
        self._key = key_pem(key, None)
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        return parse_request(request.public_bytes(Encoding.DER))

    def write(self, chain: str) -> None:
        """Write the chain, and the key that was made for it; each appears whole or not at all."""
        self._check()
        if self._key_file is not None:
            write_file(self._key_file, self._key, 0o600)
        write_file(self._out, chain.encode("ascii"), 0o644)

    def _check(self) -> None:
        for path in (self._out, self._key_file):
            if path is None:
                continue
            if path.exists() and not self._overwrite:
                raise CommandError(f"{path} exists already; it is not overwritten")
            if not os.access(path.parent, os.W_OK):
                raise CommandError(f"{path.parent}: expected a folder that can be written to")


def shown(item: Registered) -> dict[str, Any]:
    """A certificate for JSON output."""
    return {
        "reference": item.reference,
        "serial_number": item.serial_number,
        "identity": item.identifier.subject,
        "environment": item.environment,
        "status": item.status,
        "on_hold": item.held_at is not None,
        "organization": item.organization,
        "dns_names": list(item.dns_names),
        "not_before": item.not_before.isoformat(),
        "not_after": item.not_after.isoformat(),
        "overlap_until": item.overlap_until.isoformat() if item.overlap_until else None,
        "revoked_at": item.revoked_at.isoformat() if item.revoked_at else None,
        "revocation_reason": item.revocation_reason,
        "replaces": item.replaces,
    }


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that it appears whole or not at all, also after a power cut."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
