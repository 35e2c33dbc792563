"""The holder's side of confirming the use of a renewed certificate (`pki.http.confirm`)."""

import json
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Final

from authz.domain.errors import SluisError
from pki.holder.exchange import NotAnswered, Server, exchange

CONFIRM_USE: Final = "/certificates/confirm-use"
_TIMEOUT: Final = 15.0


class ConfirmationFailed(SluisError):  # noqa: N818  it says what happened
    """The authority did not take the confirmation; both certificates work as before."""


def confirm_use(url: str, certificate: Path, key: Path, authorities: Path, server_name: str | None = None) -> bool:
    """Tell the authority that the certificate is in use.

    Args:
        url: of the authority, `https://...`.
        certificate: the new chain, PEM.
        key: its key, PEM.
        authorities: CA certificates to believe the authority by, PEM.
        server_name: the name in the authority's certificate, when the URL holds an address.

    Returns:
        Whether the old certificate was revoked by it; False when there was none any more.

    Raises:
        ConfirmationFailed: with the reason that was given.
    """
    try:
        context = ssl.create_default_context(cafile=str(authorities))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(str(certificate), str(key))
        answer = exchange(Server.parse(url, server_name), context, "POST", CONFIRM_USE, seconds=_TIMEOUT)
        said = json.loads(answer.content)
    except NotAnswered as error:
        raise ConfirmationFailed(str(error)) from error
    except (OSError, ValueError) as error:
        raise ConfirmationFailed(f"{url}: the authority cannot be asked ({type(error).__name__})") from error
    body = said if isinstance(said, dict) else {}
    if answer.status != HTTPStatus.OK:
        raise ConfirmationFailed(f"{url}: refused ({str(body.get('error', answer.status))[:64]})")
    return body.get("ended") is True
