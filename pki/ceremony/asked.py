"""What the operator gave for a ceremony, checked and completed: passphrases that are in no file, names, ports."""

import getpass
import hmac
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from authz.domain.errors import InvalidValue
from authz.domain.files import is_same_file
from authz.edge.operator import operator_login
from pki.ceremony.files import CeremonyError
from pki.ceremony.first import CeremonyPlan, HsmPlan, hold_ceremony
from pki.ceremony.later import RootFiles
from pki.ceremony.transcript import Occasion, People, hash_of
from pki.names import ENVIRONMENTS
from pki.revocation.crl import RevocationReason
from pki.signing.signer import MIN_PASSPHRASE, read_passphrase, read_secret

_HTTP_PORT: Final = 80
_PRODUCTION: Final = "PRD"


def hold_first(
    folder: Path,
    *,
    organization: str,
    environment: str,
    base_url: str,
    port: int | None,
    passphrase_files: tuple[Path | None, Path | None],
    kinds: tuple[str, str],
    people: tuple[str | None, str | None],
    hsm: HsmPlan | None,
    generation: int,
) -> Mapping[str, Path]:
    """Hold the first ceremony, asking for passphrases that are in no file.

    Raises:
        InvalidValue: an option has no value that it can have, or is missing.
        CeremonyError: something that was given cannot be used, and see `hold_ceremony`.
        SignerError: a file with a secret cannot be used.
    """
    host_port = check_base_url(base_url)
    refuse_one_file(passphrase_files)
    who = people_of(people, environment)
    root_file, issuing_file = passphrase_files
    root_secret = passphrase(root_file, "root")
    issuing_secret = passphrase(issuing_file, "issuing") if hsm is None else b""
    require_apart(environment, root_secret, issuing_secret if hsm is None else read_pin(hsm.pin_file))
    plan = CeremonyPlan(
        folder=folder,
        organization=organization,
        environment=environment,
        base_url=base_url,
        listen_port=port or host_port or _HTTP_PORT,
        root_passphrase=root_secret,
        issuing_passphrase=issuing_secret,
        issuing_passphrase_file=issuing_file or folder / "issuing.passphrase",
        root_kind=kinds[0],
        issuing_kind=kinds[1],
        witness=who.witness,
        leader=who.leader,
        hsm=hsm,
        generation=generation,
        command=command_line(),
    )
    return hold_ceremony(plan, datetime.now(UTC))


def refuse_one_file(files: Iterable[Path | None]) -> None:
    """See that each passphrase is in a file of its own: who gets one key must not have the other with it.

    Raises:
        CeremonyError: two of them are one.
    """
    given = [file for file in files if file is not None]
    for number, file in enumerate(given):
        if any(is_same_file(file, other) for other in given[:number]):
            raise CeremonyError(f"{file}: one file for two passphrases; expected two, as root and issuing CA part")


def require_apart(environment: str, root: bytes, issuing: bytes) -> None:
    """See that in production the two keys are opened by different secrets, wherever these come from.

    Args:
        environment: of the issuing CA.
        root: passphrase of the root.
        issuing: passphrase of the issuing CA, or the PIN of its token.

    Raises:
        CeremonyError: they are one secret.
    """
    if environment == _PRODUCTION and hmac.compare_digest(root, issuing):
        raise CeremonyError(
            "root and issuing CA have one passphrase or PIN: expected two, as the one of the issuing CA stays on the"
            " server and would open the root as well"
        )


def root_of(certificate: Path, key: Path | None, passphrase_file: Path | None, base_url: str | None) -> RootFiles:
    """The root of a later ceremony; its key is beside its certificate unless said otherwise.

    Args:
        certificate: of the root.
        key: its file.
        passphrase_file: opens the key; asked for when None.
        base_url: where the root publishes; None where nothing that is made names it.

    Raises:
        InvalidValue: the base URL cannot be used.
        CeremonyError: the passphrases typed differ.
        SignerError: the passphrase file cannot be used.
    """
    if base_url is not None:
        check_base_url(base_url)
    secret = passphrase(passphrase_file, "root")
    return RootFiles(certificate, key or certificate.with_suffix(".key.pem"), secret, base_url or "")


