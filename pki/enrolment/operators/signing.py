"""Statements that an operator signs: one text for one meaning, under a name of our own for what is signed.

Specification: shared `spec/pki.md`, "Issuing" (two-person in production); decision 0108. A statement is JSON with
sorted names, without spaces, in ASCII, and goes behind `DOMAIN` when it is signed, so that a signature for it is one
for nothing else. ECDSA on P-256 with SHA-256, DER, in base64. What a statement means is not looked at here
(`pki.enrolment.operators.roster`).
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.keys import spki_of
from pki.signing.signer import KeySigner

DOMAIN: Final = b"sluis-pki-operator-statement-v1\0"
KIND: Final = "ec-p256"


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement with its signature, as the register keeps it.

    Attributes:
        statement: canonical JSON.
        key: the public key that verifies it, as in the settings.
        signature: base64.
    """

    statement: str
    key: str
    signature: str

    @property
    def hash(self) -> str:
        """Names it: hex SHA-256 over all three."""
        return hashlib.sha256(canonical([self.statement, self.key, self.signature]).encode("ascii")).hexdigest()


def canonical(value: object) -> str:
    """The one text of a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def public_text(signer: KeySigner) -> str:
    """The public key as the settings have it.

    Raises:
        ValueError: another kind of key.
    """
    return check_public(base64.b64encode(signer.public_key).decode("ascii"))


def check_public(text: str) -> str:
    """A public key as it is written in the settings: P-256, in its only spelling.

    Raises:
        ValueError: something else.
    """
    _public(text)
    return text


def sign(signer: KeySigner, facts: Mapping[str, Any]) -> Signed:
    """State facts with a key."""
    statement = canonical(facts)
    signature = signer.sign(DOMAIN + statement.encode("ascii"))
    return Signed(statement, public_text(signer), base64.b64encode(signature).decode("ascii"))


def verify(signed: Signed) -> dict[str, Any]:
    """What was stated, when the key did sign exactly this. Whose key it is, is not looked at.

    Raises:
        Refused: OPERATOR_SIGNATURE.
    """
    try:
        signature = base64.b64decode(signed.signature, validate=True)
        _public(signed.key).verify(signature, DOMAIN + signed.statement.encode("ascii"), ec.ECDSA(hashes.SHA256()))
        facts = json.loads(signed.statement)
    except (ValueError, InvalidSignature) as error:
        raise _does_not_fit() from error
    # A signer of ours writes no other text; two texts of one meaning are not wanted in an audit.
    if not isinstance(facts, dict) or canonical(facts) != signed.statement:
        raise _does_not_fit()
    return facts


def _does_not_fit() -> Refused:
    return Refused(Reason.OPERATOR_SIGNATURE, "The signature of an operator does not fit what it is said of.")


def _public(text: str) -> ec.EllipticCurvePublicKey:
    expected = "expected the public key that `pki operator new` printed"
    try:
        der = base64.b64decode(text, validate=True)
        key = load_der_public_key(der)
    except (ValueError, binascii.Error, TypeError) as error:
        raise ValueError(expected) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ValueError(expected)
    # A point has several encodings and base64 may have loose bits: a second spelling would be a second operator.
    again = spki_of(key)
    if base64.b64encode(again).decode("ascii") != text:
        raise ValueError(expected)
    return key
