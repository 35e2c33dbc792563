"""Base64url without padding, with one text for each content (RFC 4648 section 5; RFC 7515 section 2).

What has two spellings can be shown in one and blocked in the other, and what one reader takes another may refuse. So
padding, other characters (line ends too) and bits left over that are not zero are refused (RFC 4648 section 3.5).
"""

import base64
import binascii

from authz.domain.errors import InvalidValue


def encode(content: bytes) -> str:
    """The text of some bytes."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def decode(text: str | bytes) -> bytes:
    """The bytes of a text.

    Raises:
        InvalidValue: it is not the text that `encode` makes of any bytes.
    """
    try:
        given = text.encode("ascii") if isinstance(text, str) else text
        content = base64.b64decode(given + b"=" * (-len(given) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidValue("not base64url") from None
    if base64.urlsafe_b64encode(content).rstrip(b"=") != given:
        raise InvalidValue("not base64url in its one form")
    return content
