"""The token endpoint where OCSP is needed: fetched ahead of time from the URL of the settings, never in a request."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from cryptography.x509 import ocsp

import tests.fakes.authorization_server as fake
from authz.domain.reasons import Reason
from tests.fakes.authorization_server import ZORGKANTOOR, AuthorizationServer, authorization_server
from tests.fakes.certificates import FakeAuthority, FakeCertificate
from tests.fakes.ocsp import FakeResponder


@pytest.fixture
async def place(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[AuthorizationServer, FakeResponder]]:
    responder = FakeResponder(FakeAuthority())
    plain = 'issuers = [{ certificate = "issuing.pem" }]'
    assert plain in fake.SETTINGS
    needed = plain.replace(" }]", f', ocsp_url = "{responder.url}", ocsp_required = true }}]')
    monkeypatch.setattr(fake, "SETTINGS", fake.SETTINGS.replace(plain, needed))
    try:
        async with authorization_server(tmp_path_factory.mktemp("ocsp")) as server:
            responder.ca = server.authority
            yield server, responder
    finally:
        responder.close()


async def outcome(server: AuthorizationServer, certificate: FakeCertificate) -> Reason | None:
    answer = await server.oauth(certificate)
    if answer.status_code == 200:
        return None
    reason = (await server.last_record()).reason
    assert reason is not None
    return Reason(reason)


async def settled(server: AuthorizationServer, certificate: FakeCertificate) -> Reason | None:
    async with asyncio.timeout(50):
        while (found := await outcome(server, certificate)) is Reason.OCSP_MISSING:  # noqa: ASYNC110  an answer
            await asyncio.sleep(0.02)
    return found


async def test_the_first_request_is_refused_and_a_later_one_is_not(
    place: tuple[AuthorizationServer, FakeResponder],
) -> None:
    server, responder = place
    responder.knows(server.zorgkantoor)
    assert await outcome(server, server.zorgkantoor) is Reason.OCSP_MISSING
    assert await settled(server, server.zorgkantoor) is None
    assert responder.asked == [server.zorgkantoor.certificate.serial_number]
    # The near miss: of a party that the CRL does not name either, but the responder does.
    revoked = server.authority.issue(ZORGKANTOOR)
    responder.knows(revoked, ocsp.OCSPCertStatus.REVOKED)
    assert await outcome(server, revoked) is Reason.OCSP_MISSING
    assert await settled(server, revoked) is Reason.CERTIFICATE_REVOKED
    kept = sorted(path.suffix for path in (server.settings.state_dir / "ocsp").iterdir())
    assert kept == [".ocsp", ".ocsp"]


async def test_a_responder_that_is_away_refuses_and_holds_nobody_up(
    place: tuple[AuthorizationServer, FakeResponder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pki.validation.ocsp_following._FIRST", 600.0)  # seconds, that no busy machine takes for this
    server, responder = place
    responder.trouble = 500
    for _ in range(3):
        assert await outcome(server, server.zorgkantoor) is Reason.OCSP_MISSING
    async with asyncio.timeout(50):
        while not responder.asked:  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.01)
    assert await outcome(server, server.zorgkantoor) is Reason.OCSP_MISSING
    # However often it calls, the responder is asked when it is time to.
    assert len(responder.asked) == 1
