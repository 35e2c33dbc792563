"""Refusals of the client certificate at the token endpoint: shared `cases/oauth.md` 17-32.

What makes a certificate bad is `pki.validation.validator`'s own subject; here every bad one gets the prescribed answer
on both faces, its own reason in the record, and no token.
"""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from cryptography.x509.oid import ExtendedKeyUsageOID

from authz.domain.audit import Outcome
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.edge.restraint import Restraint
from authz.http.headers import Headers
from authz.tokens.revocation import RevocationKind
from tests.fakes.authorization_server import (
    AUDIENCE,
    IWLZ_PATH,
    OAUTH_PATH,
    SCOPE,
    ZORGKANTOOR,
    AuthorizationServer,
    authorization_server,
    publish_crls,
    xfcc,
)
from tests.fakes.certificates import FakeAuthority, FakeCertificate

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON_BODY = {"grant_type": "client_credentials", "scope": SCOPE, "audience": AUDIENCE}


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AuthorizationServer]:
    """A server of its own, for tests that change its state."""
    async with authorization_server(tmp_path_factory.mktemp("fresh")) as server:
        yield server


async def refused(
    authz: AuthorizationServer, certificate: FakeCertificate, reason: Reason, *, verified: bool = True
) -> None:
    answer = await authz.iwlz(certificate, verified=verified)
    assert (answer.status_code, answer.text) == (403, "Invalid Client Certificate")
    answer = await authz.oauth(certificate, verified=verified)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    record = await authz.last_record()
    assert (record.outcome, record.reason) == (Outcome.REFUSED, reason)
    assert record.users[0].id == "unknown"
    assert record.users[0].access_point == "192.0.2.7"


async def test_a_good_certificate_passes_and_is_bound_to_the_token(authz: AuthorizationServer) -> None:
    assert (await authz.iwlz()).status_code == 200
    assert (await authz.last_record()).users[0].id == ZORGKANTOOR


async def test_17_no_certificate(authz: AuthorizationServer) -> None:
    for headers in ({}, {"x-forwarded-client-cert": ""}, {"client-cert": ":MIIB:"}, {"x-client-cert": "x"}):
        answer = await authz.client.post(IWLZ_PATH, json=JSON_BODY, headers=headers)
        assert (answer.status_code, answer.text) == (403, "Invalid Client Certificate")
        assert (await authz.last_record()).reason == Reason.CERTIFICATE_MISSING


async def test_17_nothing_is_parsed_for_somebody_without_certificate(authz: AuthorizationServer) -> None:
    answer = await authz.client.post(OAUTH_PATH, content=b"\x00" * 100_000)
    assert answer.status_code == 401
    assert (await authz.last_record()).reason == Reason.CERTIFICATE_MISSING


async def test_18_expired_and_not_yet_valid(authz: AuthorizationServer) -> None:
    await refused(authz, authz.authority.expired(), Reason.CERTIFICATE_EXPIRED)
    await refused(authz, authz.authority.not_yet_valid(), Reason.CERTIFICATE_NOT_YET_VALID)
    last_second = authz.authority.issue(not_after=authz.clock.now() + timedelta(seconds=1))
    assert (await authz.oauth(last_second)).status_code == 200


async def test_19_an_unknown_ca(authz: AuthorizationServer) -> None:
    await refused(authz, FakeAuthority(label="another").issue(ZORGKANTOOR), Reason.CERTIFICATE_UNTRUSTED)


async def test_20_a_rogue_ca_with_the_same_names(authz: AuthorizationServer) -> None:
    rogue = authz.authority.rogue().issue(ZORGKANTOOR)
    assert rogue.certificate.issuer == authz.zorgkantoor.certificate.issuer
    await refused(authz, rogue, Reason.CERTIFICATE_UNTRUSTED)


async def test_20_another_ca_under_our_root(authz: AuthorizationServer) -> None:
    sibling = authz.authority.make_ca("Sluis test issuing TST", authz.authority.root, path_length=0)
    await refused(authz, authz.authority.issue(ZORGKANTOOR, issuer=sibling), Reason.CERTIFICATE_ISSUER_UNPINNED)


async def test_21_no_client_auth(authz: AuthorizationServer) -> None:
    for eku in (None, [ExtendedKeyUsageOID.SERVER_AUTH], [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]):
        await refused(authz, authz.authority.issue(ZORGKANTOOR, eku=eku), Reason.CERTIFICATE_USAGE)
    assert (await authz.oauth(authz.authority.issue(eku=[ExtendedKeyUsageOID.CLIENT_AUTH]))).status_code == 200


async def test_22_a_ca_certificate_as_leaf(authz: AuthorizationServer) -> None:
    await refused(authz, authz.authority.ca_as_leaf(), Reason.CERTIFICATE_IS_CA)


async def test_23_revoked(fresh: AuthorizationServer) -> None:
    assert (await fresh.oauth()).status_code == 200
    fresh.authority.revoke(fresh.zorgkantoor)
    publish_crls(fresh.settings.state_dir.parent, fresh.authority, number=2**40)
    fresh.server.mirror.load()
    await refused(fresh, fresh.zorgkantoor, Reason.CERTIFICATE_REVOKED)
    assert (await fresh.oauth(fresh.authority.issue(ZORGKANTOOR))).status_code == 200


