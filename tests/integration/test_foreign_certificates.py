"""Certificates of PKIoverheid and the UZI-register through a real Envoy: it must verify what our own validator accepts.

Both have to agree (`certificate_unverified_by_edge` otherwise), so this is about RSASSA-PSS signatures of certificates
and CRLs, several levels of CAs, and an anchor that is not self-signed, in BoringSSL as in ours.
"""

import json
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from authz.edge.client_certificate import EDGE_VERIFIED_HEADER, XFCC_HEADER, parse_xfcc
from tests.fakes.certificates import FakeCertificate
from tests.fakes.edge_pki import EdgeAuthority
from tests.fakes.pkioverheid import FakePkioverheid
from tests.support import free_port

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


@contextmanager
def envoy(
    pki: FakePkioverheid, bundle: Sequence[FakeCertificate], *, delta: bool = False
) -> Iterator[tuple[str, Path, str]]:
    """Envoy before an echo service, trusting `bundle`; gives the URL, a folder, and the CA of its own certificate."""
    folder = Path(tempfile.mkdtemp(prefix="sluis-t-"))
    server = EdgeAuthority()
    certificate, key = server.leaf("localhost").write(folder, "server")
    (folder / "ca.pem").write_bytes(b"".join(item.pem for item in bundle))
    (folder / "crls").mkdir()
    for number, ca in enumerate(pki.authorities):
        (folder / "crls" / f"{number}.crl").write_bytes(pki.crl(ca))
    if delta:
        (folder / "crls" / "delta.crl").write_bytes(pki.crl(pki.tsp, base=1))
    ports = (free_port(), free_port())
    described = {"run": str(folder / "run"), "client": "optional", "tls_port": ports[0], "plain_port": ports[1]}
    described |= {"certificate": str(certificate), "key": str(key), "ca": str(folder / "ca.pem")}
    described |= {"crls": str(folder / "crls")}
    (folder / "edge.json").write_text(json.dumps(described))
    process = subprocess.Popen([sys.executable, "-m", "tests.fakes.edge_runner", str(folder / "edge.json")], cwd=ROOT)
    try:
        end = time.monotonic() + 60
        while not _answers(f"http://127.0.0.1:{ports[1]}"):
            assert time.monotonic() < end, "Envoy did not start in time"
            time.sleep(0.05)
        yield f"https://localhost:{ports[0]}/x", folder, server.pem
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        shutil.rmtree(folder)


def seen(edge: tuple[str, Path, str], leaf: FakeCertificate, *, with_chain: bool = True) -> dict[str, str]:
    url, folder, ca = edge
    context = ssl.create_default_context(cadata=ca)
    chain = leaf.pem + (b"".join(item.public_bytes(Encoding.PEM) for item in leaf.chain[:2]) if with_chain else b"")
    (folder / "client.pem").write_bytes(chain)
    (folder / "client.key").write_bytes(leaf.key_pem)
    context.load_cert_chain(folder / "client.pem", folder / "client.key")
    with httpx.Client(verify=context, timeout=30) as client:
        return dict(client.get(url).json()["headers"])


@pytest.mark.parametrize("anchored", ["root", "domain CA"])
def test_envoy_and_the_validator_agree_about_a_g4_chain(anchored: str) -> None:
    pki = FakePkioverheid(now=datetime.now(UTC))
    rogue = FakePkioverheid(rogue=True, now=pki.now)
    # Envoy follows every path to a self-signed end, so what stands above an anchor is configured too, for Envoy alone.
    anchor = pki.root if anchored == "root" else pki.domain
    others = [item.der for item in pki.authorities if item is not anchor]
    validator = pki.validator(anchors=[anchor.der], intermediates=others)
    with envoy(pki, pki.authorities) as edge:
        for with_chain in (True, False):
            headers = seen(edge, pki.uzi(), with_chain=with_chain)
            assert headers[EDGE_VERIFIED_HEADER] == "1"
            presented = parse_xfcc(headers[XFCC_HEADER])
            found = validator.validate(presented.leaf_der, presented.chain_der[1:], datetime.now(UTC))
            assert found.identity.subject == "agbcode:01234567"
        assert EDGE_VERIFIED_HEADER not in seen(edge, rogue.uzi())


def test_envoy_is_not_disturbed_by_a_delta() -> None:
    pki = FakePkioverheid(now=datetime.now(UTC))
    leaf = pki.uzi()
    with envoy(pki, pki.authorities, delta=True) as edge:
        assert seen(edge, leaf)[EDGE_VERIFIED_HEADER] == "1"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.TransportError:
        return False
