"""The one encoding of an audit record as bytes: JSON with sorted keys and no white space, UTF-8.

Used by the log (what is committed to is exactly these bytes) and by everything that ships records to it. What the
members mean is `authz.domain.audit`'s; whether a sender may send them is `ingest`'s.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from authz.domain.audit import AuditRecord
from authz.domain.errors import InvalidValue

MAX_RECORD_BYTES: Final = 65_536
"""Bytes of one encoded record; bounded memory for every input (shared `domain.md`, lessons). A normal one has 1 kB."""


def _plain(value: object) -> Any:  # noqa: ANN401  the hook of an encoder for any type
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


_encoder = msgspec.json.Encoder(order="deterministic", enc_hook=_plain)
_decoder = msgspec.json.Decoder(dict[str, Any])


def encode_record(record: AuditRecord) -> bytes:
    """The bytes that are stored, committed to and shipped.

    Raises:
        InvalidValue: details that are not JSON values, or too large a record.
    """
    try:
        payload = _encoder.encode(record.to_json())
    except (TypeError, ValueError) as error:
        raise InvalidValue("the details of an audit record are JSON values") from error
    if len(payload) > MAX_RECORD_BYTES:
        raise InvalidValue(f"an audit record has at most {MAX_RECORD_BYTES} bytes")
    return payload


def decode_record(payload: bytes) -> AuditRecord:
    """Read what `encode_record` wrote.

    Raises:
        InvalidValue: not an encoded audit record of a known version.
    """
    if len(payload) > MAX_RECORD_BYTES:
        raise InvalidValue(f"an audit record has at most {MAX_RECORD_BYTES} bytes")
    try:
        return AuditRecord.from_json(_decoder.decode(payload))
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidValue("not an audit record of this version") from error
