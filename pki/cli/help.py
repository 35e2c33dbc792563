"""How `pki --help` is arranged: who a command is for, and an example of each.

Kept beside the commands and not at them, so that the whole can be read at a glance.
"""

from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from typer.models import CommandInfo, TyperInfo

_PARTICIPANTS: Final = "For participants"
_OPERATORS: Final = "For operators of the authority"
_CEREMONIES: Final = "Ceremonies, on the offline machine"
_PERSONS: Final = '--leader "A. Jansen" --witness "B. de Vries"'
_CEREMONY: Final = f"--base-url http://pki.example.nl {_PERSONS}"
ARRANGED: Final[dict[str, tuple[str, str]]] = {
    "enrol": (
        _PARTICIPANTS,
        "pki enrol --url https://pki.example.nl --ca root.crt --identity uzovi:5000 --code-file code --out-dir certs",
    ),
    "reenrol": (_PARTICIPANTS, 'pki reenrol --out-dir certs --daemon --reload-hook "systemctl reload my-service"'),
    "doctor": (
        _PARTICIPANTS,
        "pki doctor --certificate chain.pem --key key.pem --ca root.crt --endpoint agent.delinde.nl:8443",
    ),
    "dnssec": (_PARTICIPANTS, "pki dnssec check register.delinde.nl"),
    "serve": (_OPERATORS, "pki serve --config pki.toml"),
    "issue": (
        _OPERATORS,
        'pki issue --identity agbcode:01234567 --organization "De Linde" --kvk 12345678 --csr a.csr --out chain.pem',
    ),
    "renew": (_OPERATORS, "pki renew --identity agbcode:01234567 --csr new.csr --out chain.pem"),
    "revoke": (_OPERATORS, "pki revoke --identity agbcode:01234567 --reason keyCompromise"),
    "list": (_OPERATORS, "pki list --status active"),
    "code": (
        _OPERATORS,
        'pki code create --identity uzovi:5000 --organization "Zorgkantoor Voorbeeld" --kvk 12345678 --out code.txt',
    ),
    "operator": (_OPERATORS, ""),
    "audit": (_OPERATORS, "pki audit resend --all"),
    "block-key": (_OPERATORS, "pki block-key --key leaked.pem"),
    "retire": (_OPERATORS, "pki retire --issuer issuing-prd"),
    "restored": (_OPERATORS, "pki restored --crl issuing-prd.crl"),
    "ceremony": (
        _CEREMONIES,
        f'pki ceremony --out ca --organization "Vertrouwensleverancier" --environment PRD {_CEREMONY}',
    ),
    "ceremony-issuing": (
        _CEREMONIES,
        f"pki ceremony-issuing --root ca/root.crt --environment PRD --generation 2 --out second {_CEREMONY}",
    ),
    "ceremony-root-crl": (
        _CEREMONIES,
        f"pki ceremony-root-crl --root ca/root.crt --previous ca/root.crl --out crl-2027-01 {_PERSONS}",
    ),
    "ceremony-cross": (
        _CEREMONIES,
        f"pki ceremony-cross --root ca/root.crt --certificate new/root-2.crt --out cross {_CEREMONY}",
    ),
    "ceremony-verify": (_CEREMONIES, "pki ceremony-verify ca/transcript.md"),
}
"""Command -> for whom, and an example."""


def arrange(app: typer.Typer) -> None:
    """Group the commands of a program by who uses them, in that order, and show an example with each."""
    order = list(ARRANGED)
    app.registered_commands.sort(
        key=lambda item: order.index(name) if (name := _name_of(item)) in ARRANGED else len(order)
    )
    every: list[CommandInfo | TyperInfo] = [*app.registered_commands, *app.registered_groups]
    for item in every:
        found = ARRANGED.get(_name_of(item))
        if found is not None:
            item.rich_help_panel, example = found
            if example:
                item.epilog = f"Example: {example}"


def _name_of(item: "CommandInfo | TyperInfo") -> str:
    return str(item.name or getattr(item.callback, "__name__", ""))
