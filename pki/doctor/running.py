"""All checks of `pki doctor`, in the order in which a person repairs things, and the report."""

from collections.abc import Awaitable, Sequence
from typing import Any, Final

from cryptography import x509
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pki.dnssec.tree import printable
from pki.doctor.clock import check_clock
from pki.doctor.domains import check_dane_of, check_domains
from pki.doctor.files import check_files
from pki.doctor.model import Endpoint, Finding, Installation, Result, passed
from pki.doctor.ocsp import check_ocsp
from pki.doctor.revocation import check_crls
from pki.doctor.tls import check_endpoint

_COLOURS: Final = {Result.OK: "green", Result.WARN: "yellow", Result.FAIL: "bold red", Result.SKIP: "dim"}


async def examine(installation: Installation) -> list[Finding]:
    """Do every check. What cannot be checked is a finding, never an exception."""
    chain: tuple[x509.Certificate, ...] = ()
    try:
        found, chain = check_files(installation)
    except Exception as error:  # noqa: BLE001  as in `_guarded`
        found = [_senseless("certificate.file", error)]
    if chain:
        found += await _guarded("crl", check_crls(installation, chain))
        found += await _guarded("ocsp", check_ocsp(installation, chain))
    found += await _guarded("dnssec", check_domains(installation, chain))
    endpoint = installation.endpoint
    if endpoint is None:
        found.append(Finding("tls", Result.SKIP, "no endpoint was named", "Name it with --endpoint HOST:PORT."))
    else:
        found += await _guarded("tls", _check_endpoint(installation, endpoint, chain))
    if any(finding.check == "key.match" and finding.result is Result.FAIL for finding in found):
        said = "not asked: without the key of this certificate nobody lets this installation in"
        found.append(Finding("authz.reachable", Result.SKIP, said, "Repair key.match first."))
    elif installation.authz is None:
        found.append(Finding("authz", Result.SKIP, "no authorization server was named", "Name it with --authz URL."))
    else:
        found += await _guarded("authz", check_clock(installation, installation.authz))
    return found


async def _check_endpoint(
    installation: Installation, endpoint: Endpoint, chain: Sequence[x509.Certificate]
) -> list[Finding]:
    found, presented = await check_endpoint(installation, endpoint, chain)
    return found + await _guarded("dane", _check_dane(installation, endpoint, presented, chain))


async def _check_dane(
    installation: Installation, endpoint: Endpoint, presented: Sequence[bytes], chain: Sequence[x509.Certificate]
) -> list[Finding]:
    return [await check_dane_of(installation, endpoint, presented, chain)]


async def _guarded(check: str, work: Awaitable[list[Finding]]) -> list[Finding]:
    """What comes from strangers (certificates, CRLs, answers) ends one check at most, and never the report."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001  whatever hostile bytes bring about
        return [_senseless(check, error)]


def _senseless(check: str, error: Exception) -> Finding:
    said = f"it cannot be checked: what was found there makes no sense ({type(error).__name__})"
    return Finding(check, Result.FAIL, said, "Is it what it should be? If it is, please report this as a defect.")


def table(findings: Sequence[Finding]) -> Table:
    """The report for people. Texts of others (names, records) are shown without what a terminal would obey."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("check", "result", "what was found", "what to do"):
        shown.add_column(heading, overflow="fold")
    for finding in findings:
        mark = Text(finding.result.value, style=_COLOURS[finding.result])
        shown.add_row(finding.check, mark, Text(printable(finding.detail)), Text(printable(finding.to_do)))
    return shown


def listing(findings: Sequence[Finding]) -> Group:
    """The same report where there is no room for columns: a paragraph for each check."""
    lines: list[Text] = []
    for finding in findings:
        lines.append(Text.assemble((finding.result.value, _COLOURS[finding.result]), f"  {finding.check}"))
        lines.append(Text(f"  {printable(finding.detail)}", overflow="fold"))
        if finding.to_do:
            lines.append(Text(f"  -> {printable(finding.to_do)}", overflow="fold"))
    return Group(*lines)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The report for programs."""
    return {
        "passed": passed(findings),
        "checks": [
            {
                "check": finding.check,
                "result": finding.result.value,
                "essential": finding.essential,
                "detail": finding.detail,
                "to_do": finding.to_do,
            }
            for finding in findings
        ],
    }
