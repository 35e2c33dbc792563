"""What the commands of `pki` do around the authority: files, passphrases, and how a certificate is shown.

Kept out of `pki.cli` so that showing help imports none of it.
"""

import getpass
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import Refused, SluisError
from authz.domain.reasons import Reason
from pki.ceremony import CeremonyPlan, hold_ceremony
from pki.names import ENVIRONMENTS
from pki.requests import MAX_REQUEST_BYTES, CertificateRequest, parse_request
from pki.signer import MIN_PASSPHRASE, key_pem, new_key, read_passphrase
from pki.store.register import Registered

_HTTP_PORT: Final = 80


class CommandError(SluisError):
    """A command cannot be carried out as it was given."""


def hold(
    folder: Path,
    *,
    organization: str,
    environment: str,
    base_url: str,
    port: int | None,
    passphrase_files: tuple[Path | None, Path | None],
    kinds: tuple[str, str],
) -> Mapping[str, Path]:
    """Hold the ceremony with what the operator gave, asking for passphrases that are in no file.

    Raises:
        CommandError: something that was given cannot be used.
        CeremonyError: see `hold_ceremony`.
    """
    parts = urlsplit(base_url)
    if parts.scheme != "http" or not parts.hostname or base_url.endswith("/"):
        raise CommandError("--base-url: expected http://<host>[:port][/path] without a final slash")
    if environment not in ENVIRONMENTS:
        raise CommandError(f"--environment: expected one of {', '.join(sorted(ENVIRONMENTS))}")
    root_file, issuing_file = passphrase_files
    plan = CeremonyPlan(
        folder=folder,
        organization=organization,
        environment=environment,
        base_url=base_url,
        listen_port=port or parts.port or _HTTP_PORT,
        root_passphrase=read_passphrase(root_file) if root_file else _ask("root"),
        issuing_passphrase=read_passphrase(issuing_file) if issuing_file else _ask("issuing"),
        issuing_passphrase_file=issuing_file or folder / "issuing.passphrase",
        root_kind=kinds[0],
        issuing_kind=kinds[1],
        witness=getpass.getuser(),
    )
    return hold_ceremony(plan, datetime.now(UTC))


def _ask(which: str) -> bytes:
    first = getpass.getpass(f"Passphrase for the {which} key: ")
    if len(first) < MIN_PASSPHRASE:
        raise CommandError(f"expected a passphrase of at least {MIN_PASSPHRASE} characters")
    if getpass.getpass("The same again: ") != first:
        raise CommandError("the two passphrases differ")
    return first.encode()


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
