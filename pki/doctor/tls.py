"""The participant's own TLS endpoint: versions and suites, the right certificate, and a client certificate required.

Specification: NCSC-NL TLS guidelines 2025 (good and sufficient); shared `spec/pki.md`. The endpoint is looked at as a
client sees it; nothing but a plain GET is sent.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki.dnssec.handshake import SIGNED_SUITES, TIMEOUT, NotReached, handshake
from pki.doctor.hello import TlsVersion, choose
from pki.doctor.model import Endpoint, Finding, Installation, Result
from pki.doctor.presented import address_of
from pki.doctor.suites import ALLOWED, EVERYTHING, GOOD, NAMES, TLS_1_3, WEAK, Level, level

MAX_SUITES: Final = 24
"""Suites that are enumerated; enough to say what is wrong."""
_OLD: Final = (TlsVersion.SSL_3, TlsVersion.TLS_1_0, TlsVersion.TLS_1_1)


async def check_endpoint(
    installation: Installation, endpoint: Endpoint, chain: Sequence[x509.Certificate]
) -> tuple[list[Finding], tuple[bytes, ...]]:
    """Findings, and the chain that was presented (empty when there was none)."""
    try:
        address = await address_of(
            endpoint.host, endpoint.port, endpoint.connect, installation.validator, installation.at
        )
        versions, speaks = await _versions(address, endpoint.host)
    except NotReached as error:
        to_do = "Does it run, on this port, and does the name lead to it? --connect IP:PORT looks past DNS."
        return [Finding("tls.reachable", Result.FAIL, str(error), to_do)], ()
    found = [Finding("tls.reachable", Result.OK, f"{endpoint.host} is {address[0]} port {address[1]}"), *versions]
    if not speaks:
        why = "nothing there speaks TLS, so this was not looked at"
        later = ("tls.old_versions", "tls.suites", "tls.certificate", "tls.client_certificate")
        return [*found, *(Finding(check, Result.SKIP, why) for check in later)], ()
    found.append(await _suites(address, endpoint.host))
    presented, said = await _certificate(installation, endpoint, address, chain)
    found.append(said)
    if installation.key is not None:
        found.append(await _client_certificate(installation, endpoint, address))
    return found, presented


async def _versions(address: tuple[str, int], host: str) -> tuple[list[Finding], bool]:
    """Findings, and whether any version of TLS is spoken at all."""
    modern = [
        version
        for version, suites in ((TlsVersion.TLS_1_3, TLS_1_3), (TlsVersion.TLS_1_2, ALLOWED))
        if await choose(address, host, version, tuple(suites)) is not None
    ]
    old = [version for version in _OLD if await choose(address, host, version, tuple(EVERYTHING)) is not None]
    offered = ", ".join(version.label for version in modern) or "none"
    found = []
    if not modern:
        to_do = "Switch on TLS 1.3, and TLS 1.2 with ECDHE suites; is it a TLS port at all?"
        found.append(Finding("tls.versions", Result.FAIL, "neither TLS 1.3 nor TLS 1.2 with good suites", to_do))
    elif TlsVersion.TLS_1_3 not in modern:
        to_do = "Switch on TLS 1.3."
        found.append(Finding("tls.versions", Result.WARN, f"{offered} (sufficient)", to_do, essential=False))
    else:
        found.append(Finding("tls.versions", Result.OK, offered))
    if not modern and not old:
        return found, False
    if old:
        named = ", ".join(version.label for version in old)
        found.append(Finding("tls.old_versions", Result.FAIL, f"accepts {named}", "Switch them off."))
    else:
        found.append(Finding("tls.old_versions", Result.OK, "SSL 3.0, TLS 1.0 and TLS 1.1 are refused"))
    return found, True


async def _suites(address: tuple[str, int], host: str) -> Finding:
    weak = await _offered(address, host, tuple(WEAK))
    if weak:
        named = ", ".join(NAMES[suite] for suite in weak)
        to_do = "Leave only ECDHE with AES-GCM or ChaCha20-Poly1305 on (TLS 1.2)."
        return Finding("tls.suites", Result.FAIL, f"accepts {named}", to_do)
    allowed = await _offered(address, host, tuple(ALLOWED))
    if any(level(suite) is Level.SUFFICIENT for suite in allowed):
        named = ", ".join(NAMES[suite] for suite in allowed if suite not in GOOD)
        return Finding("tls.suites", Result.WARN, f"{named}: sufficient", "Prefer ECDHE suites.", essential=False)
    return Finding("tls.suites", Result.OK, ", ".join(NAMES[suite] for suite in allowed) or "those of TLS 1.3 only")


async def _offered(address: tuple[str, int], host: str, suites: tuple[int, ...]) -> list[int]:
    """The suites of TLS 1.2 that the server takes: what it chose is left out of the next offer."""
    taken: list[int] = []
    left = suites
    while left and len(taken) < MAX_SUITES:
        chosen = await choose(address, host, TlsVersion.TLS_1_2, left)
        if chosen is None:
            break
        taken.append(chosen.suite)
        left = tuple(suite for suite in left if suite != chosen.suite)
    return taken


async def _certificate(
    installation: Installation, endpoint: Endpoint, address: tuple[str, int], chain: Sequence[x509.Certificate]
) -> tuple[tuple[bytes, ...], Finding]:
    """A verified handshake: name, validity and path are the TLS library's judgement; the leaf is compared by us."""
    to_do = f"Configure the endpoint with a certificate for {endpoint.host}, followed by its issuing CA."
    try:
        context = client_context(installation, with_certificate=True)
        presented = await handshake(address, endpoint.host, context)
    except (NotReached, ssl.SSLError, OSError) as error:
        said = str(error) if isinstance(error, NotReached) else "the certificate and key files cannot be used for TLS"
        return (), Finding("tls.certificate", Result.FAIL, said, to_do)
    if chain and presented[0] != chain[0].public_bytes(Encoding.DER):
        said = f"valid for {endpoint.host}, and another one than in the certificate file"
        return presented, Finding(
            "tls.certificate", Result.WARN, said, "Reload the endpoint if it should be that one.", essential=False
        )
    return presented, Finding("tls.certificate", Result.OK, f"the certificate of the file, valid for {endpoint.host}")


