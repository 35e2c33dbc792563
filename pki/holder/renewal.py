"""Renewing by itself: when a third of the life of a certificate is left, with a reload of who uses it afterwards.

Specification: shared `spec/pki.md`, "One per AGB-code": "never a lapse: the new one is usable before the old is not".
One `step` looks at what is on disk, does at most one thing and says when to look again; everything it needs to know
survives a kill between any two of its acts. The moment has a jitter that follows from the certificate, so that a whole
sector that enrolled on one day does not renew in one minute, and a restart does not move it.
"""

import os
import random
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography import x509

from authz.domain.clock import Clock
from authz.domain.errors import Refused, SluisError
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.holder.est_client import EstClient, EstError
from pki.holder.keyset import Keyset, KeysetError, is_pair

LOOK: Final = 3600.0
"""Seconds between looks, at most: clocks jump, and files are replaced by hand."""
FIRST_RETRY: Final = 60.0
LAST_RETRY: Final = 6 * 3600.0
HOOK_TIMEOUT: Final = 60.0
_JITTER: Final = 30
"""The jitter is up to a thirtieth of the life: two weeks of 397 days."""
_NEW_KEY: Final = frozenset({"key_weak", "key_blocked", "key_reused"})
_UNSAID: Final = "confirming the use of the new certificate failed; the old one works until the overlap ends"
_LOG: Final = structlog.get_logger(__name__)


