"""`pki restored`: after an older copy of the register was put back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pki.cli.shared import CONFIG, AsJson, Config, emit, operator, with_authority

if TYPE_CHECKING:
    from pki.app import OpenAuthority
    from pki.revocation.restoring import Restored


def restored(
    *,
    crl: Annotated[
        list[Path], typer.Option("--crl", help="Newest published CRL of a CA, DER or PEM; once for each CA.")
    ],
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Tell a register that was restored from a backup what its published CRLs say, and publish above them."""

    async def act(pki: "OpenAuthority") -> "Restored":
        from authz.domain.files import read_limited  # noqa: PLC0415
        from pki.revocation.restoring import MAX_CRL_FILE, Restoration  # noqa: PLC0415

        return await Restoration(pki).restore([read_limited(path, MAX_CRL_FILE) for path in crl], operator())

    found = with_authority(config, act)
    emit(
        {
            "crls": {item.issuer: item.number for item in found.crls},
            "revoked": found.revoked,
            "held": found.held,
            "unknown": found.unknown,
            "codes_withdrawn": found.codes,
        },
        as_json,
        lambda: _text(found),
    )


def _text(found: "Restored") -> str:
    lines = [f"{item.issuer}: CRL {item.number} is published" for item in found.crls]
    for what, names in (
        ("revoked again", found.revoked),
        ("on hold again", found.held),
        ("not in this register; kept on the CRL", found.unknown),
        ("enrolment code withdrawn", found.codes),
    ):
        lines += [f"{what}: {name}" for name in names]
    return "\n".join(lines)
