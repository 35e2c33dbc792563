"""Which certificates a TLS endpoint presents: one handshake, and nothing else is sent.

Specification: shared `spec/dnssec.md`, "DANE"; RFC 8446, RFC 5246. The endpoint is a stranger: time and bytes are
capped. What is returned was presented by whoever holds the leaf's key, because a signature over this very handshake was
checked. Whether the chain can be trusted is not looked at, unless the caller's context does.
"""

import asyncio
import contextlib
import ssl
from typing import Final

from authz.domain.errors import SluisError

TIMEOUT: Final = 8.0
"""Seconds that one connection may take."""
MAX_BYTES: Final = 64 * 1024
"""Of a server's part of the handshake; a chain of four with RSA keys is about six thousand."""
SIGNED_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:DHE+AESGCM:DHE+CHACHA20:DHE+AES:!aNULL:!PSK"
"""Suites of TLS 1.2 in which the server signs its key exchange, so that its key is proven before our answer."""
_LOOKING_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AESCCM:!aNULL:!PSK"
"""Without finite-field groups, whose size a stranger could choose to keep us computing."""
_CHUNK: Final = 16 * 1024


class NotReached(SluisError):  # noqa: N818  says what happened
    """An endpoint could not be looked at."""


def looking_context() -> ssl.SSLContext:
    """A context that only reads: DANE compares with what is presented, whoever signed it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_LOOKING_SUITES)
    return context


async def handshake(address: tuple[str, int], host: str, context: ssl.SSLContext) -> tuple[bytes, ...]:
    """Make one TLS connection and return the chain as presented, leaf first, DER.

    A server that requires a client certificate presents its own first, so none is needed to see it.

    Args:
        address: IP address and port to connect to.
        host: sent as SNI.
        context: `looking_context`, or one that verifies; with the suites of `SIGNED_SUITES` and no older version.

    Raises:
        NotReached: no connection, or the handshake failed; the text says why.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(*address)
            try:
                chain = await _exchange(reader, writer, host, context)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except ssl.SSLCertVerificationError as error:
        raise NotReached(f"its certificate is refused: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise NotReached(f"the TLS handshake fails ({error.reason or 'no reason given'})") from error
    except (OSError, TimeoutError) as error:
        raise NotReached(f"no connection to {address[0]} port {address[1]}") from error
    if not chain:
        raise NotReached("it presents no certificate")
    return chain


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, context: ssl.SSLContext
) -> tuple[bytes, ...]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=host)
    received = 0
    while True:
        done = _step(tls)
        answer = outgoing.read()
        if answer:
            writer.write(answer)
            await writer.drain()
        chain = _chain(tls)
        # In TLS 1.3 the handshake is complete when the server has proven its key, whatever it thinks of ours. In
        # TLS 1.2 it has done so once we answer its first flight: its signature was checked before. A server that
        # wants a client certificate would end the handshake now, and there is nothing more to learn.
        if done or (chain and answer and not _modern(tls)):
            return chain
        data = await reader.read(_CHUNK)
        received += len(data)
        if not data:
            raise NotReached("it ends the connection during the TLS handshake")
        if received > MAX_BYTES:
            raise NotReached(f"it sends more than {MAX_BYTES} bytes in the TLS handshake")
        incoming.write(data)


def _step(tls: ssl.SSLObject) -> bool:
    """Go on as far as what was received allows; whether the handshake is complete."""
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _modern(tls: ssl.SSLObject) -> bool:
    """Whether TLS 1.3 was agreed; the version itself is told only after the handshake."""
    suite = tls.cipher()
    return suite is None or suite[1] == "TLSv1.3"


def _chain(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    # Python 3.13 has a public method for the chain; before it, only the private object knows the chain.
    public = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return tuple(public())
    inner = getattr(tls, "_sslobj", None)
    chain = inner.get_unverified_chain() if inner is not None else None
    return tuple(ssl.PEM_cert_to_DER_cert(item.public_bytes()) for item in chain or ())
