"""One encoding of a record, read back unchanged."""

from types import MappingProxyType

import pytest

from authz.audit.record_format import MAX_RECORD_BYTES, decode_record, encode_record
from authz.domain.errors import InvalidValue
from tests.fakes.records import audit_record


def test_a_record_comes_back_as_it_was() -> None:
    record = audit_record(details={"b": [1, "é"], "a": {"x": None}})
    assert decode_record(encode_record(record)) == record
    assert encode_record(record) == encode_record(decode_record(encode_record(record)))


def test_a_frozen_mapping_is_encoded_as_an_object() -> None:
    record = audit_record(details=MappingProxyType({"a": 1}))  # type: ignore[arg-type]
    assert b'"details":{"a":1}' in encode_record(record)


def test_too_long_a_record_is_refused() -> None:
    with pytest.raises(InvalidValue):
        encode_record(audit_record(details={"x": "y" * MAX_RECORD_BYTES}))
    with pytest.raises(InvalidValue):
        decode_record(b" " * (MAX_RECORD_BYTES + 1))


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b"\xff", b'{"version":2}', b'{"version":1,"event":{}}'])
def test_what_is_no_record_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidValue):
        decode_record(payload)
