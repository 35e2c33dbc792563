"""A signer whose key never leaves a PKCS#11 token: an HSM, or SoftHSM2 where one tries things out.

Specification: shared `spec/pki.md`, "Issuing" (keys behind a Signer); OASIS PKCS#11 2.40, mechanisms CKM_ECDSA
(section 2.3.6) and CKM_RSA_PKCS (2.1.6); RFC 3279 section 2.2.3 (a signature by ECDSA is a SEQUENCE of r and s, where
the token gives both as one string). Data is hashed here: a CRL of megabytes does not travel to the token. A key that
can be taken out of the token, or that asks for its PIN at each use, is refused rather than used.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asn1crypto import algos, keys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pki.algorithms import is_acceptable_key
from pki.keys import spki_of
from pki.signing.pkcs11_token import Session, Token, library, open_token
from pki.signing.signer import KINDS, SignerError, digest_of

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_KEY_ID_BYTES: Final = 20
_LABEL: Final = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Where a key is.

    Attributes:
        module: the vendor's library.
        token: label of the token.
        pin_file: first line is the PIN.
        label: of the key.
        id: of the key (CKA_ID), where the label alone does not tell; None for any.
    """

    module: Path
    token: str
    pin_file: Path
    label: str
    id: bytes | None = None


class TokenSigner:
    """Signs with a key in a token.

    Args:
        token: logged in when it is first used.
        label: of the key.
        key_id: CKA_ID; None for any.

    Raises:
        SignerError: the token cannot be used; no such key or several; not a key that may be used here.
    """

    def __init__(self, token: Token, label: str, key_id: bytes | None) -> None:
        self._token = token
        self._label = label
        self._key_id = key_id
        self._key: PublicKey = token.use(self._examine)
        self.public_key: bytes = spki_of(self._key)
        self._hash: hashes.HashAlgorithm = hashes.SHA256()
        if isinstance(self._key, ec.EllipticCurvePublicKey) and self._key.curve.name == "secp384r1":
            self._hash = hashes.SHA384()
        kind = "ecdsa" if isinstance(self._key, ec.EllipticCurvePublicKey) else "rsa"
        self.algorithm = f"{self._hash.name}_{kind}"

    def sign(self, *data: bytes) -> bytes:
        """The signature over `data`, its pieces one after another, checked before it is given.

        Raises:
            SignerError: the token cannot be used at this moment, or made a signature that does not verify.
        """
        mechanism = library().Mechanism
        digest, prehashed = digest_of(data, self._hash), Prehashed(self._hash)
        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                raw = self._token.use(lambda session: self._private(session).sign(digest, mechanism=mechanism.ECDSA))
                signature = bytes(algos.DSASignature.from_p1363(raw).dump())
                self._key.verify(signature, digest, ec.ECDSA(prehashed))
            else:
                info = {"digest_algorithm": {"algorithm": self._hash.name}, "digest": digest}
                block = algos.DigestInfo(info).dump()
                signature = self._token.use(
                    lambda session: self._private(session).sign(block, mechanism=mechanism.RSA_PKCS)
                )
                self._key.verify(signature, digest, padding.PKCS1v15(), prehashed)
        except (InvalidSignature, ValueError) as error:
            raise SignerError(f"{self._where}: the signature that was made does not verify") from error
        return signature

    @property
    def _where(self) -> str:
        return f"key {self._label!r} in {self._token.name}"

    def _private(self, session: Session) -> Any:  # noqa: ANN401  the library's objects
        kept = f"{self._label} {self._key_id!r}"
        if kept not in session.kept:
            session.kept[kept] = self._one(session, library().ObjectClass.PRIVATE_KEY)
        return session.kept[kept]

    def _one(self, session: Session, kind: Any) -> Any:  # noqa: ANN401
        attribute = library().Attribute
        wanted = {attribute.CLASS: kind, attribute.LABEL: self._label}
        if self._key_id is not None:
            wanted[attribute.ID] = self._key_id
        found = list(session.raw.get_objects(wanted))
        if len(found) != 1:
            what = kind.name.lower().replace("_", " ")
            raise SignerError(f"{self._where}: expected one {what} with this label and id, found {len(found)}")
        return found[0]

    def _examine(self, session: Session) -> PublicKey:
        attribute = library().Attribute
        private = self._private(session)
        if _says(private, attribute.EXTRACTABLE) is not False or _says(private, attribute.SENSITIVE) is not True:
            raise SignerError(f"{self._where}: it can be taken out of the token (CKA_EXTRACTABLE, CKA_SENSITIVE)")
        if _says(private, attribute.ALWAYS_AUTHENTICATE):
            raise SignerError(f"{self._where}: it asks for the PIN at each use (CKA_ALWAYS_AUTHENTICATE)")
        if _says(private, attribute.SIGN) is False:
            raise SignerError(f"{self._where}: it may not sign (CKA_SIGN)")
        key = _public_key(self._one(session, library().ObjectClass.PUBLIC_KEY))
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) or not is_acceptable_key(key):
            raise SignerError(f"{self._where}: expected ECDSA P-256 or P-384, or RSA of at least 3072 bits")
        return key


