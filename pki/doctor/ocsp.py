"""The OCSP responder of the participant's own certificate: reachable from here, signed for the CA, fresh; what it says.

Asked at the URL that the participant's own certificate names, or that the operator named. Where a validating point
needs OCSP (`ocsp_required`), what fails here is what the participant's own requests fail on.
"""

import base64
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from authz.domain.errors import Refused
from pki.dnssec.handshake import NotReached
from pki.doctor.model import Finding, Installation, Result
from pki.doctor.revocation import fetch, spoken
from pki.validation.ocsp_source import question_about
from pki.validation.ocsp_store import OcspStore, VerifiedAnswer
from pki.validation.validator import MAX_CRL_AGE

_MAX_ERROR: Final = 5
"""Octets of an answer that only says why there is none."""


async def check_ocsp(installation: Installation, chain: Sequence[x509.Certificate]) -> list[Finding]:
    """Ask about the leaf of the chain, verify the answer, and say what it says."""
    if len(chain) < 2:  # noqa: PLR2004  said by the check of the chain
        return []
    leaf, issuer = chain[0], chain[1]
    url = installation.ocsp_url or _named(leaf)
    if url is None:
        return [Finding("ocsp", Result.SKIP, "the certificate names no OCSP responder", essential=False)]
    try:
        content = await _ask(installation, url, issuer, leaf.serial_number)
    except NotReached as error:
        to_do = "Places that need OCSP refuse you while it is away: ask the vertrouwensleverancier whether it is up."
        return [Finding("ocsp.reachable", Result.WARN, str(error), to_do, essential=False)]
    reached = Finding("ocsp.reachable", Result.OK, url, essential=False)
    try:
        answer = OcspStore([issuer.public_bytes(Encoding.DER)]).verify(content)
        problem = "it answers about another certificate" if answer.serial_number != leaf.serial_number else ""
    except Refused as refused:
        problem = refused.detail
    if problem:
        to_do = "Who answers at that URL? Ask the vertrouwensleverancier."
        return [reached, Finding("ocsp.signed", Result.FAIL, problem, to_do)]
    return [reached, *_judge(installation, answer)]


def _judge(installation: Installation, answer: VerifiedAnswer) -> list[Finding]:
    age = installation.at - answer.this_update
    said = f"made {spoken(age)} ago, counts until {answer.next_update:%Y-%m-%d %H:%M} UTC"
    if installation.at <= min(answer.next_update, answer.this_update + MAX_CRL_AGE):
        fresh = Finding("ocsp.fresh", Result.OK, said, essential=False)
    else:
        to_do = "The responder gives old answers: tell the vertrouwensleverancier."
        fresh = Finding("ocsp.fresh", Result.WARN, said, to_do, essential=False)
    if answer.revoked:
        to_do = "Nobody accepts it any more: enrol anew with a new key, or ask why it is on hold."
        said = "the certificate is revoked, on hold, or not known to the responder"
        return [fresh, Finding("ocsp.revoked", Result.FAIL, said, to_do)]
    return [fresh, Finding("ocsp.revoked", Result.OK, "good")]


async def _ask(installation: Installation, url: str, issuer: x509.Certificate, serial_number: int) -> bytes:
    content = b""
    for digest in (hashes.SHA256(), hashes.SHA1()):  # noqa: S303  for responders that know no other
        asked = base64.b64encode(question_about(issuer, serial_number, digest)).decode("ascii")
        content = await fetch(installation, f"{url.rstrip('/')}/{quote(asked, safe='')}")
        if len(content) != _MAX_ERROR:
            return content
    raise NotReached(f"{url}: answers that it has no answer (status {content[-1]})")


def _named(leaf: x509.Certificate) -> str | None:
    try:
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return None
    for item in access:
        if item.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
            item.access_location, x509.UniformResourceIdentifier
        ):
            return item.access_location.value
    return None
