"""For an auditor: who asked for a code, who approved it, and whether what was made of it is what they signed."""

from typing import Any

from cryptography import x509

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.enrolment.operators.roster import Roster
from pki.keys import spki_sha256
from pki.looking import OpenRegister
from pki.settings import PkiSettings
from pki.store.codes import Codes, EnrolmentCode
from pki.store.register import Register, Registered
from pki.store.tables import certificates


async def verify_code(settings: PkiSettings, register: OpenRegister, selector: str) -> dict[str, Any]:
    """Verify both statements about a code against the register, and the certificate that it was used for against them.

    No key is needed, and operators who retired since then still count.

    Returns:
        What was vouched for and by whom, with both statements whole.

    Raises:
        Refused: CODE_UNKNOWN, no code has that reference; TWO_PERSONS_REQUIRED, it was not two; OPERATOR_SIGNATURE,
            what they signed is not what the register says of the code or of the certificate.
    """
    async with register.database.read() as connection:
        code = await Codes(connection).by_selector(selector)
        if code is None:
            raise Refused(Reason.CODE_UNKNOWN, "There is no code with that reference.")
        made = await Register(connection).find(
            certificates.c.issuer == code.issuer,
            certificates.c.serial_number == code.serial_number,
            limit=1,
        )
    roster = Roster(settings.operators, [_key_of(der) for der in register.authorities])
    both = roster.examine(code)
    if code.serial_number is not None and not (made and _is_what_was_signed(made[0], code)):
        raise Refused(Reason.OPERATOR_SIGNATURE, "The certificate is not the one that the operators signed for.")
    return {
        "reference": code.selector,
        "identity": code.identifier.subject,
        "environment": code.environment,
        "organization": code.organization,
        "kvk": code.kvk,
        "dns_names": list(code.dns_names),
        "purpose": code.purpose,
        "status": code.status,
        "certificate": made[0].reference if made else None,
        "vouched": [
            {
                "act": item.act,
                "operator": item.operator,
                "retired": item.retired,
                "at": item.at,
                "statement": item.signed.statement,
                "public_key": item.signed.key,
                "signature": item.signed.signature,
            }
            for item in both
        ],
    }


def _is_what_was_signed(made: Registered, code: EnrolmentCode) -> bool:
    return (made.environment, made.identifier, made.organization, made.kvk, made.dns_names) == (
        code.environment, code.identifier, code.organization, code.kvk, code.dns_names
    )  # fmt: skip


def _key_of(der: bytes) -> str:
    return spki_sha256(x509.load_der_x509_certificate(der))
