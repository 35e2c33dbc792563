"""The certificate chain that an endpoint presents, and the address under which it is reached.

Reading what is presented says nothing about trust: whoever uses the chain compares it (DANE) or has verified it in
another handshake (`pki.doctor.tls`).
"""

import asyncio
import ipaddress
from datetime import datetime
from pathlib import Path
from typing import Final

from authz.domain.errors import InvalidValue
from pki.certificate_files import CertificateFileError, read_certificates
from pki.dnssec.choosing import parse_address
from pki.dnssec.handshake import NotReached, handshake, looking_context
from pki.dnssec.model import Answer
from pki.dnssec.standing import Validator
from pki.names import is_host_name

MAX_FILE: Final = 256 * 1024
"""Bytes of a PEM file."""


def chain_of(path: Path) -> tuple[bytes, ...]:
    """DER of the certificates in a file, in order.

    Raises:
        NotReached: the file cannot be read, has no certificate, or is too large.
    """
    try:
        return read_certificates(path)
    except CertificateFileError as error:
        raise NotReached(str(error)) from error


def is_host(text: str) -> bool:
    """Whether something can be asked under this name: a host name or an address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return is_host_name(text.lower().rstrip("."))
    return True


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
    return await handshake(await address_of(host, port, connect, validator, at), host, looking_context())
