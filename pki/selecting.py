"""Which certificates of the register are meant: what an operator types, parsed once into types of its own.

Standard library only, so that the command line may use it before anything slow is imported. An empty or half-typed
selector is refused here: in a query it would become no condition at all, and a revocation one of everything.
"""

import re
from enum import StrEnum
from typing import Final, NewType

from authz.domain.errors import Refused
from authz.domain.reasons import Reason

SerialNumber = NewType("SerialNumber", str)
"""As the register has it: lower-case hex without leading zeros."""
_HEX: Final = re.compile(r"[0-9a-f]{1,64}")
_PAIRS: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){0,31}")


class CertificateStatus(StrEnum):
    """States of a certificate in the register."""

    ACTIVE = "active"
    SUPERSEDING = "superseding"
    REVOKED = "revoked"
    EXPIRED = "expired"
    ISSUING = "issuing"
    RENEWING = "renewing"


class EnvironmentName(StrEnum):
    """Environments that certificates are for."""

    PRD = "PRD"
    TST = "TST"
    ACC = "ACC"


def read_serial(text: str) -> SerialNumber:
    """A serial number as people have it: hex, perhaps with `0x` before it or colons between (openssl).

    Args:
        text: as it was typed.

    Raises:
        Refused: PARAMETER_MALFORMED, it is anything else; nothing and zero are no serial numbers either.
    """
    typed = text.strip().lower()
    digits = typed.replace(":", "") if _PAIRS.fullmatch(typed) else typed.removeprefix("0x")
    if _HEX.fullmatch(digits) is None or not digits.strip("0"):
        raise Refused(
            Reason.PARAMETER_MALFORMED,
            "--serial: expected a serial number in hexadecimal digits, as `pki list` shows it.",
        )
    return SerialNumber(digits.lstrip("0"))


def read_status(text: str) -> CertificateStatus:
    """A state as it was typed.

    Raises:
        Refused: PARAMETER_MALFORMED.
    """
    try:
        return CertificateStatus(text)
    except ValueError as error:
        raise Refused(
            Reason.PARAMETER_MALFORMED, f"--status: expected one of {', '.join(CertificateStatus)}."
        ) from error


def read_environment(text: str) -> EnvironmentName:
    """An environment as it was typed, whether or not this authority issues for it.

    Raises:
        Refused: PARAMETER_MALFORMED.
    """
    try:
        return EnvironmentName(text)
    except ValueError as error:
        raise Refused(
            Reason.PARAMETER_MALFORMED, f"--environment: expected one of {', '.join(EnvironmentName)}."
        ) from error