def due_at(certificate: x509.Certificate) -> datetime:
    """When to renew: a third of the life before the end, less a jitter that the serial number decides."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    jitter = life / _JITTER * (certificate.serial_number % 1000 / 1000)
    return certificate.not_valid_after_utc - life / 3 - jitter


@dataclass(frozen=True, slots=True)
class Step:
    """What one look came to.

    Attributes:
        wait: seconds until the next look.
        renewed: a new certificate is in use.
        failed: what did not work; None when nothing went wrong.
        error: what the authority answered, when that is what did not work.
    """

    wait: float
    renewed: bool = False
    failed: str | None = None
    error: EstError | None = None


def read_hook(text: str | None) -> list[str]:
    """A command as it was typed, in its words.

    Raises:
        Refused: PARAMETER_MALFORMED, quotes that do not close, or a program that is not there.
    """
    if text is None:
        return []
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Refused(
            Reason.PARAMETER_MALFORMED, "--reload-hook: expected a command with quotes that close."
        ) from error
    if not words or shutil.which(words[0]) is None:
        raise Refused(
            Reason.PARAMETER_MALFORMED,
            "--reload-hook: expected a program that is there and may be run; for a shell say sh -c '...'.",
        )
    return words


class Renewer:
    """Keeps the certificate in one folder alive.

    Args:
        keyset: the folder.
        client: of the authority.
        identity: whose certificate it is.
        clock: the time.
        hook: command and arguments that make programs take the new certificate; empty for none (`read_hook`).
        confirm: tells the authority, after the reload, that the certificate in use works and the one before it may go;
            whether one went. None lets the overlap end by itself.
        key_kind: for new keys; `DEFAULT_KIND` when None.
        rng: for the backoff, from 0 to 1.
    """

    def __init__(
        self,
        keyset: Keyset,
        client: EstClient,
        identity: Identifier,
        clock: Clock,
        *,
        hook: Sequence[str] = (),
        confirm: Callable[[], bool] | None = None,
        key_kind: str | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._keyset = keyset
        self._client = client
        self._identity = identity
        self._clock = clock
        self._hook = list(hook)
        self._confirm = confirm
        self._key_kind = key_kind
        self._rng = rng
        self._failures = 0

    def step(self, *, now: bool = False) -> Step:
        """Look once, and do what is due.

        Args:
            now: renew although it is not due yet.

        Raises:
            KeysetError: there is nothing to renew, or somebody else works in the folder.
        """
        with self._keyset.locked():
            certificate = self._keyset.certificate()
            if certificate is None:
                raise KeysetError(f"{self._keyset.current}: no certificate to renew; use `pki enrol` first")
            self._tidy(certificate)
            # A hook that keeps failing is told again and again, but stands in the way of no renewal.
            told = not self._keyset.reload_due or self._reload()
            said = not told or self._say()
            at, due = self._clock.now(), due_at(certificate)
            if at > certificate.not_valid_after_utc:
                # A certificate that is over proves nothing: only an operator's code helps.
                _LOG.error("certificate_expired", not_after=certificate.not_valid_after_utc.isoformat())
                return Step(
                    LAST_RETRY, failed="the certificate has expired; ask an operator for a code and enrol again"
                )
            if at < due and not now:
                if not told:
                    return self._again("the reload hook failed")
                if not said:
                    return self._again(_UNSAID)
                self._failures = 0
                return Step(min((due - at).total_seconds(), LOOK))
            return self._renew(certificate)

    def run(self, stop: threading.Event, *, now: bool = False) -> None:
        """Renew until `stop`.

        Args:
            stop: ends it.
            now: renew at once, although it is not due yet; tried until it succeeds.
        """
        while not stop.is_set():
            try:
                step = self.step(now=now)
                now = now and not step.renewed
            except KeysetError as error:
                _LOG.error("folder_unusable", why=str(error))
                step = self._again(str(error))
            except OSError as error:
                _LOG.error("folder_unusable", why=error.strerror)
                step = self._again("the disk")
            _LOG.info("next_look", seconds=round(step.wait))
            stop.wait(step.wait)

    def _renew(self, certificate: x509.Certificate) -> Step:
        try:
            key = self._keyset.pending_key(self._key_kind)
            obtained = self._client.reenrol(self._identity, self._keyset.current.resolve(), key)
            if self._confirm is not None:
                self._keyset.expect_confirmation()
            used = self._keyset.install(obtained.certificate, list(obtained.issuers))
        except EstError as error:
            _LOG.error("renewal_failed", why=str(error), reason=error.reason, until=self._left(certificate))
            if error.reason in _NEW_KEY:
                self._keyset.drop_pending()
            return self._again(str(error), at_least=error.retry_after or 0, error=error)
        except SluisError as error:
            _LOG.error("renewal_failed", why=str(error), until=self._left(certificate))
            return self._again(str(error))
        self._failures = 0
        _LOG.info("renewed", set=used.name)
        if not self._reload():
            return Step(FIRST_RETRY, renewed=True, failed="the reload hook failed")
        if not self._say():
            return Step(FIRST_RETRY, renewed=True, failed=_UNSAID)
        return Step(0.0, renewed=True)

    def _tidy(self, certificate: x509.Certificate) -> None:
        """A process that was killed after the switch left its key waiting; it is in use already."""
        if (self._keyset.folder / "pending" / "key.pem").exists() and is_pair(self._keyset.pending_key(), certificate):
            self._keyset.drop_pending()

    def _reload(self) -> bool:
        if self._hook:
            environment = os.environ | {"SLUIS_CERTIFICATES": str(self._keyset.current)}
            try:
                done = subprocess.run(  # noqa: S603  the operator's own command, without a shell
                    self._hook, check=False, timeout=HOOK_TIMEOUT, env=environment, stdin=subprocess.DEVNULL
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                _LOG.error("reload_failed", why=type(error).__name__)
                return False
            if done.returncode:
                _LOG.error("reload_failed", status=done.returncode)
                return False
            _LOG.info("reloaded")
        self._keyset.reloaded()
        return True

    def _say(self) -> bool:
        """Confirm the use of the certificate, when that is wanted and still to be done; False when it failed."""
        if self._confirm is None or not self._keyset.confirm_due:
            return True
        try:
            ended = self._confirm()
        except SluisError as error:
            # Nothing is lost: both certificates work until the overlap ends.
            _LOG.warning("confirmation_failed", why=str(error))
            return False
        self._keyset.confirmed()
        _LOG.info("confirmed", ended=ended)
        return True

    def _again(self, why: str, *, at_least: float = 0.0, error: EstError | None = None) -> Step:
        hopeless = error is not None and error.lasting
        wait = LAST_RETRY if hopeless else min(FIRST_RETRY * 2.0**self._failures, LAST_RETRY)
        self._failures = min(self._failures + 1, 20)
        return Step(max(at_least, wait * (0.5 + self._rng() / 2)), failed=why, error=error)

    def _left(self, certificate: x509.Certificate) -> str:
        left = certificate.not_valid_after_utc - self._clock.now()
        return f"{left // timedelta(days=1)} days left"
