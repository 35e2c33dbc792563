"""Commands of operators around enrolment: `pki code ...` and `pki block-key`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pki.cli.operators import OperatorKey, OperatorPassphrase, opened
from pki.cli.shared import (
    CONFIG,
    AsJson,
    Config,
    Environment,
    Identity,
    emit,
    holder,
    operator,
    with_authority,
    with_desk,
)

if TYPE_CHECKING:
    from pki.app import OpenAuthority
    from pki.enrolment.opening import OpenDesk
    from pki.store.codes import EnrolmentCode
    from pki.store.register import Registered

code_app = typer.Typer(name="code", help="One-time enrolment codes for parties that you vetted.", no_args_is_help=True)
Reference = Annotated[str, typer.Argument(help="Reference of the code: its first eight characters.")]


@code_app.command("create")
def create(
    *,
    identity: Identity,
    organization: Annotated[str, typer.Option(help="Legal name, as vetted.")],
    kvk: Annotated[str, typer.Option(help="KvK number, 8 digits.")],
    dns: Annotated[list[str] | None, typer.Option("--dns", help="DNS name; may be repeated.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=30, help="How long it works.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the code here (0600) instead of printing it.")
    ] = None,
    renewal: Annotated[
        bool, typer.Option("--renewal", help="For a party with a certificate: other names, or a lost key.")
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", help="For this key only: hex SHA-256 of its subjectPublicKeyInfo, or a file (PEM) that has it."
        ),
    ] = None,
    operator_key: OperatorKey = None,
    operator_passphrase_file: OperatorPassphrase = None,
    environment: Environment = None,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Make a code for a party, after you made sure who it is. It is shown once and kept nowhere.

    Its DNS names must be secure (DNSSEC). In production it is signed with your key, and what you are shown is the first
    half; another operator, who approves it, is shown the second.
    """

    async def act(pki: "OpenDesk") -> "tuple[EnrolmentCode, str]":
        from datetime import timedelta  # noqa: PLC0415

        from pki.cli.showing import make_code  # noqa: PLC0415
        from pki.enrolment.desk import CodeDesk  # noqa: PLC0415

        party = holder(identity, organization, kvk, dns or ())
        life = timedelta(days=days) if days else None
        place = pki.environment(environment)
        how = {"life": life, "key": signer, "renewal": renewal, "subject_key": only}
        return await make_code(CodeDesk(pki), place, party, operator(), out, **how)

    only = None if key is None else _key_hash(key)
    signer = opened(operator_key, operator_passphrase_file)
    made, text = with_desk(config, act)
    name, title = ("first_half", "First half") if made.two_person else ("code", "Code")
    value = _shown(made) | ({name: text} if out is None else {"code_file": str(out)})
    emit(value, as_json, lambda: _told(made, f"{title}: {text}" if out is None else f"{title} in {out}"))


@code_app.command("approve")
def approve(  # noqa: PLR0917  as typed
    reference: Reference,
    statement: Annotated[
        str | None, typer.Option("--statement", help="Hash of what you read, as `pki code list` shows it; else asked.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the second half here (0600) instead of printing it.")
    ] = None,
    operator_key: OperatorKey = None,
    operator_passphrase_file: OperatorPassphrase = None,
    config: Config = CONFIG,
    *,
    as_json: AsJson = False,
) -> None:
    """Agree, as a second operator with your own key, with the identity and names of a code.

    Shows what the first operator signed, and asks; then shows you the second half, once. Bring it to the party
    yourself: who has both halves gets its certificate. The DNS names must be secure (DNSSEC) at this moment too.
    """

    async def act(pki: "OpenDesk") -> "tuple[EnrolmentCode, str]":
        from pki.cli.showing import agree, approve_code  # noqa: PLC0415
        from pki.enrolment.desk import CodeDesk  # noqa: PLC0415

        desk, who, selector = CodeDesk(pki), operator(), _selector(reference)
        shown = await desk.look(selector, who, key=key)
        named = agree(shown) if statement is None else statement.strip().lower()
        return await approve_code(desk, selector, who, out, statement=named, key=key)

    key = opened(operator_key, operator_passphrase_file)
    done, second = with_desk(config, act)
    value = _shown(done) | ({"second_half": second} if out is None else {"code_file": str(out)})
    lines = [
        f"approved {done.selector} of {done.identifier}, {done.organization}",
        f"Second half: {second}" if out is None else f"Second half in {out}",
        f"Bring it to {done.organization} yourself, on a way of your own; not through {done.created_by}.",
    ]
    emit(value, as_json, lambda: "\n".join(lines))


