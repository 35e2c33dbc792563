"""For an auditor: who asked for a code, who approved it, and whether what was made of it is what they signed."""

from typing import Any

from cryptography import x509

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.enrolment.certified import Certificates, KnownIssuer
from pki.enrolment.operators.roster import Roster
from pki.issuing import Holder
from pki.keys import spki_sha256
from pki.looking import OpenRegister
from pki.settings import PkiSettings
from pki.store.codes import Codes, EnrolmentCode
from pki.store.register import UNDERWAY, Register, Registered
from pki.store.tables import certificates


async def verify_code(settings: PkiSettings, register: OpenRegister, selector: str) -> dict[str, Any]:
    """Verify both statements about a code against the register, and the certificate that it was used for against them.

    No key is needed, and operators who retired since then still count.

    Returns:
        What was vouched for and by whom, with both statements whole.

    Raises:
        Refused: CODE_UNKNOWN, no code has that reference; TWO_PERSONS_REQUIRED, it was not two; OPERATOR_SIGNATURE,
            what they signed is not what the register says of the code, or not what was certified for it;
            REGISTER_CONTRADICTS_CERTIFICATE, the register says something else than the certificate itself.
    """
    async with register.database.read() as connection:
        code = await Codes(connection).by_selector(selector)
        if code is None:
            raise Refused(Reason.CODE_UNKNOWN, "There is no code with that reference.")
        made = await Register(connection).find(
            certificates.c.issuer == code.issuer,
            certificates.c.serial_number == code.serial_number,
            certificates.c.code == selector,
            limit=1,
        )
        signed = await Register(connection).find(
            certificates.c.code == selector, certificates.c.certificate.isnot(None), limit=2
        )
    roster = Roster(settings.operators, [_key_of(der) for der in register.authorities])
    both = roster.examine(code)
    known = Certificates(
        KnownIssuer(issuer.name, issuer.environment, x509.load_der_x509_certificate(der))
        for issuer, der in zip(settings.issuers, register.authorities, strict=True)
    )
    # All that were signed for this code, and what the code says it was used for: one and the same, or none.
    for row in {item.id: item for item in (*made, *signed)}.values():
        if not _is_what_was_signed(known, row, code):
            raise _is_not()
    if len(signed) > 1 or (code.serial_number is not None and not made) or (signed and signed != made):
        raise _is_not()
    return {
        "reference": code.selector,
        "identity": code.identifier.subject,
        "environment": code.environment,
        "organization": code.organization,
        "kvk": code.kvk,
        "dns_names": list(code.dns_names),
        "purpose": code.purpose,
        "key": code.subject_key,
        "status": code.status,
        "certificate": made[0].reference if made else None,
        "vouched": [
            {
                "act": item.act,
                "operator": item.operator,
                "retired": item.retired,
                "whole_code": item.whole,
                "at": item.at,
                "statement": item.signed.statement,
                "public_key": item.signed.key,
                "signature": item.signed.signature,
            }
            for item in both
        ],
    }


def _is_what_was_signed(known: Certificates, made: Registered, code: EnrolmentCode) -> bool:
    """Whether a row is of what was vouched for: by its certificate, or by the intent when nothing was signed."""
    environment, had = made.environment, Holder(made.identifier, made.organization, made.kvk, made.dns_names)
    if made.certificate is not None:
        certified = known.read(made)
        environment, had = certified.environment, certified.holder
        if code.subject_key not in {None, certified.subject_key}:
            return False
    elif made.status not in {*UNDERWAY, "revoked"}:
        return False
    return (environment, had.identifier, had.organization, had.kvk, had.dns_names) == (
        code.environment, code.identifier, code.organization, code.kvk, code.dns_names
    )  # fmt: skip


def _is_not() -> Refused:
    return Refused(Reason.OPERATOR_SIGNATURE, "The certificate is not the one that the operators signed for.")


def _key_of(der: bytes) -> str:
    return spki_sha256(x509.load_der_x509_certificate(der))
