"""Certificates that the agent refuses, and what strangers cost who show one again and again."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from tests.fakes.certificates import NOW, FakeAuthority
from tests.fakes.datastation import AUDIENCE, ISSUER, SCOPE, TokenKey
from tests.fakes.trust import FakeTrust
from tests.unit.authz.edge.test_client_certificate import xfcc
from trust_agent.verify import MAX_STRANGERS, TokenRules, Verifier

CA = FakeAuthority()
MINE = CA.issue("uzovi:5000")
VALIDATOR = CA.validator()
CERTIFICATE = VALIDATOR.validate(MINE.der, MINE.chain_der, NOW)


def make(**options: Any) -> tuple[Verifier, FakeTrust]:
    trust = FakeTrust(VALIDATOR, TokenKey())
    return Verifier(trust, TokenRules(ISSUER, AUDIENCE, frozenset({SCOPE})), **options), trust


def _xfcc(certificate: Any) -> str:
    return xfcc(certificate, (certificate.pem, CA.issuing.pem))


def test_a_certificate_needs_both_verdicts_and_no_block() -> None:
    verifier, trust = make()
    header = _xfcc(MINE)
    assert verifier.certificate(header, "1", NOW).identity.subject == "uzovi:5000"
    for verdict in (None, "0", "true", ""):
        with pytest.raises(Refused, match="certificate_unverified_by_edge"):
            verifier.certificate(header, verdict, NOW)
    # A block on the other ECDSA spelling of the certificate is a block on it.
    for name in (CERTIFICATE.thumbprint, CERTIFICATE.twin):
        trust.credentials = {name}
        with pytest.raises(Refused, match="credential_revoked"):
            verifier.certificate(header, "1", NOW)


def test_a_remembered_certificate_expires_all_the_same() -> None:
    verifier, _ = make()
    header = _xfcc(MINE)
    verifier.certificate(header, "1", NOW)
    with pytest.raises(Refused) as caught:
        verifier.certificate(header, "1", NOW + timedelta(hours=2))
    assert caught.value.reason in {Reason.CRL_STALE, Reason.CERTIFICATE_EXPIRED}


class _CountingValidator:
    """The real validator, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def validate(self, leaf_der: bytes, chain_der: Sequence[bytes], at: Any) -> Any:
        self.asked += 1
        return VALIDATOR.validate(leaf_der, chain_der, at)


def _refused(verifier: Verifier, header: str, *, seconds: float = 0) -> Reason:
    with pytest.raises(Refused) as caught:
        verifier.certificate(header, None, NOW + timedelta(seconds=seconds))
    return caught.value.reason


def test_a_stranger_who_keeps_asking_costs_one_validation_a_second() -> None:
    verifier, trust = make()
    trust.validator = counting = _CountingValidator()  # type: ignore[assignment]
    rogue = FakeAuthority().rogue()
    stranger = rogue.issue("uzovi:5000")
    header = xfcc(stranger, (stranger.pem, rogue.issuing.pem))
    reasons = {_refused(verifier, header, seconds=moment / 100) for moment in range(100)}
    assert reasons == {Reason.CERTIFICATE_UNTRUSTED}
    assert counting.asked == 1
    _refused(verifier, header, seconds=1)
    assert counting.asked == 2
    # Somebody else is not refused with him, and a clock set back does not make a refusal last.
    assert verifier.certificate(_xfcc(MINE), "1", NOW).thumbprint == CERTIFICATE.thumbprint
    _refused(verifier, header, seconds=-10)
    assert counting.asked == 4


def test_strangers_push_nobody_out_and_are_not_kept() -> None:
    verifier, trust = make(max_certificates=2)
    header = _xfcc(MINE)
    verifier.certificate(header, "1", NOW)
    for number in range(5):
        stranger = FakeAuthority().issue(f"uzovi:500{number}")
        _refused(verifier, xfcc(stranger, (stranger.pem,)))
    assert (len(verifier._presented), verifier._presented.find(header) is not None) == (1, True)
    assert len(verifier._refused) == 2
    assert verifier.certificate(header, "1", NOW).thumbprint == CERTIFICATE.thumbprint
    assert trust.refetches == 0


def test_a_missing_crl_is_not_remembered_as_a_refusal() -> None:
    verifier, trust = make()
    trust.validator = CA.validator(CA.crl_store(CA.root_crl()))
    header = _xfcc(MINE)
    assert _refused(verifier, header) is Reason.CRL_MISSING
    trust.validator = VALIDATOR
    assert verifier.certificate(header, "1", NOW).thumbprint == CERTIFICATE.thumbprint


def test_many_strangers_cost_a_bounded_part_of_each_second() -> None:
    verifier, trust = make()
    trust.validator = counting = _CountingValidator()  # type: ignore[assignment]
    stranger = FakeAuthority().rogue().issue("uzovi:5000")
    # One stranger with ever other certificates sent along is as good as many.
    headers = [xfcc(stranger, (stranger.pem, *[CA.issuing.pem] * (n % 4))) for n in range(4)]
    reasons = []
    for number in range(3 * MAX_STRANGERS):
        verifier._refused.clear()
        reasons.append(_refused(verifier, headers[number % 4], seconds=number / 1000))
    assert reasons[MAX_STRANGERS - 1] is Reason.CERTIFICATE_UNTRUSTED
    assert set(reasons[MAX_STRANGERS:]) == {Reason.CERTIFICATE_UNVERIFIED_BY_EDGE}
    assert counting.asked == MAX_STRANGERS
    # Whom Envoy knows is not held up, and the next second the reason is told again.
    assert verifier.certificate(_xfcc(MINE), "1", NOW).thumbprint == CERTIFICATE.thumbprint
    assert _refused(verifier, headers[0], seconds=1) is Reason.CERTIFICATE_UNTRUSTED
