"""All checks of `pki doctor`, in the order in which a person repairs things, and the report."""

from collections.abc import Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from pki.dnssec.tree import printable
from pki.doctor.clock import check_clock
from pki.doctor.domains import check_dane_of, check_domains
from pki.doctor.files import check_files
from pki.doctor.model import Finding, Installation, Result, passed
from pki.doctor.ocsp import check_ocsp
from pki.doctor.revocation import check_crls
from pki.doctor.tls import check_endpoint

_COLOURS: Final = {Result.OK: "green", Result.WARN: "yellow", Result.FAIL: "bold red", Result.SKIP: "dim"}


async def examine(installation: Installation) -> list[Finding]:
    """Do every check. What cannot be checked is a finding, never an exception."""
    found, chain = check_files(installation)
    if chain:
        found += await check_crls(installation, chain)
        found += await check_ocsp(installation, chain)
    found += await check_domains(installation, chain)
    endpoint = installation.endpoint
    if endpoint is None:
        found.append(Finding("tls", Result.SKIP, "no endpoint was named", "Name it with --endpoint HOST:PORT."))
    else:
        of_endpoint, presented = await check_endpoint(installation, endpoint, chain)
        found += of_endpoint
        found.append(await check_dane_of(installation, endpoint, presented, chain))
    if installation.authz is None:
        found.append(Finding("authz", Result.SKIP, "no authorization server was named", "Name it with --authz URL."))
    else:
        found += await check_clock(installation, installation.authz)
    return found


def table(findings: Sequence[Finding]) -> Table:
    """The report for people. Texts of others (names, records) are shown without what a terminal would obey."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("check", "result", "what was found", "what to do"):
        shown.add_column(heading, overflow="fold")
    for finding in findings:
        mark = Text(finding.result.value, style=_COLOURS[finding.result])
        shown.add_row(finding.check, mark, Text(printable(finding.detail)), Text(printable(finding.to_do)))
    return shown


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