@code_app.command("withdraw")
def withdraw(reference: Reference, config: Config = CONFIG, *, as_json: AsJson = False) -> None:
    """Let a code work no longer."""

    async def act(pki: "OpenDesk") -> "EnrolmentCode":
        from pki.enrolment.desk import CodeDesk  # noqa: PLC0415

        return await CodeDesk(pki).withdraw(_selector(reference), operator())

    done = with_desk(config, act)
    emit(_shown(done), as_json, lambda: f"withdrew {done.selector} of {done.identifier}")


@code_app.command("list")
def list_codes(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also what is used, expired or withdrawn.")] = False,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show codes; never the codes themselves, which are kept nowhere."""

    async def act(pki: "OpenDesk") -> "list[EnrolmentCode]":
        from pki.enrolment.desk import CodeDesk  # noqa: PLC0415

        return await CodeDesk(pki).find(still_open=not everything)

    found = with_desk(config, act)

    def text() -> str:
        from pki.cli.code_list import listed  # noqa: PLC0415

        return listed(found)

    emit([_shown(item) for item in found], as_json, text)


def block_key(
    *,
    key: Annotated[
        list[Path] | None, typer.Option("--key", help="Certificate, request or public key (PEM); may be repeated.")
    ] = None,
    hashes: Annotated[
        Path | None, typer.Option("--hashes", help="File with a hex SHA-256 of a subjectPublicKeyInfo on each line.")
    ] = None,
    why: Annotated[str, typer.Option(help="compromised, weak or published.")] = "compromised",
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Never certify these keys again; certificates that have one are revoked (keyCompromise)."""

    async def act(pki: "OpenAuthority") -> "tuple[int, list[Registered]]":
        from authz.domain.errors import Refused  # noqa: PLC0415
        from authz.domain.reasons import Reason  # noqa: PLC0415
        from pki.enrolment.blocking import WHYS, key_name_of, read_hashes  # noqa: PLC0415
        from pki.enrolment.desk import CodeDesk  # noqa: PLC0415

        if why not in WHYS:
            raise Refused(Reason.PARAMETER_MALFORMED, f"--why: expected one of {', '.join(WHYS)}.")
        found = [key_name_of(path) for path in key or ()] + (read_hashes(hashes) if hashes else [])
        if not found:
            raise Refused(Reason.PARAMETER_MISSING, "Name at least one --key or --hashes.")
        return await CodeDesk(pki).block_keys(found, why, operator())

    added, revoked = with_authority(config, act)
    value = {"blocked": added, "revoked": [item.reference for item in revoked]}
    emit(
        value,
        as_json,
        lambda: "\n".join(
            [f"blocked {added}", *(f"revoked {item.reference} of {item.identifier}" for item in revoked)]
        ),
    )


def _selector(reference: str) -> str:
    from authz.domain.errors import Refused  # noqa: PLC0415
    from authz.domain.reasons import Reason  # noqa: PLC0415
    from pki.enrolment.codes import read_selector  # noqa: PLC0415

    selector = read_selector(reference)
    if selector is None:
        raise Refused(Reason.CODE_UNKNOWN, "Expected the eight characters that `pki code list` shows.")
    return selector


def _key_hash(text: str) -> str:
    import re  # noqa: PLC0415

    from pki.enrolment.blocking import key_name_of  # noqa: PLC0415

    hashed = text.strip().lower()
    return hashed if re.fullmatch(r"[0-9a-f]{64}", hashed) else key_name_of(Path(text)).subject_key


def _told(made: "EnrolmentCode", where: str) -> str:
    lines = [
        where,
        f"Reference {made.selector}, for {made.identifier} ({made.environment}).",
        f"It works until {made.expires_at:%Y-%m-%d %H:%M} UTC.",
        "Hand it over on another way than the one by which the party asked for it.",
    ]
    if made.status == "pending":
        lines.append(f"It works after another operator has said, with his key: pki code approve {made.selector}")
        lines.append("He is shown the second half, which he brings to the party himself; you do not learn it.")
        lines.append(f"What you signed, and he signs: {made.statement}")
    return "\n".join(lines)


def _shown(item: "EnrolmentCode") -> dict[str, Any]:
    return {
        "reference": item.selector,
        "identity": item.identifier.subject,
        "environment": item.environment,
        "organization": item.organization,
        "kvk": item.kvk,
        "dns_names": list(item.dns_names),
        "purpose": item.purpose,
        "key": item.subject_key,
        "status": item.status,
        "created_by": item.created_by,
        "created_at": item.created_at.isoformat(),
        "expires_at": item.expires_at.isoformat(),
        "approved_by": item.approved_by,
        "statement": item.statement,
        "used_at": item.used_at.isoformat() if item.used_at else None,
        "certificate": f"{item.issuer}/{item.serial_number}" if item.serial_number else None,
    }
