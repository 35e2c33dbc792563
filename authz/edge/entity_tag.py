"""An entity tag of somebody else's server, before it is sent back to that server.

Specification: RFC 9110 section 8.8.3, narrowed to ASCII: what is fetched over plain HTTP may come from anybody on the
path, and a tag that no header can hold would end the task that asks.
"""

import re
from typing import Final

_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,200}"')


def usable_tag(received: str | None) -> str | None:
    """The tag, or None when there is none that can be sent back; the document is then fetched whole each time."""
    return received if received is not None and _TAG.fullmatch(received) else None