async def _client_certificate(installation: Installation, endpoint: Endpoint, address: tuple[str, int]) -> Finding:
    if await _answers(installation, address, endpoint.host, with_certificate=False):
        to_do = "Require a client certificate (require_client_certificate in Envoy): anybody can reach what is behind."
        return Finding("tls.client_certificate", Result.FAIL, "answers a client that has no certificate", to_do)
    if await _answers(installation, address, endpoint.host, with_certificate=True):
        return Finding("tls.client_certificate", Result.OK, "required; ours is accepted by TLS")
    to_do = "Does it trust the network's root and its issuing CA for clients?"
    return Finding(
        "tls.client_certificate", Result.WARN, "required; no answer with ours either", to_do, essential=False
    )


def client_context(installation: Installation, *, with_certificate: bool) -> ssl.SSLContext:
    """A context that verifies the server, and has our certificate or none.

    Raises:
        OSError: a file cannot be read (also ssl.SSLError, which is one).
    """
    context = ssl.create_default_context(cafile=str(installation.anchors) if installation.anchors else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SIGNED_SUITES)
    if with_certificate and installation.key is not None:
        # An encrypted key must be an error here and not a question on the terminal.
        context.load_cert_chain(str(installation.certificate), str(installation.key), password=lambda: b"")
    return context


async def _answers(installation: Installation, address: tuple[str, int], host: str, *, with_certificate: bool) -> bool:
    """Whether an HTTP answer comes; in TLS 1.3 a missing certificate shows only after the handshake."""
    writer = None
    try:
        context = client_context(installation, with_certificate=with_certificate)
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=host)
            writer.write(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii"))
            await writer.drain()
            return (await reader.read(5)).startswith(b"HTTP/")
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()
