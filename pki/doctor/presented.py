"""The certificate chain that an endpoint presents, and the address under which it is reached.

Reading what is presented says nothing about trust: whoever uses the chain compares it (DANE) or has verified it in
another handshake (`pki.doctor.tls`).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import InvalidValue, SluisError
from pki.dnssec.choosing import parse_address
from pki.dnssec.model import Answer
from pki.dnssec.standing import Validator

TIMEOUT: Final = 8.0
"""Seconds that one connection may take."""
MAX_FILE: Final = 256 * 1024
"""Bytes of a PEM file."""


class NotReached(SluisError):  # noqa: N818  says what happened
    """An endpoint could not be looked at."""


def chain_of(path: Path) -> tuple[bytes, ...]:
    """DER of the certificates in a PEM file, in order.

    Raises:
        NotReached: the file has no certificate, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise NotReached(f"{path}: more than {MAX_FILE} bytes; expected certificates in PEM")
        found = x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise NotReached(f"{path}: expected certificates in PEM") from error
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in found)


async def address_of(
    host: str, port: int, connect: str | None, validator: Validator | None, at: datetime
) -> tuple[str, int]:
    """Where to connect for a host.

    Args:
        host: host name.
        port: its port.
        connect: address and port that take the place of DNS.
        validator: asked for the address; the system's resolver when None or when it knows no A record.
        at: the moment.

    Raises:
        NotReached: there is no address.
    """
    if connect is not None:
        try:
            return parse_address(connect)
        except InvalidValue as error:
            raise NotReached(f"--connect: {error}") from error
    if validator is not None:
        result = await validator.check(host, at)
        if result.secure and result.answer is Answer.DATA and result.records:
            return result.records[0], port
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, proto=6)
    except OSError as error:
        raise NotReached(f"{host} has no address that this machine can find") from error
    return str(found[0][4][0]), port


async def presented_chain(
    host: str, port: int, connect: str | None, validator: Validator | None, at: datetime
) -> tuple[bytes, ...]:
    """The chain as presented, leaf first, unverified.

    Args:
        host: host name, sent as SNI.
        port: TCP port.
        connect: address and port instead of DNS.
        validator: for the address; see `address_of`.
        at: the moment.

    Raises:
        NotReached: no connection, or no TLS.
    """
    address = await address_of(host, port, connect, validator, at)
    context = ssl.create_default_context()
    # Only to read: DANE compares with what is presented, whoever signed it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return await handshake(address, host, context)


async def handshake(address: tuple[str, int], host: str, context: ssl.SSLContext) -> tuple[bytes, ...]:
    """Make one TLS connection and return the presented chain.

    Raises:
        NotReached: no connection, or the handshake failed; the text says why.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise NotReached(f"its certificate is refused: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise NotReached(f"the TLS handshake fails ({error.reason or 'no reason given'})") from error
    except (OSError, TimeoutError) as error:
        raise NotReached(f"no connection to {address[0]} port {address[1]}") from error
    try:
        tls = writer.get_extra_info("ssl_object")
        leaf = tls.getpeercert(binary_form=True)
        return (leaf, *_rest(tls, leaf))
    finally:
        writer.close()
        # A server that wanted a client certificate ends the connection in its own way.
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()


def _rest(tls: ssl.SSLObject, leaf: bytes) -> Sequence[bytes]:
    # Python 3.13 has a public method for the chain; before it, only the private object knows the chain.
    public = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return [item for item in public() if item != leaf]
    inner = getattr(tls, "_sslobj", None)
    chain = inner.get_unverified_chain() if inner is not None else None
    found = [ssl.PEM_cert_to_DER_cert(item.public_bytes()) for item in chain or ()]
    return [item for item in found if item != leaf]