def occasion_of(title: str, people: tuple[str | None, str | None], environment: str, before: Path | None) -> Occasion:
    """Who, now, with which command, after which transcript.

    Raises:
        InvalidValue: names are missing, or the environment is none.
        CeremonyError: the names are of one person, or the transcript before cannot be read.
    """
    earlier = hash_of(before) if before is not None else None
    return Occasion(title, people_of(people, environment), datetime.now(UTC), command_line(), earlier)


def people_of(given: tuple[str | None, str | None], environment: str) -> People:
    """Leader and witness; both must be named in production.

    Raises:
        InvalidValue: they are not, or the environment is none.
        CeremonyError: they are one person.
    """
    if environment not in ENVIRONMENTS:
        raise InvalidValue(f"--environment: expected one of {', '.join(sorted(ENVIRONMENTS))}")
    leader, witness = given
    if environment == _PRODUCTION and not (leader and witness):
        raise InvalidValue(
            "--leader and --witness: a production ceremony has two persons; expected both names. The rules of PRD hold"
            " unless --environment says TST or ACC, for a root of another environment."
        )
    return People(leader or operator_login(), witness or "")


def reasons_of(given: Sequence[str]) -> list[tuple[Path, RevocationReason]]:
    """`<certificate file>=<reason>` as it is typed.

    Raises:
        InvalidValue: another form, or an unknown reason.
    """
    found = []
    for text in given:
        path, _, reason = text.rpartition("=")
        try:
            found.append((Path(path), RevocationReason(reason)))
        except ValueError as error:
            known = ", ".join(RevocationReason)
            raise InvalidValue(f"--revoke: expected <certificate>=<reason>, with a reason out of {known}") from error
        if not path:
            raise InvalidValue("--revoke: expected <certificate>=<reason>")
    return found


def check_base_url(base_url: str) -> int | None:
    """The port in a base URL, None for the usual one.

    Raises:
        InvalidValue: not such a URL.
    """
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError as error:
        raise _no_base_url() from error
    if parts.scheme != "http" or not parts.hostname or base_url.endswith("/") or parts.query or parts.fragment:
        raise _no_base_url()
    return port


def passphrase(file: Path | None, which: str) -> bytes:
    """From its file, or typed twice.

    Raises:
        SignerError: the file cannot be used.
        CeremonyError: typed too short, or differently, or nobody can type.
    """
    if file is not None:
        return read_passphrase(file)
    if not _has_terminal():
        raise CeremonyError(f"--{which}-passphrase-file: expected a file, as there is no terminal to ask on")
    first = getpass.getpass(f"Passphrase for the {which} key: ")
    if len(first) < MIN_PASSPHRASE:
        raise CeremonyError(f"expected a passphrase of at least {MIN_PASSPHRASE} characters")
    if getpass.getpass("The same again: ") != first:
        raise CeremonyError("the two passphrases differ")
    return first.encode()


def read_pin(file: Path) -> bytes:
    """The PIN of a token: the first line of its file.

    Raises:
        SignerError: the file cannot be used.
    """
    lines = read_secret(file).splitlines()
    return lines[0] if lines else b""


def _has_terminal() -> bool:
    """Whether somebody can be asked: what `getpass` opens, or standard input."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return sys.stdin.isatty()
    return True


def command_line() -> str:
    """What was typed. Nothing secret is ever typed there: passphrases and PINs are in files or asked for."""
    return shlex.join(["pki", *sys.argv[1:]])


def _no_base_url() -> InvalidValue:
    return InvalidValue("--base-url: expected http://<host>[:port][/path] without a final slash")
