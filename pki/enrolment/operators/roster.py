"""Whether two operators vouched for a code: who they are, and whether they signed for what the register now says.

Specification: shared `spec/pki.md`, "Issuing"; decisions 0108 and 0122. The row of a code is believed only as far as
the two statements reach, which name everything that a certificate will say, the hash of the half that each operator was
shown (the second one names both), and the other statement. Who can write the database but has no two keys can therefore
not make a code that gets a certificate, nor can one operator redeem alone what both vouched for.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.enrolment.operators.settings import OperatorSettings
from pki.enrolment.operators.signing import Signed, public_text, sign, verify
from pki.signing.signer import KeySigner
from pki.store.codes import EnrolmentCode

REQUEST: Final = "code_create"
APPROVAL: Final = "code_approve"
ANY_KEY: Final = "any"
"""A code entitles whoever has both halves; the key comes with the request."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """One of the two statements about a code, verified.

    Attributes:
        act: `REQUEST` or `APPROVAL`.
        operator: his name in the settings.
        retired: he acts no more.
        at: as he stated it, RFC 3339.
        signed: the statement with its signature.
        whole: it is about a code that its first operator knew whole, as all were before decision 0122.
    """

    act: str
    operator: str
    retired: bool
    at: str
    signed: Signed
    whole: bool = False


class Roster:
    """The operators of one installation.

    Args:
        operators: as in the settings.
        authorities: hex SHA-256 of the keys of the issuing CAs here, the one that is named in new statements first;
            a statement for another authority counts for nothing.
    """

    def __init__(self, operators: Iterable[OperatorSettings], authorities: Sequence[str]) -> None:
        self._by_key = {item.public_key: item for item in operators}
        self._authorities = tuple(authorities)

    def name_of(self, signer: KeySigner) -> str:
        """Whose key this is.

        Raises:
            Refused: OPERATOR_UNKNOWN, nobody's, or of somebody who acts no more.
        """
        try:
            found = self._by_key.get(public_text(signer))
        except ValueError:
            found = None
        if found is None or found.retired:
            raise Refused(
                Reason.OPERATOR_UNKNOWN, "Expected the key of an operator who stands in [[operators]] of the settings."
            )
        return found.name

    def request(self, signer: KeySigner, code: EnrolmentCode) -> Signed:
        """Ask for a code, with one's name.

        Raises:
            Refused: OPERATOR_UNKNOWN.
        """
        facts = self._facts(code, REQUEST, self.name_of(signer), code.created_at, self._authorities[0])
        return sign(signer, facts | _secrets(code, REQUEST, whole=not code.two_person))

    def asked(self, signer: KeySigner, code: EnrolmentCode) -> Vouched:
        """What another operator asked for, verified, for the one who is about to agree with it.

        Raises:
            Refused: OPERATOR_UNKNOWN; OPERATOR_SIGNATURE or TWO_PERSONS_REQUIRED, what is asked was not signed so, or
                by somebody who acts no more; APPROVER_IS_CREATOR.
        """
        name = self.name_of(signer)
        asked = self._acting(self._asked(code))
        if asked.operator == name or asked.signed.key == public_text(signer):
            raise Refused(Reason.APPROVER_IS_CREATOR, "Expected another operator than the one who made the code.")
        return asked

    def approve(self, signer: KeySigner, code: EnrolmentCode, at: datetime, statement: str | None) -> Signed:
        """Agree with what another one asked for.

        Args:
            signer: key of the second operator.
            code: as the register has it, with the second half that was drawn for him.
            at: the moment.
            statement: hash of the request that he saw and agrees with.

        Raises:
            Refused: those of `asked`; STATEMENT_DIFFERS, another request stands there than the one that he saw.
        """
        asked = self.asked(signer, code)
        if asked.signed.hash != statement:
            raise Refused(
                Reason.STATEMENT_DIFFERS,
                "What waits for approval under this reference is not the statement that you named; read it again.",
            )
        facts = self._facts(code, APPROVAL, self.name_of(signer), at, self._authorities[0])
        return sign(signer, facts | _secrets(code, APPROVAL) | {"request": asked.signed.hash})

    def require_two(self, code: EnrolmentCode) -> None:
        """Two operators who act today vouched for exactly this code.

        Raises:
            Refused: TWO_PERSONS_REQUIRED, OPERATOR_SIGNATURE.
        """
        for vouched in self.examine(code):
            self._acting(vouched)

    def examine(self, code: EnrolmentCode) -> tuple[Vouched, Vouched]:
        """Who asked and who approved, each verified; for an auditor, who may look years later.

        Raises:
            Refused: TWO_PERSONS_REQUIRED, it was not two, or they are not known here; OPERATOR_SIGNATURE, what they
                signed is not what the register says.
        """
        asked = self._asked(code)
        if code.approval is None or code.approved_at is None:
            raise _not_two("no second operator has approved this code")
        approval = self._vouched(code, APPROVAL, code.approval, code.approved_at, {"request": asked.signed.hash})
        if asked.operator == approval.operator or asked.signed.key == approval.signed.key:
            raise _not_two("one operator stands for two")
        return asked, approval

    def _asked(self, code: EnrolmentCode) -> Vouched:
        if not code.two_person or code.request is None:
            raise _not_two("this code was not asked for with the key of an operator")
        return self._vouched(code, REQUEST, code.request, code.created_at, {})

    def _vouched(self, code: EnrolmentCode, act: str, signed: Signed, at: datetime, more: dict[str, str]) -> Vouched:
        stated = verify(signed)
        operator = self._by_key.get(signed.key)
        if operator is None:
            raise _not_two("an operator who signed does not stand in the settings")
        authority = stated.get("authority")
        whole = "code" in stated
        facts = self._facts(code, act, operator.name, at, str(authority)) | _secrets(code, act, whole=whole) | more
        if authority not in self._authorities or stated != facts:
            raise Refused(
                Reason.OPERATOR_SIGNATURE, "What an operator signed is not what the register says about this code."
            )
        return Vouched(act, operator.name, operator.retired, stated["at"], signed, whole)

    @staticmethod
    def _acting(vouched: Vouched) -> Vouched:
        if vouched.retired:
            raise _not_two("an operator who signed acts no more")
        if vouched.whole:
            raise _not_two("one of them knew the whole code, which is of before codes had two halves")
        return vouched

    @staticmethod
    def _facts(code: EnrolmentCode, act: str, operator: str, at: datetime, authority: str) -> dict[str, Any]:
        return {
            "act": act,
            "at": at.isoformat(),
            "authority": authority,
            "dns_names": list(code.dns_names),
            "environment": code.environment,
            "expires_at": code.expires_at.isoformat(),
            "identity": code.identifier.subject,
            "key": code.subject_key or ANY_KEY,
            "kvk": code.kvk,
            "operator": operator,
            "organization": code.organization,
            "purpose": code.purpose,
            "reference": code.selector,
        }


def _secrets(code: EnrolmentCode, act: str, *, whole: bool = False) -> dict[str, str]:
    """Which secrets a statement is about: of the whole code, or of the half or halves that its operator answers for."""
    first = _hash(code.salt, code.verifier)
    if whole:
        return {"code": first}
    if act == REQUEST:
        return {"first_half": first}
    return {"first_half": first, "second_half": _hash(code.second_salt or b"", code.second_verifier or b"")}


def _hash(salt: bytes, verifier: bytes) -> str:
    return hashlib.sha256(salt + verifier).hexdigest()


def _not_two(why: str) -> Refused:
    return Refused(
        Reason.TWO_PERSONS_REQUIRED, f"Two operators must vouch for this, and {why}; ask an operator for a new code."
    )
