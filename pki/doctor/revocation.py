"""The CRLs of the participant's own certificates: reachable from here, signed by the CA, fresh, and what they say.

Fetched from the URLs in the participant's own certificates (or those that the operator named), over plain HTTP as RFC
5280 wants it: a CRL is signed by itself. No redirect is followed and the size is capped.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.edge.http_client import http_client
from pki.dnssec.handshake import TIMEOUT, NotReached
from pki.doctor.model import Finding, Installation, Result
from pki.doctor.presented import address_of, chain_of, is_host
from pki.keys import spki_sha256
from pki.validation.crl_store import CrlStore, Listing, distribution_points
from pki.validation.validator import MAX_AUTHORITY_CRL_AGE, MAX_CRL_AGE

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_URLS: Final = 8
FETCH_TIME: Final = 60.0
"""Seconds for one CRL or answer, whole: who sends a byte now and then is not waited for."""
_HTTP: Final = 80


async def check_crls(installation: Installation, chain: Sequence[x509.Certificate]) -> list[Finding]:
    """Fetch the CRL of each certificate of the chain, verify it, and look the certificate up."""
    roots = []
    if installation.anchors is not None:
        try:
            roots = [x509.load_der_x509_certificate(der) for der in chain_of(installation.anchors)]
        except (NotReached, ValueError, OSError):
            roots = []  # said by the check of the chain
    issuers = [*chain[1:], *(root for root in roots if root not in chain)]
    store = CrlStore([issuer.public_bytes(Encoding.DER) for issuer in issuers])
    found: list[Finding] = []
    for number, certificate in enumerate(chain):
        if certificate in roots or certificate.subject == certificate.issuer:
            continue
        name = "crl.own" if number == 0 else "crl.authority"
        urls = installation.crl_urls or tuple(sorted(distribution_points(certificate)))
        if not urls:
            to_do = "Name where it is with --crl." if number == 0 else ""
            found.append(
                Finding(f"{name}.reachable", Result.WARN, "the certificate names no CRL", to_do, essential=False)
            )
            continue
        problem = await _fetch_all(installation, urls, store)
        if problem is not None:
            found.append(Finding(f"{name}.reachable", Result.FAIL, *problem))
            continue
        found.append(Finding(f"{name}.reachable", Result.OK, ", ".join(urls[:MAX_URLS])))
        found += _judge(installation, certificate, issuers, store, name)
    return found


async def _fetch_all(installation: Installation, urls: Sequence[str], store: CrlStore) -> tuple[str, str] | None:
    """What is the matter and what to do; None when every URL gave a CRL that verifies."""
    for url in urls[:MAX_URLS]:
        to_do = "Let this machine reach it over HTTP, or ask the vertrouwensleverancier whether it is up."
        try:
            content = await fetch(installation, url)
            store.put(content)
        except NotReached as error:
            return str(error), to_do
        except Refused as refused:
            if refused.reason is not Reason.CRL_INVALID:
                raise
            to_do = "Who answers at that URL? Name the network's root with --ca if its CRL is among them."
            return f"{url}: {refused.detail}", to_do
    return None


async def fetch(installation: Installation, url: str) -> bytes:
    """GET one URL through the participant's own resolver.

    Raises:
        NotReached: not http, no answer, another status than 200, or too large.
    """
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port or _HTTP
    except ValueError as error:
        raise NotReached(f"{url}: expected an http URL") from error
    if parts.scheme != "http" or not is_host(name):
        raise NotReached(f"{url}: expected an http URL")
    address, port = await address_of(name, port, None, installation.validator, installation.at)
    host = f"[{address}]" if ":" in address else address
    target = parts._replace(netloc=f"{host}:{port}").geturl()
    content = bytearray()
    try:
        async with (
            asyncio.timeout(FETCH_TIME),
            http_client(timeout=TIMEOUT) as client,
            client.stream("GET", target, headers={"host": parts.netloc}) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise NotReached(f"{url}: answers {answer.status_code}")
            async for chunk in answer.aiter_raw():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise NotReached(f"{url}: more than {MAX_BYTES} bytes")
    except TimeoutError as error:
        raise NotReached(f"{url}: no whole answer within {FETCH_TIME:.0f} seconds") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NotReached(f"{url}: no answer ({type(error).__name__})") from error
    return bytes(content)


def _judge(
    installation: Installation,
    certificate: x509.Certificate,
    issuers: Sequence[x509.Certificate],
    store: CrlStore,
    name: str,
) -> list[Finding]:
    own = name == "crl.own"
    issuer = next((item for item in issuers if item.subject == certificate.issuer), None)
    listing: Listing | None = None
    if issuer is not None:
        listing = store.covering(certificate, spki_sha256(issuer), is_ca=not own)
    if listing is None:
        said = "no CRL here speaks about this certificate"
        return [Finding(f"{name}.fresh", Result.FAIL, said, "Name the right URL with --crl, and the root with --ca.")]
    crl = listing.newest
    age = installation.at - crl.this_update
    limit = MAX_CRL_AGE if own else MAX_AUTHORITY_CRL_AGE
    said = f"made {spoken(age)} ago, next by {crl.next_update:%Y-%m-%d %H:%M} UTC"
    if installation.at > min(crl.next_update, crl.this_update + limit):
        to_do = "The certificate authority does not publish: tell the vertrouwensleverancier."
        fresh = Finding(f"{name}.fresh", Result.FAIL, said, to_do)
    else:
        fresh = Finding(f"{name}.fresh", Result.OK, said)
    if listing.lists(certificate.serial_number):
        to_do = "Nobody accepts it any more: enrol anew with a new key."
        return [fresh, Finding(f"{name}.revoked", Result.FAIL, _why(listing, certificate.serial_number), to_do)]
    return [fresh, Finding(f"{name}.revoked", Result.OK, "not revoked")]


def _why(listing: Listing, serial_number: int) -> str:
    """What the lists say of a certificate that they list: since when, and for which reason."""
    entries = (crl.entry(serial_number) for crl in (listing.delta, listing.complete) if crl is not None)
    entry = next((entry for entry in entries if entry is not None), None)
    if entry is None:
        return "the certificate is revoked or on hold"
    what = "on hold" if entry.reason == "certificateHold" else "revoked"
    why = f"reason {entry.reason}" if entry.reason else "without a reason"
    return f"the certificate is {what} since {entry.since:%Y-%m-%d %H:%M} UTC, {why}"


def spoken(age: timedelta) -> str:
    """A span of time for people."""
    seconds = max(0, int(age.total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"  # noqa: PLR2004  units
