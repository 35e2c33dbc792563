"""A client of EST: asks for certificates, and believes nothing that it did not check.

Specification: RFC 7030 sections 3.3, 4.1 and 4.2. The server is known by CA certificates that the participant got on
another way and gave to us; what comes back must be for our key, for our identity, and lead to one of those. Revocation
of the server's certificate is not looked at: there is no second source to ask before the first certificate.
"""

import base64
import binascii
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from authz.domain.errors import Refused, SluisError
from authz.domain.identifiers import Identifier
from pki.enrolment.est import REQUEST_TYPE, user_name
from pki.holder.exchange import Answer, NotAnswered, Server, exchange
from pki.holder.keyset import is_pair
from pki.names import identity_of
from pki.signing.signer import PrivateKey

MAX_SAID: Final = 1000
"""Characters of a refusal that are shown; a domain that is not secure comes with what to repair."""
MAX_PATH: Final = 5
_OK: Final = 200
_ACCEPTED: Final = 202
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class EstError(SluisError):
    """The certificate did not come.

    Attributes:
        reason: the server's reason code; empty when it gave none.
        retry_after: seconds after which it may be tried again, when the server said so.
        refused: the server understood and said no.
        lasting: and trying the same again is of no use.
    """

    def __init__(
        self,
        text: str,
        *,
        reason: str = "",
        retry_after: int | None = None,
        refused: bool = False,
        lasting: bool = False,
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.retry_after = retry_after
        self.refused = refused
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Obtained:
    """A checked certificate.

    Attributes:
        certificate: DER.
        issuers: DER of the CA certificates between it and the trusted one, nearest first.
    """

    certificate: bytes
    issuers: tuple[bytes, ...]


class EstClient:
    """Talks to one authority.

    Args:
        url: `https://host[:port]`.
        authorities: PEM of the CA certificates by which the server and every certificate must be known.
        server_name: the name in the server's certificate, when the URL holds another.

    Raises:
        EstError: the CA certificates cannot be used.
        Refused: PARAMETER_MALFORMED, the URL or the name cannot be.
    """

    def __init__(self, url: str, authorities: bytes, server_name: str | None = None) -> None:
        self._server = Server.parse(url, server_name)
        try:
            self._anchors = x509.load_pem_x509_certificates(authorities)
        except ValueError as error:
            raise EstError("--ca: expected CA certificates in PEM") from error
        self._authorities = authorities.decode("ascii", "replace")

    def enrol(self, identity: Identifier, code: str, key: PrivateKey) -> Obtained:
        """The first certificate, for a one-time code.

        Raises:
            EstError: it did not come, or is not what was asked.
        """
        context = self._context()
        answer = self._post(context, "simpleenroll", key, auth=(user_name(identity), code))
        return self._checked(context, answer, identity, key)

    def reenrol(self, identity: Identifier, current: Path, key: PrivateKey) -> Obtained:
        """The next certificate, by the current one.

        Args:
            identity: that it must be for.
            current: folder with `chain.pem` and `key.pem`.
            key: for the new one.

        Raises:
            EstError: it did not come, or is not what was asked.
        """
        context = self._context(current)
        return self._checked(context, self._post(context, "simplereenroll", key), identity, key)

    def accept(self, identity: Identifier, chain: bytes, key: PrivateKey) -> Obtained:
        """A certificate that an operator handed over because its answer got lost; checked like one that came by EST.

        Args:
            identity: that it must be for.
            chain: PEM, the certificate first.
            key: that it must be of.

        Raises:
            EstError: it is something else.
        """
        try:
            found = x509.load_pem_x509_certificates(chain)
        except ValueError as error:
            raise EstError("--certificate: expected certificates in PEM, yours first") from error
        return check(found[0], found[1:], self._anchors, identity, key)

    def _context(self, current: Path | None = None) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cadata=self._authorities)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if current is not None:
                context.load_cert_chain(current / "chain.pem", current / "key.pem")
        except (ssl.SSLError, OSError) as error:
            raise EstError("the CA certificates, or the current certificate and key, cannot be used for TLS") from error
        return context

    def _post(self, context: ssl.SSLContext, operation: str, key: PrivateKey, **options: Any) -> bytes:  # noqa: ANN401
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        body = base64.encodebytes(request.public_bytes(Encoding.DER))
        return self._ask(context, "POST", operation, content=body, headers={"content-type": REQUEST_TYPE}, **options)

    def _ask(self, context: ssl.SSLContext, method: str, operation: str, **options: Any) -> bytes:  # noqa: ANN401
        try:
            answer = exchange(self._server, context, method, f"/.well-known/est/{operation}", **options)
        except NotAnswered as error:
            raise EstError(str(error)) from error
        if answer.status == _OK:
            try:
                return base64.b64decode(b"".join(answer.content.split()), validate=True)
            except binascii.Error as error:
                raise EstError("the answer of the authority is not base64") from error
        raise _failure(answer)

    def _checked(self, context: ssl.SSLContext, answer: bytes, identity: Identifier, key: PrivateKey) -> Obtained:
        found = _certificates(answer)
        if len(found) != 1:
            raise EstError(f"expected one certificate from the authority, not {len(found)}")
        others = _certificates(self._ask(context, "GET", "cacerts"))
        return check(found[0], others, self._anchors, identity, key)


