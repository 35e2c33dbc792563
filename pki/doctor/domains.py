"""DNSSEC and DANE of the participant's names."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import Refused
from pki.dnssec.advice import advise, warnings
from pki.dnssec.dane import DaneOutcome, check_dane, tlsa_for
from pki.dnssec.model import Standing
from pki.doctor.model import Endpoint, Finding, Installation, Result
from pki.names import dns_names_of

MAX_NAMES = 25


async def check_domains(installation: Installation, chain: Sequence[x509.Certificate]) -> list[Finding]:
    """The standing of the endpoint's host and of every name in the certificate."""
    names = [installation.endpoint.host] if installation.endpoint else []
    if chain:
        try:
            names += dns_names_of(chain[0])
        except Refused:
            names += []  # said by the check of the identity
    if installation.validator is None:
        return [Finding("dnssec", Result.SKIP, "no resolver was named", "Name one with --resolver.")]
    wanted = [name for name in dict.fromkeys(names) if "." in name][:MAX_NAMES]
    if not wanted:
        return [Finding("dnssec", Result.SKIP, "no domain name to check", "Name the endpoint with --endpoint.")]
    return [await _domain(installation, name) for name in wanted]


async def _domain(installation: Installation, name: str) -> Finding:
    if installation.validator is None:
        raise ValueError("nothing to check with")
    result = await installation.validator.check(name, installation.at)
    advice = advise(result)
    if result.standing is not Standing.SECURE:
        to_do = f"{advice.where}: {advice.what}" if advice else ""
        return Finding("dnssec", Result.FAIL, f"{name} is {result.standing}: {result.message}", to_do)
    soon = warnings(result, installation.at)
    if soon:
        return Finding("dnssec", Result.WARN, f"{name} is secure", soon[0], essential=False)
    return Finding("dnssec", Result.OK, f"{name} is secure")


async def check_dane_of(
    installation: Installation, endpoint: Endpoint, presented: Sequence[bytes], chain: Sequence[x509.Certificate]
) -> Finding:
    """TLSA against what the endpoint presents, or against the file when nothing was presented."""
    ders = presented or [certificate.public_bytes(Encoding.DER) for certificate in chain]
    if installation.validator is None or not ders:
        return Finding("dane", Result.SKIP, "nothing to compare", "", essential=installation.need_dane)
    outcome = await check_dane(installation.validator, endpoint.host, endpoint.port, ders, installation.at)
    publish = _to_publish(endpoint, ders[0])
    match outcome.outcome:
        case DaneOutcome.MATCHED:
            return Finding("dane", Result.OK, outcome.message)
        case DaneOutcome.ABSENT:
            result = Result.FAIL if installation.need_dane else Result.WARN
            return Finding("dane", result, outcome.message, publish, essential=installation.need_dane)
        case DaneOutcome.MISMATCHED:
            return Finding("dane", Result.FAIL, outcome.message, publish)
        case DaneOutcome.FAILED:
            advice = advise(outcome.standing)
            return Finding("dane", Result.FAIL, outcome.message, f"{advice.where}: {advice.what}" if advice else "")


def _to_publish(endpoint: Endpoint, leaf: bytes) -> str:
    try:
        return f"Publish: _{endpoint.port}._tcp.{endpoint.host}. IN TLSA {tlsa_for(leaf)}"
    except ValueError:
        return "Present a certificate with a key that can be read (EC P-256, P-384, or RSA)."
