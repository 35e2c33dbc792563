"""How the commands of `pki` hand over what they made, and how a certificate is shown.

Kept out of `pki.cli.main` so that showing help imports none of it.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import typer

from authz.domain.errors import Refused, SluisError
from authz.domain.files import PRIVATE, Draft, read_limited
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.edge.terminal import one_line
from pki.app import OpenAuthority
from pki.audit.records import Actor
from pki.authority import Issued
from pki.cli.delivery import Delivery, DeliveryError, require_new
from pki.enrolment.desk import CodeDesk
from pki.enrolment.requests import CertificateRequest
from pki.enrolment.service import Asker, Enrolment
from pki.enrolment.warrants import RENEW
from pki.issuing import Holder
from pki.store.codes import EnrolmentCode
from pki.store.register import Registered

_CODE_ROOM: Final = 4096
"""Bytes; a code has some sixty."""


async def hand_over(
    pki: OpenAuthority, files: Delivery, csr: Path | None, make: Callable[[CertificateRequest], Awaitable[Issued]]
) -> Registered:
    """Have a certificate made and put it, with its key, where it was asked for.

    Args:
        pki: the open authority.
        files: where to.
        csr: the request; None for a new key.
        make: issues or renews.

    Raises:
        DeliveryError: it was made, or may have been, and is not where it should be; the text says what to do.
        Refused: it was not made; no file is left.
    """
    request = files.request(csr)
    try:
        issued = await make(request)
    except Refused:
        files.discard()
        raise
    except BaseException as error:
        # Refused is certain. After anything else, a lost connection or a kill, the certificate may be there: a key
        # that was certified is never thrown away.
        if files.key_at is None or not await _may_be_certified(pki, request):
            files.discard()
        else:
            files.release()
            if isinstance(error, SluisError):
                raise DeliveryError(
                    f"{error}. The certificate may be in the register all the same, so its key stays in {files.key_at}:"
                    " look with `pki list`, fetch it with `pki list --serial <serial> --out <file>`,"
                    " or remove the key when it is not there"
                ) from error
        raise
    files.put(pki.chain_pem(issued.certificate), issued.registered.serial_number)
    return issued.registered


async def _may_be_certified(pki: OpenAuthority, request: CertificateRequest) -> bool:
    try:
        return await pki.is_in_use(request)
    except SluisError:
        return True


async def redeem_here(  # noqa: PLR0917  a code, and what for
    pki: OpenAuthority,
    environment: str,
    who: Identifier,
    code_file: Path,
    request: CertificateRequest,
    operator: Actor,
    *,
    renewal: bool,
    stated: Mapping[str, Any],
    **options: Any,  # noqa: ANN401  of `Authority.renew`
) -> Issued:
    """Redeem a code at the desk: as its holder does over the network, with the same checks.

    Args:
        pki: the open authority.
        environment: in which; the code must be for that one.
        who: whose code it is.
        code_file: what `pki code create --out` wrote, and behind it, where two vouch, `pki code approve --out`.
        request: proved key.
        operator: who types.
        renewal: which command was typed; the code must be for that.
        stated: organisation, KvK number and names as typed, None for what was not; the code must say the same.
        **options: of `Authority.renew`.

    Raises:
        Refused: PARAMETER_MALFORMED, the code is for something else; those of `Enrolment`.
    """
    enrolment = Enrolment(pki)
    asker = Asker(operator.trace)
    text = read_limited(code_file, _CODE_ROOM).decode("ascii", "replace").strip()
    code = await enrolment.authenticate(who, text, asker)
    if code.environment != environment:
        raise Refused(Reason.PARAMETER_MALFORMED, "--code: this one is for another environment.")
    if (code.purpose == RENEW) is not renewal:
        other = "pki renew" if code.purpose == RENEW else "pki issue"
        raise Refused(Reason.PARAMETER_MALFORMED, f"--code: this one is for `{other}`.")
    said = {"organization": code.organization, "kvk": code.kvk, "dns": code.dns_names}
    for name, value in stated.items():
        if value is not None and value != said[name]:
            raise Refused(Reason.PARAMETER_MALFORMED, f"--{name}: expected what the code says, or nothing.")
    return await enrolment.certify(code, request, operator, asker, **options)


async def make_code(
    desk: CodeDesk,
    environment: str,
    holder: Holder,
    operator: Actor,
    out: Path | None,
    **options: Any,  # noqa: ANN401  of `CodeDesk.create`
) -> tuple[EnrolmentCode, str]:
    """Make a code and, when a file was named, put it there; a code that got lost on its way is withdrawn.

    Args:
        desk: makes it.
        environment: that the certificate will be for.
        holder: as vetted.
        operator: who vetted.
        out: for the code; None when it will be shown.
        **options: of `CodeDesk.create`.

    Raises:
        CommandError: the file is in the way; no code was made.
        DeliveryError: the code cannot be written, and works no longer.
    """
    if out is None:
        return await desk.create(environment, holder, operator, **options)
    return await _put(desk, operator, out, lambda: desk.create(environment, holder, operator, **options))


async def approve_code(
    desk: CodeDesk,
    selector: str,
    operator: Actor,
    out: Path | None,
    **options: Any,  # noqa: ANN401  of `CodeDesk.approve`
) -> tuple[EnrolmentCode, str]:
    """Approve a code and, when a file was named, put its second half there; see `make_code`.

    Args:
        desk: knows it.
        selector: reference of the code.
        operator: who types.
        out: for the second half; None when it will be shown.
        **options: of `CodeDesk.approve`.

    Raises:
        CommandError: the file is in the way; nothing was approved.
        DeliveryError: the half cannot be written, and the code works no longer.
    """
    if out is None:
        return await desk.approve(selector, operator, **options)
    return await _put(desk, operator, out, lambda: desk.approve(selector, operator, **options))


async def _put(
    desk: CodeDesk, operator: Actor, out: Path, make: Callable[[], Awaitable[tuple[EnrolmentCode, str]]]
) -> tuple[EnrolmentCode, str]:
    require_new(out)
    place = Draft(out, PRIVATE, reserve=_CODE_ROOM)
    try:
        made, text = await make()
        try:
            place.write(f"{text}\n".encode("ascii"))
            place.put_new()
        except OSError as error:
            await desk.withdraw(made.selector, operator)
            raise DeliveryError(
                f"{out}: {error.strerror}. The code {made.selector} is withdrawn, as nobody has it; make another"
            ) from error
    finally:
        place.drop()
    return made, text


def agree(code: EnrolmentCode) -> str | None:
    """Show a person what he is about to sign for, and have him say yes; on stderr, for stdout may be a program's.

    Args:
        code: of which the statement of the first operator was verified.

    Returns:
        The hash of that statement.

    Raises:
        Refused: PARAMETER_MISSING, nobody is there to read it, or he did not agree.
    """
    parts = (
        ("reference", code.selector),
        ("to", code.purpose),
        ("identity", code.identifier.subject),
        ("environment", code.environment),
        ("organisation", code.organization),
        ("KvK", code.kvk),
        ("DNS names", " ".join(code.dns_names) or "none"),
        ("key", code.subject_key or "any, by the holder's choice"),
        ("until", f"{code.expires_at:%Y-%m-%d %H:%M} UTC"),
        ("asked for by", code.created_by),
        ("statement", code.statement or ""),
    )
    # The first operator wrote this; what moves a cursor is spelled out.
    for name, said in parts:
        typer.echo(f"{name + ':':14}{one_line(said)}", err=True)
    if not sys.stdin.isatty():
        raise Refused(
            Reason.PARAMETER_MISSING,
            "--statement: nobody is there to agree; name the hash of the statement that was read.",
        )
    typer.echo("Is this the party that you vouch for, and what it may have? Type yes: ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise Refused(Reason.PARAMETER_MISSING, "You did not agree; nothing was signed, and the code keeps waiting.")
    return code.statement


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
