"""A PKCS#11 token as this process uses it: one login, one session, and a way back after the connection was lost.

Specification: OASIS PKCS#11 2.40, sections 5.4 (C_Initialize), 5.6 (sessions) and 5.7 (login). python-pkcs11 starts a
module without asking for locks, so all calls to one module are made one after another, whichever thread they come from.
A PIN that was refused once is not tried again by this process, because tokens lock themselves after a few wrong ones.
What is signed, and with which key, is `pki.signing.pkcs11_signer`'s work.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from pki.signing.signer import SignerError, read_secret

MIN_PIN: Final = 4
_Result = TypeVar("_Result")


@dataclass(slots=True)
class Session:
    """A session that is logged in.

    Attributes:
        raw: of the library.
        kept: what was found in it, for as long as it lasts: object handles mean nothing in another one.
        generation: of the module's start in which it was opened.
    """

    raw: Any
    generation: int
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Module:
    """A vendor's library in this process. `generation` grows with each start: handles of an earlier one are void."""

    path: Path
    lock: threading.RLock = field(default_factory=threading.RLock)
    generation: int = 0

    def load(self) -> Any:  # noqa: ANN401  the library's own type
        pkcs11 = library()
        try:
            return pkcs11.lib(str(self.path))
        except pkcs11.PKCS11Error as error:
            raise SignerError(f"{self.path}: cannot be loaded as a PKCS#11 module") from error

    def restart(self) -> None:
        self.generation += 1
        with suppress(library().PKCS11Error):  # it may not be running at all
            self.load().reinitialize()


class Token:
    """One token; use `open_token`, because a process has one login.

    Args:
        module: the vendor's library.
        label: of the token.
        pin: of its user.
    """

    def __init__(self, module: Path, label: str, pin: str) -> None:
        with _opening:
            self._module = _modules.setdefault(module, _Module(module))
        self._label = label
        self._pin = pin
        self._pin_refused = False
        self._session: Session | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return f"token {self._label!r} of {self._module.path}"

    def is_pin(self, pin: str) -> bool:
        """Whether this is the PIN that it is used with."""
        return self._pin == pin

    def use(self, work: Callable[[Session], _Result]) -> _Result:
        """Do something in the session; once more, after connecting anew, when the connection turns out to be lost.

        Args:
            work: is given the session; may run twice.

        Raises:
            SignerError: the token cannot be used at this moment; nothing of the vendor's library leaks out.
        """
        lost = library().PKCS11Error
        with self._module.lock:
            with suppress(lost):
                return work(self._open())
            self._forget()
            try:
                return work(self._reopen())
            except lost as error:
                self._forget()
                raise self._failed(error) from error

    def change(self, work: Callable[[Any], _Result]) -> _Result:
        """Do something once in a session of its own that may make objects; `work` is given the library's session.

        Raises:
            SignerError: the token cannot be used at this moment, or does not do it.
        """
        with self._module.lock:
            try:
                self._open()  # the login
                raw = self._found().open(rw=True)
                try:
                    return work(raw)
                finally:
                    _close(raw)
            except library().PKCS11Error as error:
                raise self._failed(error) from error

    def _open(self) -> Session:
        if self._session is None or self._session.generation != self._module.generation:
            self._session = Session(self._log_in(), self._module.generation)
        return self._session

    def _reopen(self) -> Session:
        try:
            return self._open()
        except SignerError:
            if self._pin_refused:
                raise
        # The module itself lost its connection, or was shut down: start it again.
        self._module.restart()
        return self._open()

    def _forget(self) -> None:
        if self._session is not None:
            _close(self._session.raw)
        self._session = None

    def _log_in(self) -> Any:  # noqa: ANN401  the library's session
        said = library().exceptions
        if self._pin_refused:
            raise SignerError(f"{self.name}: the PIN was refused before; it is not tried again, or the token locks")
        token = self._found()
        try:
            return token.open(user_pin=self._pin)
        except said.UserAlreadyLoggedIn:  # by another part of this process
            return token.open()
        except (said.PinIncorrect, said.PinInvalid, said.PinLenRange, said.PinExpired, said.PinLocked) as error:
            self._pin_refused = True
            raise SignerError(f"{self.name}: the PIN is not accepted ({_name(error)})") from error
        except said.PKCS11Error as error:
            raise self._failed(error) from error

    def _found(self) -> Any:  # noqa: ANN401  the library's token
        said = library().exceptions
        try:
            return self._module.load().get_token(token_label=self._label)
        except said.NoSuchToken as error:
            raise SignerError(f"{self._module.path}: there is no token with the label {self._label!r}") from error
        except said.MultipleTokensReturned as error:
            raise SignerError(f"{self._module.path}: several tokens have the label {self._label!r}") from error
        except said.PKCS11Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> SignerError:
        return SignerError(f"{self.name}: cannot be used at this moment ({_name(error)})")


_modules: Final[dict[Path, _Module]] = {}
_opened: Final[dict[tuple[Path, str], Token]] = {}
_opening: Final = threading.RLock()


def open_token(module: Path, label: str, pin_file: Path) -> Token:
    """The token, as this process already uses it or as a new one. Nothing is asked of it yet.

    Args:
        module: the vendor's library.
        label: of the token.
        pin_file: first line is the PIN; not readable by others than its owner.

    Raises:
        SignerError: the PIN file cannot be used, or the token is in use with another PIN.
    """
    pin = _read_pin(pin_file)
    with _opening:
        token = _opened.setdefault((module.absolute(), label), Token(module.absolute(), label, pin))
    if not token.is_pin(pin):
        raise SignerError(f"{pin_file}: another PIN than the one with which {token.name} is in use")
    return token


def _read_pin(path: Path) -> str:
    lines = read_secret(path).splitlines()
    try:
        pin = lines[0].decode("utf-8") if lines else ""
    except UnicodeDecodeError as error:
        raise SignerError(f"{path}: expected a PIN in UTF-8") from error
    if len(pin) < MIN_PIN:
        raise SignerError(f"{path}: expected a PIN of at least {MIN_PIN} characters on the first line")
    return pin


def library() -> Any:  # noqa: ANN401  a package that is there only with the extra
    """The package pkcs11.

    Raises:
        SignerError: python-pkcs11 is not installed.
    """
    try:
        import pkcs11  # noqa: PLC0415
    except ImportError as error:
        raise SignerError("python-pkcs11 is not installed: pip install 'sluis[hsm]'") from error
    return pkcs11


def _close(session: Any) -> None:  # noqa: ANN401
    with suppress(library().PKCS11Error):  # what was lost cannot be closed
        session.close()


def _name(error: Exception) -> str:
    """The kind of error; the library's text is left out, it may repeat what it was given."""
    return type(error).__name__
