"""Secret files for Envoy: kept equal to the certificate, key, CA and CRL files, so a renewal needs no restart.

Envoy watches the folder and takes over a file that is renamed into it, without dropping connections. The files are
written by us rather than naming the originals in Envoy's configuration, because a certificate and its key are replaced
one after the other: a pair that does not fit, or a file that cannot be read, leaves the last good one in place.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from authz.domain.errors import SluisError
from authz.domain.files import write_whole
from authz.edge.envoy_tls import Json, certificate_secret, validation_secret

_LOG: Final = structlog.get_logger(__name__)


class SecretsError(SluisError):
    """TLS material cannot be used."""


class TlsSecret(Protocol):
    """One secret file: which files it is made from, and how."""

    @property
    def name(self) -> str:
        """Name of the secret and of its file."""
        ...

    def sources(self) -> Sequence[Path]:
        """The files it is made from, as they are now."""
        ...

    def render(self) -> Json:
        """Its content.

        Raises:
            SecretsError: the files do not make a usable secret.
        """
        ...


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """Our certificate (PEM: leaf first, then its issuers) and its unencrypted PEM key."""

    certificate: Path
    key: Path
    name: str = "server"

    def sources(self) -> Sequence[Path]:
        """The two files."""
        return (self.certificate, self.key)

    def render(self) -> Json:
        """The pair, when key and certificate belong together."""
        chain, key = _text(self.certificate), _text(self.key)
        try:
            public = x509.load_pem_x509_certificates(chain.encode())[0].public_key()
            private = load_pem_private_key(key.encode(), password=None)
        except (ValueError, TypeError) as error:
            raise SecretsError(f"{self.certificate} or {self.key} is not PEM that can be used") from error
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if public.public_bytes(*form) != private.public_key().public_bytes(*form):
            raise SecretsError(f"{self.key} is not the key of {self.certificate}")
        return certificate_secret(self.name, chain, key)


@dataclass(frozen=True, slots=True)
class PeerValidation:
    """What certificates of peers are verified against.

    Attributes:
        ca: PEM files with anchors and intermediates.
        crl_folder: folder with `*.crl` files (DER or PEM), possibly empty; None for no CRLs.
        server_name: for an upstream, the DNS name it must prove; None for clients.
        name: name of the secret.
    """

    ca: tuple[Path, ...]
    crl_folder: Path | None = None
    server_name: str | None = None
    name: str = "clients"

    def sources(self) -> Sequence[Path]:
        """The CA files and the CRLs that are there now."""
        return (*self.ca, *self._crls())

    def render(self) -> Json:
        """The bundle and the CRLs, each checked to be what it should be."""
        bundle = "".join(_text(path).rstrip() + "\n" for path in self.ca)
        crls = []
        try:
            if not x509.load_pem_x509_certificates(bundle.encode()):
                raise SecretsError("a CA bundle is empty")
            for path in self._crls():
                data = path.read_bytes()
                load = x509.load_pem_x509_crl if data.startswith(b"-----") else x509.load_der_x509_crl
                crls.append(load(data).public_bytes(Encoding.PEM).decode())
        except (OSError, ValueError) as error:
            raise SecretsError("a CA or CRL file cannot be used") from error
        return validation_secret(self.name, bundle, "".join(crls), server_name=self.server_name)

    def _crls(self) -> list[Path]:
        return sorted(self.crl_folder.glob("*.crl")) if self.crl_folder else []


class SecretFiles:
    """Writes secret files, and writes them again when what they are made from has changed.

    Args:
        folder: where Envoy looks for them; owner-only, because a key is among them.
        secrets: what to write.
    """

    def __init__(self, folder: Path, secrets: Sequence[TlsSecret]) -> None:
        self._folder = folder
        self._secrets = secrets
        self._seen: dict[str, object] = {}

    def write_all(self) -> None:
        """Write every file once.

        Raises:
            SecretsError: one cannot be made; Envoy would not start with it.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for secret in self._secrets:
            self._seen[secret.name] = _fingerprint(secret.sources())
            self._write(secret.name, secret.render())

    def refresh(self) -> list[str]:
        """Write those whose sources changed; a broken one is logged once and keeps its last good content.

        Returns:
            The names of the secrets that were written.

        Raises:
            OSError: one cannot be written, for example because the disk is full; it is the first of the next time.
        """
        written = []
        for secret in self._secrets:
            state = _fingerprint(secret.sources())
            if state == self._seen.get(secret.name):
                continue
            try:
                content = secret.render()
            except SecretsError as error:
                self._seen[secret.name] = state
                _LOG.warning("tls_material_kept", material=secret.name, why=str(error))
                continue
            self._write(secret.name, content)
            self._seen[secret.name] = state
            written.append(secret.name)
            _LOG.info("tls_material_written", material=secret.name)
        return written

    def _write(self, name: str, content: Json) -> None:
        # Envoy reacts to a rename into the folder; a file written in place could be read half.
        write_whole(self._folder / f"{name}.json", json.dumps(content).encode("ascii"))


def _fingerprint(paths: Sequence[Path]) -> object:
    found: list[object] = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            found.append((path, None))
        else:
            found.append((path, status.st_mtime_ns, status.st_size, status.st_ino))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretsError(f"{path} cannot be read as PEM") from error
