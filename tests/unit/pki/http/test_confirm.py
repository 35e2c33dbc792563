"""Confirming the use of a renewed certificate, as Envoy hands it over: what it ends, and how often it may be asked."""

import hashlib
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.identifiers import Identifier
from authz.edge.client_certificate import EDGE_VERIFIED_HEADER, LISTENER_HEADER, XFCC_HEADER
from pki.app import OpenAuthority
from pki.audit.records import operator
from pki.authority import Issued
from pki.holder.confirming import CONFIRM_USE
from pki.http.application import create_application
from pki.http.confirm import CONFIRMATIONS_PER_MINUTE, confirm_handler
from pki.http.peers import Peers
from pki.http.published import Published
from pki.issuing import Holder
from tests.fakes.certificate_racer import new_request

pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)
WHO = Identifier.parse_subject("uzovi:5000")
OTHER = Identifier.parse_subject("uzovi:6000")
ANNA = operator("anna")


@pytest.fixture
async def client(pki: OpenAuthority) -> AsyncIterator[httpx.AsyncClient]:
    await pki.withdrawal.sweep()
    published = Published(pki)
    await published.load()
    application = create_application(published, further=[confirm_handler(pki, Peers(pki, published))])
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="https://pki.test") as found:
        yield found
    published.close()


async def issue(pki: OpenAuthority, who: Identifier = WHO) -> Issued:
    return await pki.issue(Holder(who, "Zorgkantoor Test", "12345678"), new_request(), ANNA)


async def confirm(client: httpx.AsyncClient, issued: Issued, *, listener: str = "tls") -> httpx.Response:
    """With this certificate in TLS, as Envoy says it."""
    pem = [
        quote(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode(), safe="")
        for der in (issued.certificate, issued.issuer)
    ]
    digest = hashlib.sha256(issued.certificate).hexdigest()
    xfcc = f'Hash={digest};Cert="{pem[0]}";Chain="{pem[0]}{pem[1]}"'
    headers = {XFCC_HEADER: xfcc, EDGE_VERIFIED_HEADER: "1", LISTENER_HEADER: listener}
    return await client.post(CONFIRM_USE, headers=headers)


async def test_the_holder_of_the_new_certificate_ends_the_old_one_and_nothing_else(
    client: httpx.AsyncClient, pki: OpenAuthority
) -> None:
    first, other = await issue(pki), await issue(pki, OTHER)
    await pki.renew(OTHER, new_request(), ANNA)
    second = await pki.renew(WHO, new_request(), ANNA)
    assert (await confirm(client, second, listener="plain")).status_code == 404
    for nothing_to_end in (first, other):
        answer = await confirm(client, nothing_to_end)
        assert (answer.status_code, answer.json()) == (200, {"ended": False})
    answer = await confirm(client, second)
    assert (answer.status_code, answer.json()) == (200, {"ended": True})
    assert (await confirm(client, second)).json() == {"ended": False}
    assert [item.status for item in await pki.find()] == ["revoked", "superseding", "active", "active"]


async def test_confirmations_of_one_party_are_limited_whatever_certificate_it_shows(
    client: httpx.AsyncClient, pki: OpenAuthority
) -> None:
    first, other = await issue(pki), await issue(pki, OTHER)
    second = await pki.renew(WHO, new_request(), ANNA)
    for _ in range(CONFIRMATIONS_PER_MINUTE):
        assert (await confirm(client, first)).json() == {"ended": False}
    limited = await confirm(client, second)
    assert (limited.status_code, limited.json()["error"]) == (429, "rate_limited")
    assert 0 < int(limited.headers["retry-after"]) <= 7
    assert (await confirm(client, other)).status_code == 200
