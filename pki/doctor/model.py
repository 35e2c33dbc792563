"""What a check found, and what it was given to look at."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pki.dnssec.standing import Validator


class Result(StrEnum):
    """How a check went. Only FAIL of an essential check makes the whole fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the report.

    Attributes:
        check: stable code, `<area>.<what>`.
        result: how it went.
        detail: what was found.
        to_do: what helps; empty when nothing has to be done.
        essential: whether the installation cannot work, or is not allowed to, while this fails.
    """

    check: str
    result: Result
    detail: str
    to_do: str = ""
    essential: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where something listens: a host name, its port, and an address that takes the place of DNS if given."""

    host: str
    port: int
    connect: str | None = None


@dataclass(frozen=True, slots=True)
class Installation:
    """What there is to look at. What is None is not looked at, and the report says so.

    Attributes:
        certificate: PEM, leaf first.
        key: PEM of its private key.
        anchors: PEM of the network's root.
        endpoint: the participant's own TLS endpoint.
        authz: the authorization server.
        crl_urls: instead of those in the certificates.
        ocsp_url: of the OCSP responder, instead of the one in the certificate.
        validator: checks names.
        need_dane: whether an endpoint without TLSA records fails.
        at: the moment.
    """

    certificate: Path
    at: datetime
    key: Path | None = None
    anchors: Path | None = None
    endpoint: Endpoint | None = None
    authz: Endpoint | None = None
    crl_urls: tuple[str, ...] = ()
    ocsp_url: str | None = None
    validator: Validator | None = None
    need_dane: bool = False


def passed(findings: Iterable[Finding]) -> bool:
    """Whether no essential check failed, and at least one was done: nothing looked at is not healthy."""
    found = [finding for finding in findings if finding.essential and finding.result is not Result.SKIP]
    return bool(found) and all(finding.result is not Result.FAIL for finding in found)