def open_token_key(where: TokenKey) -> TokenSigner:
    """A signer over a key that is in a token.

    Raises:
        SignerError: the token cannot be used; no such key or several; not a key that may be used here.
    """
    return TokenSigner(open_token(where.module, where.token, where.pin_file), where.label, where.id)


def make_token_key(where: TokenKey, kind: str) -> TokenSigner:
    """Make a key pair inside a token; it can never be taken out.

    Args:
        where: `id` is ignored; both halves get one that follows from the label.
        kind: `ec-p256`, `ec-p384`, `rsa-3072` or `rsa-4096`.

    Raises:
        SignerError: an unknown kind, a label that is taken, or the token cannot be used.
    """
    pkcs11 = library()
    attribute = pkcs11.Attribute
    if kind not in KINDS:
        raise SignerError(f"unknown kind of key; expected one of {', '.join(KINDS)}")
    if not _LABEL.fullmatch(where.label):
        raise SignerError("a label of a key has 1 to 64 printable characters without spaces")
    token = open_token(where.module, where.token, where.pin_file)
    key_id = hashlib.sha256(where.label.encode()).digest()[:_KEY_ID_BYTES]

    def make(session: Any) -> None:  # noqa: ANN401
        if list(session.get_objects({attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, attribute.LABEL: where.label})):
            raise SignerError(f"{token.name}: a key with the label {where.label!r} exists; a ceremony replaces nothing")
        options: dict[str, Any] = {
            "id": key_id,
            "label": where.label,
            "store": True,
            "capabilities": pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
            "private_template": {attribute.SENSITIVE: True, attribute.EXTRACTABLE: False, attribute.PRIVATE: True},
        }
        name = KINDS[kind]
        if isinstance(name, int):
            session.generate_keypair(pkcs11.KeyType.RSA, name, **options)
            return
        parameters = {attribute.EC_PARAMS: pkcs11.util.ec.encode_named_curve_parameters(name)}
        session.create_domain_parameters(pkcs11.KeyType.EC, parameters, local=True).generate_keypair(**options)

    token.change(make)
    return TokenSigner(token, where.label, key_id)


def _says(item: Any, attribute: Any) -> Any:  # noqa: ANN401
    """What an object says about itself; None when the token does not know the attribute."""
    try:
        return item[attribute]
    except library().AttributeTypeInvalid:
        return None


def _public_key(item: Any) -> object:  # noqa: ANN401
    pkcs11 = library()
    try:
        if item.key_type is pkcs11.KeyType.EC:
            return load_der_public_key(pkcs11.util.ec.encode_ec_public_key(item))
        if item.key_type is pkcs11.KeyType.RSA:
            return load_der_public_key(
                keys.PublicKeyInfo.wrap(pkcs11.util.rsa.encode_rsa_public_key(item), "rsa").dump()
            )
    except ValueError as error:
        raise SignerError("the token describes its public key in a way that cannot be read") from error
    return None
