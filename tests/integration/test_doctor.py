"""`pki doctor` and `pki dnssec` against a whole lab, as a participant runs them: real Envoy, CA and DNSSEC."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.lab.layout import AUTHZ_PORT, DNS_PORT, PKI_TLS_PORT, agent_port, program
from deploy.lab.network import INDICATIONS, MEDIATION, NORTH, TRUST_PROVIDER
from deploy.lab.running import RunningLab
from deploy.lab.up import LabOptions, down, up

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    folder = tmp_path_factory.mktemp("doctor") / "lab"
    try:
        yield asyncio.run(up(folder, LabOptions()))
    finally:
        asyncio.run(down(folder))


def pki(lab: RunningLab, *arguments: str) -> tuple[int, dict[str, Any]]:
    dns = ["--resolver", f"127.0.0.1:{lab.state.ports[DNS_PORT]}", "--anchor", str(lab.layout.dns_anchor)]
    ran = subprocess.run([program("pki"), *arguments, *dns, "--json"], capture_output=True, text=True, check=False)
    assert "Traceback" not in ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def doctor(lab: RunningLab, *, endpoint: str, key: Path | None = None) -> tuple[int, dict[str, str]]:
    party = lab.layout.credentials(INDICATIONS.party)
    authz = f"https://{TRUST_PROVIDER.host('authz')}:{lab.state.ports[AUTHZ_PORT]}"
    status, report = pki(
        lab,
        *("doctor", "--certificate", str(party.chain), "--key", str(key or party.key)),
        *("--ca", str(lab.layout.anchors), "--endpoint", endpoint, "--authz", authz),
    )
    return status, {check["check"]: check["result"] for check in report["checks"] if check["result"] != "ok"}


def test_a_datastation_of_the_lab_is_in_order(lab: RunningLab) -> None:
    agent = f"{INDICATIONS.agent_host}:{lab.state.ports[agent_port(INDICATIONS.key)]}"
    assert doctor(lab, endpoint=agent) == (0, {})


def test_a_key_of_another_party_is_found_out(lab: RunningLab) -> None:
    agent = f"{INDICATIONS.agent_host}:{lab.state.ports[agent_port(INDICATIONS.key)]}"
    status, wrong = doctor(lab, endpoint=agent, key=lab.layout.credentials(NORTH).key)
    assert status == 3
    assert wrong["key.match"] == "fail"


def test_an_endpoint_that_asks_no_client_certificate_is_found_out(lab: RunningLab) -> None:
    # The CA's own listener takes clients without one, because who enrols has none yet.
    status, wrong = doctor(lab, endpoint=f"{TRUST_PROVIDER.host('pki')}:{lab.state.ports[PKI_TLS_PORT]}")
    assert status == 3
    assert wrong["tls.client_certificate"] == "fail"


@pytest.mark.parametrize(
    ("name", "status", "state"),
    [
        (INDICATIONS.agent_host, 0, "secure"),
        ("agent.onbeveiligd-lab.nl", 3, "insecure"),
        ("agent.gebroken-lab.nl", 4, "bogus"),
    ],
)
def test_each_domain_of_the_lab_stands_as_it_was_made(lab: RunningLab, name: str, status: int, state: str) -> None:
    got, document = pki(lab, "dnssec", "check", name)
    assert (got, document["state"]) == (status, state)


def test_the_record_to_publish_is_shown_of_an_endpoint_that_wants_a_client_certificate(lab: RunningLab) -> None:
    for station, expected in ((MEDIATION, (3, "absent")), (INDICATIONS, (0, "matched"))):
        port = lab.state.ports[agent_port(station.key)]
        status, document = pki(lab, "dnssec", "dane", station.agent_host, "--port", str(port))
        assert (status, document["outcome"]) == expected
        assert document["publish"].startswith(f"_{port}._tcp.{station.agent_host}. IN TLSA 3 1 1 ")
        assert " IN TLSA 2 1 1 " in document["publish_authority"]
