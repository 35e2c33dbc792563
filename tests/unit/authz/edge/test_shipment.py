"""Only a word of the audit store about the records puts one aside; everything else is tried again."""

import httpx
import pytest

from authz.edge.shipment import MAX_WORDS, ShipmentSize, Verdict

REFUSAL = {"error": "body_malformed", "error_description": "", "trace_id": ""}


@pytest.mark.parametrize("status", [100, 302, 401, 403, 404, 405, 408, 421, 425, 429, 431, 500, 503])
@pytest.mark.parametrize("sent", [1, 500])
def test_what_says_nothing_about_the_records_is_sent_again_as_it_was(status: int, sent: int) -> None:
    size = ShipmentSize(500)
    assert size.judge(httpx.Response(status, json=REFUSAL), sent) is Verdict.LATER
    assert size.now == 500


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_halves_until_one_record_stands_alone(status: int) -> None:
    size = ShipmentSize(500)
    sizes = []
    while size.judge(httpx.Response(status, json=REFUSAL), size.now) is Verdict.SMALLER:
        sizes.append(size.now)
    assert sizes == [250, 125, 62, 31, 15, 7, 3, 1]
    assert size.judge(httpx.Response(status, json=REFUSAL), 1) is Verdict.REFUSED


def test_sizes_grow_again_and_no_further_than_the_most() -> None:
    size = ShipmentSize(5)
    size.judge(httpx.Response(400, json=REFUSAL), 2)
    seen = []
    for _ in range(4):
        assert size.judge(httpx.Response(200), size.now) is Verdict.TAKEN
        seen.append(size.now)
    assert seen == [2, 4, 5, 5]


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"<html>", b"{}", b'{"error":null}', b'{"error":"x"}' + b" " * MAX_WORDS]
)
def test_a_400_that_is_not_in_the_words_of_the_store_refuses_no_record(content: bytes) -> None:
    assert ShipmentSize(1).judge(httpx.Response(400, content=content), 1) is Verdict.LATER


def test_too_large_is_too_large_whoever_says_it() -> None:
    assert ShipmentSize(1).judge(httpx.Response(413), 1) is Verdict.REFUSED
