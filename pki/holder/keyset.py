"""A participant's key, certificate and chain on disk, replaced so that they never mismatch, whatever is killed when.

    <folder>/current -> sets/<name>     what programs are configured with: current/key.pem, current/chain.pem
    <folder>/sets/<name>/               key.pem (0600), certificate.pem, chain.pem: written once, never changed
    <folder>/pending/key.pem            a key for which a certificate was asked and has not come yet
    <folder>/ca.pem, enrolment.json     with whom it enrolled, for renewals

A new set is written beside the old one, made durable, and then `current` is switched by one rename of a symbolic link
(POSIX: atomic). A key is on disk before anybody is asked to certify it, so that an answer that got lost costs nothing.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authz.domain.errors import SluisError
from authz.domain.files import sync_folder, write_whole
from pki.keys import same_key
from pki.signing.encoding import pem_chain
from pki.signing.signer import PrivateKey, key_pem, new_key

KEY: Final = "key.pem"
CERTIFICATE: Final = "certificate.pem"
CHAIN: Final = "chain.pem"
KEPT: Final = 3
"""Sets that stay: the current one, and those of before for who still has them open."""
DEFAULT_KIND: Final = "ec-p256"
_PENDING: Final = "pending"
_RELOAD: Final = "reload-due"
_CONFIRM: Final = "confirm-due"


class KeysetError(SluisError):
    """The folder cannot be used. The text names the file and what is expected."""


class Keyset:
    """The folder of one participant.

    Args:
        folder: made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def current(self) -> Path:
        """The set in use; a symbolic link."""
        return self.folder / "current"

    @property
    def authorities(self) -> Path:
        """The CA certificates that it trusts (PEM)."""
        return self.folder / "ca.pem"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else enrols or renews in this folder meanwhile.

        Raises:
            KeysetError: somebody does, or the folder cannot be used.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KeysetError(f"{self.folder}: expected a folder that can be written to ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise KeysetError(f"{self.folder}: another pki enrol or reenrol works in this folder") from error
        try:
            yield
        finally:
            os.close(descriptor)

    def pending_key(self, kind: str | None = None) -> PrivateKey:
        """The key to ask a certificate for: the one that is waiting, or a new one, durable before it is used.

        Args:
            kind: of the key; None takes the one that waits, or makes one of `DEFAULT_KIND`.

        Raises:
            KeysetError: a key of another kind waits.
            SignerError: an unknown kind.
        """
        path = self.folder / _PENDING / KEY
        if path.exists():
            waiting = read_key(path)
            if kind is not None and kind_of(waiting) != kind:
                raise KeysetError(
                    f"{path}: a key of kind {kind_of(waiting)} waits here for its certificate. Give --key-kind"
                    f" {kind_of(waiting)}, or remove the file when nothing was asked with it"
                )
            return waiting
        path.parent.mkdir(mode=0o700, exist_ok=True)
        key = new_key(kind or DEFAULT_KIND)
        write_whole(path, key_pem(key, None), 0o600)
        return key

    def drop_pending(self) -> None:
        """Forget the waiting key: it was refused for good."""
        shutil.rmtree(self.folder / _PENDING, ignore_errors=True)

    def install(self, certificate: bytes, issuers: list[bytes]) -> Path:
        """Put a certificate with the waiting key, and switch to them.

        Args:
            certificate: DER, of the waiting key.
            issuers: DER of the CA certificates between it and the root.

        Returns:
            The new set.

        Raises:
            KeysetError: the certificate is not of the waiting key.
        """
        key = read_key(self.folder / _PENDING / KEY)
        loaded = x509.load_der_x509_certificate(certificate)
        if not is_pair(key, loaded):
            raise KeysetError(f"{self.folder}: the certificate is not of the key that was made for it")
        target = self.folder / "sets" / f"{loaded.not_valid_before_utc:%Y%m%d%H%M%S}-{loaded.serial_number:x}"
        fresh = target.with_name(f".{target.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        write_whole(fresh / KEY, key_pem(key, None), 0o600)
        write_whole(fresh / CERTIFICATE, pem_chain([certificate]).encode("ascii"), 0o644)
        write_whole(fresh / CHAIN, pem_chain([certificate, *issuers]).encode("ascii"), 0o644)
        if not target.exists():
            fresh.rename(target)
        sync_folder(target.parent)
        # Due before the switch: a process killed in between runs the hook once too often, never once too few.
        if self.current.exists():
            write_whole(self.folder / _RELOAD, b"", 0o600)
        link = self.folder / ".current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(target.relative_to(self.folder))
        link.replace(self.current)
        sync_folder(self.folder)
        self.drop_pending()
        self._prune(target)
        return target

    def certificate(self) -> x509.Certificate | None:
        """The certificate in use; None when there is none yet.

        Raises:
            KeysetError: it cannot be read, or is not of the key beside it.
        """
        if not self.current.exists():
            return None
        # One look at the link, so that a switch in the middle does not mix two sets.
        used = self.current.resolve()
        try:
            found = x509.load_pem_x509_certificate((used / CERTIFICATE).read_bytes())
        except (OSError, ValueError) as error:
            raise KeysetError(f"{used / CERTIFICATE}: expected a certificate in PEM") from error
        if not is_pair(read_key(used / KEY), found):
            raise KeysetError(f"{used}: the certificate is not of the key beside it")
        return found

    @property
    def reload_due(self) -> bool:
        """Whether there was a switch that the programs have not been told of."""
        return (self.folder / _RELOAD).exists()

    def reloaded(self) -> None:
        """The programs use the new set."""
        (self.folder / _RELOAD).unlink(missing_ok=True)

    @property
    def confirm_due(self) -> bool:
        """Whether the authority is still to hear that the new set is in use."""
        return (self.folder / _CONFIRM).exists()

    def expect_confirmation(self) -> None:
        """From now on, whatever is killed, until `confirmed`."""
        write_whole(self.folder / _CONFIRM, b"", 0o600)

    def confirmed(self) -> None:
        """The authority heard it."""
        (self.folder / _CONFIRM).unlink(missing_ok=True)

    def remember(self, how: Mapping[str, Any], authorities: bytes) -> None:
        """Keep with whom and how it enrolled, for renewals."""
        write_whole(self.authorities, authorities, 0o644)
        write_whole(self.folder / "enrolment.json", json.dumps(dict(how), indent=2).encode(), 0o644)

    def remembered(self) -> dict[str, str]:
        """What `remember` kept.

        Raises:
            KeysetError: nothing was kept here.
        """
        path = self.folder / "enrolment.json"
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise KeysetError(f"{path}: expected what `pki enrol` wrote; enrol in this folder first") from error
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise KeysetError(f"{path}: expected what `pki enrol` wrote; enrol in this folder first")
        return found

    def _prune(self, used: Path) -> None:
        sets = sorted(path for path in used.parent.iterdir() if not path.name.startswith("."))
        for old in sets[:-KEPT]:
            if old != used:
                shutil.rmtree(old, ignore_errors=True)


def read_key(path: Path) -> PrivateKey:
    """An unencrypted private key.

    Raises:
        KeysetError: it cannot be read, or others than its owner can.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise KeysetError(f"{path}: others than the owner can use this file; chmod 600 it")
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise KeysetError(f"{path}: expected an unencrypted private key in PEM") from error
    return key  # type: ignore[return-value]  # the kinds that were made here


def kind_of(key: PrivateKey) -> str:
    """The kind of a key, in the words of `new_key`; of one that was made elsewhere its type and size."""
    return f"rsa-{key.key_size}" if isinstance(key, rsa.RSAPrivateKey) else f"ec-p{key.key_size}"


def is_pair(key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Whether the certificate is of this key."""
    return same_key(key, certificate)
