"""Commands around the keys of operators: `pki operator ...`, and the options with which an operator proves himself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pki.cli.shared import CONFIG, AsJson, Config, emit, settings_of, table, with_register

if TYPE_CHECKING:
    from pki.looking import OpenRegister
    from pki.signing.signer import KeySigner

operator_app = typer.Typer(
    name="operator", help="Operators, who vouch for parties with keys of their own.", no_args_is_help=True
)
OperatorKey = Annotated[
    Path | None, typer.Option("--operator-key", envvar="SLUIS_PKI_OPERATOR_KEY", help="Your own key, as an operator.")
]
OperatorPassphrase = Annotated[
    Path | None, typer.Option("--operator-passphrase-file", help="Opens your key; asked for when left out.")
]


@operator_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="How the settings and the records name you: small letters, digits.")],
    out: Annotated[Path, typer.Option("--out", help="Write the key here (encrypted, 0600).")],
    operator_passphrase_file: OperatorPassphrase = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make your key. Nobody else may have it or know its passphrase; what is printed belongs into pki.toml."""
    from pki.ceremony.asked import passphrase  # noqa: PLC0415
    from pki.enrolment.operators.keyfile import make_key, settings_block  # noqa: PLC0415

    _check_name(name)
    public = make_key(out, passphrase(operator_passphrase_file, "operator"))
    emit({"name": name, "public_key": public, "key": str(out)}, as_json, lambda: settings_block(name, public).rstrip())


@operator_app.command("list")
def list_operators(config: Config = CONFIG, *, as_json: AsJson = False) -> None:
    """Show who vouches here, where two are needed, and the hash of it that the audit records name."""
    from pki.audit.rules import roster_hash  # noqa: PLC0415

    settings = settings_of(config)
    roster = roster_hash(settings)
    found = [{"name": item.name, "retired": item.retired, "public_key": item.public_key} for item in settings.operators]
    two = [environment for environment in settings.environments() if settings.needs_two(environment)]
    rows: list[tuple[str, ...]] = [("operator", "retired", "public key")]
    rows += [(item.name, "yes" if item.retired else "no", item.public_key) for item in settings.operators]

    def text() -> str:
        return f"{table(rows)}\ntwo are needed in: {', '.join(two) or 'no environment'}\nroster: {roster}"

    emit({"operators": found, "two_persons": two, "roster": roster}, as_json, text)


@operator_app.command("verify")
def verify(
    reference: Annotated[str, typer.Argument(help="Reference of a code: its first eight characters.")],
    config: Config = CONFIG,
    *,
    as_json: AsJson = False,
) -> None:
    """Verify who asked for a code and who approved it, and that its certificate is what they signed for."""

    async def act(register: "OpenRegister") -> dict[str, Any]:
        from authz.domain.errors import Refused  # noqa: PLC0415
        from authz.domain.reasons import Reason  # noqa: PLC0415
        from pki.enrolment.codes import read_selector  # noqa: PLC0415
        from pki.enrolment.operators.report import verify_code  # noqa: PLC0415

        selector = read_selector(reference)
        if selector is None:
            raise Refused(Reason.CODE_UNKNOWN, "Expected the eight characters that `pki code list` shows.")
        return await verify_code(settings_of(config), register, selector)

    found = with_register(config, act)

    def text() -> str:
        names = " ".join(found["dns_names"]) or "no DNS names"
        about = f"{found['reference']} ({found['status']}), to {found['purpose']}: {found['identity']}"
        lines = [
            f"{about} in {found['environment']}, {found['organization']}, KvK {found['kvk']}, {names}",
            *(_told(item) for item in found["vouched"]),
        ]
        return "\n".join([*lines, f"certificate: {found['certificate'] or 'none'}"])

    emit(found, as_json, text)


def _told(item: dict[str, Any]) -> str:
    did = "asked for" if item["act"] == "code_create" else "approved"
    retired = " (retired)" if item["retired"] else ""
    whole = ", of a code without halves, which one operator had whole" if item["whole_code"] else ""
    return f"{did} by {item['operator']}{retired} at {item['at']}: signature verified{whole}"


def opened(key: Path | None, passphrase_file: Path | None) -> "KeySigner | None":
    """The key of the operator, when he gave one.

    Raises:
        SignerError: it cannot be used.
        Refused: PARAMETER_MISSING, a passphrase without a key, or nobody to type one.
    """
    from authz.domain.errors import Refused  # noqa: PLC0415
    from authz.domain.reasons import Reason  # noqa: PLC0415
    from pki.enrolment.operators.keyfile import open_key  # noqa: PLC0415

    if key is None:
        if passphrase_file is not None:
            raise Refused(Reason.PARAMETER_MISSING, "--operator-passphrase-file: expected --operator-key as well.")
        return None
    return open_key(key, passphrase_file)


def _check_name(name: str) -> None:
    import re  # noqa: PLC0415

    from authz.domain.errors import Refused  # noqa: PLC0415
    from authz.domain.reasons import Reason  # noqa: PLC0415
    from pki.enrolment.operators.settings import NAME  # noqa: PLC0415

    if not re.fullmatch(NAME, name):
        raise Refused(Reason.PARAMETER_MALFORMED, "NAME: expected small letters, digits and hyphens, 32 at most.")