def check(
    certificate: x509.Certificate,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    identity: Identifier,
    key: PrivateKey,
) -> Obtained:
    """A certificate that may be installed: for our key, our identity, and from a CA that we trust.

    Args:
        certificate: that came.
        others: CA certificates that came along, untrusted.
        anchors: trusted ones.
        identity: ours.
        key: ours.

    Raises:
        EstError: it is something else.
    """
    if not is_pair(key, certificate):
        raise EstError("the certificate is for another key than ours; nothing was changed")
    path: list[x509.Certificate] = []
    current = certificate
    while not any(current == anchor for anchor in anchors):
        issuer = next((ca for ca in (*anchors, *others) if len(path) < MAX_PATH and _issued(current, ca)), None)
        if issuer is None:
            raise EstError("the certificate does not lead to one of the CA certificates in --ca; nothing was changed")
        path.append(issuer)
        current = issuer
    try:
        named = identity_of(certificate).identifier
    except Refused as error:
        raise EstError("the certificate does not say whose it is; nothing was changed") from error
    if named != identity:
        raise EstError("the certificate is for another identity than ours; nothing was changed")
    between = [ca for ca in path if ca.subject != ca.issuer]
    return Obtained(certificate.public_bytes(Encoding.DER), tuple(ca.public_bytes(Encoding.DER) for ca in between))


def _issued(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Whether `ca` is a CA, and signed the certificate: a participant's own certificate signs nothing."""
    try:
        certificate.verify_directly_issued_by(ca)
        extensions = ca.extensions
        is_ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        return is_ca and extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False


def _certificates(cms: bytes) -> list[x509.Certificate]:
    try:
        return pkcs7.load_der_pkcs7_certificates(cms)
    except ValueError as error:
        raise EstError("the answer of the authority is not a certs-only CMS message") from error


def _failure(answer: Answer) -> EstError:
    # Only what is printable, and not much of it: it ends up on a terminal and in a log.
    text = answer.content.decode("utf-8", "replace")[:MAX_SAID].strip()
    said = "".join(sign for sign in text if sign.isprintable())
    reason, _, words = said.partition(": ")
    is_code = _CODE.fullmatch(reason) is not None
    retry = answer.headers.get("retry-after", "")
    status = answer.status
    did = "asks to wait" if status == _ACCEPTED else "refused"
    return EstError(
        f"the authority {did} ({status}): {words if is_code else said}",
        reason=reason if is_code else "",
        retry_after=int(retry) if retry.isdecimal() and len(retry) < 7 else None,  # noqa: PLR2004  some eleven days
        refused=400 <= status < 500,  # noqa: PLR2004  it was understood
        lasting=400 <= status < 500 and status not in {408, 409, 429},  # noqa: PLR2004  client errors that stay
    )
