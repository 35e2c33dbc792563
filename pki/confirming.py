"""The holder's side of confirming the use of a renewed certificate (`pki.http.confirm`)."""

import ssl
from pathlib import Path
from typing import Final

import httpx

from authz.domain.errors import SluisError

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
        extensions = {"sni_hostname": server_name} if server_name else {}
        with httpx.Client(verify=context, timeout=_TIMEOUT, trust_env=False) as client:
            answer = client.post(f"{url.rstrip('/')}{CONFIRM_USE}", extensions=extensions)
            said = answer.json()
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise ConfirmationFailed(f"{url}: the authority cannot be asked ({type(error).__name__})") from error
    body = said if isinstance(said, dict) else {}
    if answer.status_code != httpx.codes.OK:
        raise ConfirmationFailed(f"{url}: refused ({str(body.get('error', answer.status_code))[:64]})")
    return body.get("ended") is True