async def test_23_a_stale_crl(fresh: AuthorizationServer) -> None:
    await fresh.later(minutes=60)
    assert (await fresh.oauth()).status_code == 200
    await fresh.later(seconds=1)
    await refused(fresh, fresh.zorgkantoor, Reason.CRL_STALE)
    assert (await fresh.client.get("/health")).json()["problems"] == ["crl_stale"]


async def test_23_no_crl(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fakes.authorization_server.publish_crls", lambda *_: None)
    async with authorization_server(tmp_path_factory.mktemp("no-crl")) as server:
        await refused(server, server.zorgkantoor, Reason.CRL_MISSING)
        health = await server.client.get("/health")
        assert (health.status_code, health.json()["problems"]) == (503, ["crl_missing"])


async def test_24_25_an_identity_elsewhere_than_in_our_name(authz: AuthorizationServer) -> None:
    await refused(authz, authz.authority.issue(None, organization=ZORGKANTOOR), Reason.CERTIFICATE_IDENTITY)
    await refused(authz, authz.authority.issue(None, dns=("uzovi-5000.test",)), Reason.CERTIFICATE_IDENTITY)


async def test_26_somebody_elses_client_id(authz: AuthorizationServer) -> None:
    for client_id in ("agbcode:01234567", "UZOVI:5000", "5000", "kvk:12345678", "uzovi:5000 "):
        answer = await authz.oauth(client_id=client_id)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        record = await authz.last_record()
        assert (record.reason, record.users[0].id) == (Reason.CLIENT_ID_MISMATCH, ZORGKANTOOR)
    assert (await authz.oauth(client_id=ZORGKANTOOR)).status_code == 200


async def test_27_no_client_id_on_the_form_face(authz: AuthorizationServer) -> None:
    for client_id in (None, ""):
        answer = await authz.oauth(client_id=client_id)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert (await authz.last_record()).reason == Reason.CLIENT_ID_MISSING


@pytest.mark.parametrize("secret", ["client_secret", "client_assertion", "client_assertion_type"])
async def test_28_certificate_and_secret_together(authz: AuthorizationServer, secret: str) -> None:
    answer = await authz.oauth(None, **{secret: "x"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert (await authz.last_record()).reason == Reason.CLIENT_SECRET_PRESENT


async def test_28_certificate_and_authorization_header_together(authz: AuthorizationServer) -> None:
    for answer in (
        await authz.oauth(headers={"authorization": "Basic dTpw"}),
        await authz.iwlz(headers={"authorization": "Bearer x"}),
    ):
        assert answer.status_code == 400
    assert (await authz.last_record()).reason == Reason.CLIENT_SECRET_PRESENT


async def test_29_self_signed_with_the_same_subject(authz: AuthorizationServer) -> None:
    await refused(authz, authz.authority.self_signed(authz.zorgkantoor), Reason.CERTIFICATE_UNTRUSTED)


async def test_30_both_certificates_of_a_renewal_work(authz: AuthorizationServer) -> None:
    same_key = authz.authority.issue(ZORGKANTOOR, key=authz.zorgkantoor.key)
    new_key = authz.authority.issue(ZORGKANTOOR)
    for certificate in (authz.zorgkantoor, same_key, new_key):
        assert (await authz.oauth(certificate)).status_code == 200


async def test_31_a_certificate_that_the_edge_did_not_verify(authz: AuthorizationServer) -> None:
    await refused(authz, authz.zorgkantoor, Reason.CERTIFICATE_UNVERIFIED_BY_EDGE, verified=False)
    answer = await authz.oauth(verified=False, headers={"x-sluis-peer-verified": "true"})
    assert answer.status_code == 401


async def test_32_a_production_certificate_on_test(authz: AuthorizationServer) -> None:
    production = authz.authority.issue(ZORGKANTOOR, environment="PRD")
    await refused(authz, production, Reason.CERTIFICATE_ENVIRONMENT)


async def test_33_34_the_hand_over_twice(authz: AuthorizationServer) -> None:
    once = xfcc(authz.zorgkantoor)
    for name, value in (
        ("x-forwarded-client-cert", once),
        ("X-Forwarded-Client-Cert", once),
        ("x-sluis-peer-verified", "1"),
    ):
        headers = [("x-forwarded-client-cert", once), ("x-sluis-peer-verified", "1"), (name, value)]
        answer = await authz.client.post(IWLZ_PATH, json=JSON_BODY, headers=headers)
        assert answer.status_code == 400
        assert (await authz.last_record()).reason == Reason.HEADER_FORBIDDEN


async def test_36_two_elements_or_an_injected_one(authz: AuthorizationServer) -> None:
    good, other = xfcc(authz.zorgkantoor), xfcc(authz.authority.issue("agbcode:01234567"))
    leaf = re.search(r'Cert="([^"]+)"', other)
    assert leaf is not None
    for header in (f"{good},{other}", f'{good};Cert="{leaf[1]}"', good.replace("Hash=", "By=x;Hash=")):
        edge = {"x-forwarded-client-cert": header, "x-sluis-peer-verified": "1"}
        answer = await authz.client.post(IWLZ_PATH, json=JSON_BODY, headers=edge)
        assert (answer.status_code, answer.text) == (403, "Invalid Client Certificate")
        assert (await authz.last_record()).reason == Reason.CERTIFICATE_MALFORMED


async def test_an_identity_that_does_not_take_part(authz: AuthorizationServer) -> None:
    await refused(authz, authz.authority.issue("uzovi:5999"), Reason.CREDENTIAL_UNKNOWN)
    await refused(authz, authz.authority.issue("kvk:12345678"), Reason.CREDENTIAL_UNKNOWN)


async def test_a_blocked_credential(authz: AuthorizationServer) -> None:
    blocked = authz.authority.issue("uzovi:5002")
    assert (await authz.iwlz(blocked)).status_code == 403
    assert (await authz.last_record()).reason == Reason.CREDENTIAL_BLOCKED
    assert (await authz.oauth(blocked, client_id="uzovi:5002")).json()["error"] == "invalid_client"


async def test_40_an_address_that_is_not_on_the_list(authz: AuthorizationServer) -> None:
    listed = authz.authority.issue("uzovi:5001")
    assert (await authz.iwlz(listed, address="192.0.2.255:1")).status_code == 200
    for address in ("192.0.3.0:1", "[2001:db8::1]:1", "", "192.0.2.7", "x"):
        answer = await authz.iwlz(listed, address=address, headers={"x-forwarded-for": "192.0.2.7"})
        assert answer.status_code == 403
        assert (await authz.last_record()).reason == Reason.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize("endpoint", ["token", "around it", "another method"])
async def test_each_refusal_of_a_blocked_deelnemer_is_recorded_with_its_name(
    fresh: AuthorizationServer, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setattr(fresh.server.refusals, "_restraint", Restraint(2, 2))
    blocked, rogue = fresh.authority.issue("uzovi:5002"), fresh.authority.rogue().issue("uzovi:5002")

    async def refuse(certificate: FakeCertificate, *, verified: bool) -> list[str]:
        before = len(await fresh.records())
        for _ in range(5):
            if endpoint == "token":
                answer = await fresh.iwlz(certificate, verified=verified)
            elif endpoint == "around it":
                answer = await fresh.send("GET", "/revocations", certificate, verified=verified)
            else:
                answer = await fresh.send("POST", "/revocations", certificate, verified=verified)
            assert answer.status_code in {403, 405}
        return [record.users[0].id for record in (await fresh.records())[before:]]

    # The near misses: a deelnemer whom the edge did not verify, and who only says to be one.
    assert await refuse(blocked, verified=False) == ["unknown"] * 2
    assert await refuse(rogue, verified=True) == []
    assert await refuse(blocked, verified=True) == ["uzovi:5002"] * 5


@pytest.mark.parametrize("verified", [True, False])
async def test_each_refusal_while_our_lists_are_stale_is_recorded_for_whom_the_edge_verified(
    fresh: AuthorizationServer, monkeypatch: pytest.MonkeyPatch, *, verified: bool
) -> None:
    monkeypatch.setattr(fresh.server.refusals, "_restraint", Restraint(2, 2))

    def stale(*_: object) -> None:
        raise Refused(Reason.CRL_STALE, "too old")

    monkeypatch.setattr("pki.validation.validator.CertificateValidator.validate", stale)
    before = len(await fresh.records())
    for _ in range(5):
        assert (await fresh.iwlz(verified=verified)).status_code == 403
    records = (await fresh.records())[before:]
    assert [record.reason for record in records] == [Reason.CRL_STALE] * (5 if verified else 2)


@pytest.mark.parametrize(
    ("twice", "own"), [("prefer", True), ("x-sluis-peer-verified", False), ("x-forwarded-client-cert", True)]
)
async def test_the_verdict_of_the_edge_counts_when_it_is_there_once(twice: str, *, own: bool) -> None:
    names = ["x-sluis-peer-verified", twice, twice, "authorization", "authorization"]
    headers = Headers([(name.encode(), b"1") for name in names])
    assert headers.verified_by_edge is own
    with pytest.raises(Refused, match="header_forbidden"):
        headers.connection()


async def test_a_credential_revoked_by_thumbprint(fresh: AuthorizationServer) -> None:
    other = fresh.authority.issue(ZORGKANTOOR)
    claims = await fresh.token_claims()
    await fresh.operations.revoke(RevocationKind.CREDENTIAL, claims["cnf"]["x5t#S256"])
    assert (await fresh.oauth()).status_code == 200
    await fresh.changed()
    answer = await fresh.oauth()
    assert answer.json()["error"] == "invalid_client"
    assert (await fresh.last_record()).reason == Reason.CREDENTIAL_REVOKED
    assert (await fresh.oauth(other)).status_code == 200
