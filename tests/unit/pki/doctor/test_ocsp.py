"""The doctor asks the OCSP responder about the participant's own certificate, over real HTTP."""

import base64
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from authz.edge.pages import PageServer
from pki.doctor.model import Finding, Installation, Result, passed
from pki.doctor.ocsp import check_ocsp
from pki.validation.ocsp_source import question_about
from tests.fakes.certificates import FakeAuthority, FakeCertificate, Odd
from tests.fakes.ocsp import answer

SHA1, SHA256 = hashes.SHA1(), hashes.SHA256()  # noqa: S303  what some responders know only
Said = Callable[[FakeAuthority, FakeCertificate], bytes]


async def looked(ca: FakeAuthority, leaf: FakeCertificate, said: bytes, digest: hashes.HashAlgorithm) -> list[Finding]:
    async def page() -> tuple[int, str, bytes]:
        return 200, "application/ocsp-response", said

    async def not_understood() -> tuple[int, str, bytes]:
        return 200, "application/ocsp-response", b"\x30\x03\x0a\x01\x06"

    def path(kind: hashes.HashAlgorithm) -> str:
        asked = question_about(ca.issuing.certificate, leaf.certificate.serial_number, kind)
        return f"/ocsp/{quote(base64.b64encode(asked).decode(), safe='')}"

    pages = {path(SHA256): page} if digest is SHA256 else {path(SHA256): not_understood, path(SHA1): page}
    async with PageServer(pages, ("127.0.0.1", 0)) as server:
        installation = Installation(
            certificate=Path("chain.pem"), at=ca.now, ocsp_url=f"http://127.0.0.1:{server.port}/ocsp"
        )
        return await check_ocsp(installation, [leaf.certificate, ca.issuing.certificate])


def short(findings: list[Finding]) -> dict[str, Result]:
    return {finding.check.removeprefix("ocsp."): finding.result for finding in findings}


@pytest.mark.parametrize("digest", [SHA1, SHA256])
async def test_a_good_answer_passes(digest: hashes.HashAlgorithm) -> None:
    ca = FakeAuthority()
    leaf = ca.issue()
    found = await looked(ca, leaf, answer(ca, leaf, digest=digest), digest)
    assert short(found) == {"reachable": Result.OK, "fresh": Result.OK, "revoked": Result.OK}
    assert passed(found)


REVOKED: dict[str, Result] = {"reachable": Result.OK, "fresh": Result.OK, "revoked": Result.FAIL}
OLD: dict[str, Result] = {"reachable": Result.OK, "fresh": Result.WARN, "revoked": Result.OK}
WRONG: dict[str, Result] = {"reachable": Result.OK, "signed": Result.FAIL}
SAID: dict[str, tuple[Said, dict[str, Result]]] = {
    "revoked": (lambda ca, leaf: answer(ca, leaf, ocsp.OCSPCertStatus.REVOKED), REVOKED),
    "unknown": (lambda ca, leaf: answer(ca, leaf, ocsp.OCSPCertStatus.UNKNOWN), REVOKED),
    "old": (lambda ca, leaf: answer(ca, leaf, at=ca.now - timedelta(minutes=61)), OLD),
    "of another CA": (lambda ca, leaf: answer(ca.rogue(), leaf), WRONG),
    "about another certificate": (lambda ca, _leaf: answer(ca, ca.issue()), WRONG),
    "garbage": (lambda _ca, _leaf: b"<html>", WRONG),
    "unauthorized": (lambda _ca, _leaf: b"\x30\x03\x0a\x01\x06", {"reachable": Result.WARN}),
}


@pytest.mark.parametrize("what", SAID)
async def test_what_is_wrong_with_an_answer_is_told_apart(what: str) -> None:
    ca = FakeAuthority()
    leaf = ca.issue()
    said, expected = SAID[what]
    found = await looked(ca, leaf, said(ca, leaf), SHA256 if what != "unauthorized" else SHA1)
    assert short(found) == expected
    for finding in found:
        assert bool(finding.to_do) == (finding.result is not Result.OK)


async def test_the_certificate_says_where_unless_the_operator_does() -> None:
    ca = FakeAuthority()
    where = x509.UniformResourceIdentifier("http://127.0.0.1:1/ocsp")
    access = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where)])
    named, silent = ca.issue(odd=Odd([(access, False)])), ca.issue()
    installation = Installation(certificate=Path("chain.pem"), at=ca.now)
    (found,) = await check_ocsp(installation, [named.certificate, ca.issuing.certificate])
    assert (found.check, found.result, found.essential) == ("ocsp.reachable", Result.WARN, False)
    assert "127.0.0.1:1" in found.detail
    (found,) = await check_ocsp(installation, [silent.certificate, ca.issuing.certificate])
    assert (found.check, found.result) == ("ocsp", Result.SKIP)
    assert await check_ocsp(installation, [named.certificate]) == []
