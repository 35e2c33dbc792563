"""What must never be in a log is masked; what helps an operator is not."""

import json
import re
from typing import NoReturn

import pytest

from authz.edge.logs import MASK, mask, place_of

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1em92aTo1MDAwIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize("key", ["authorization", "access_token", "client_secret", "bsn", "private_key", "Cookie"])
def test_a_secret_by_name_is_masked(key: str) -> None:
    assert mask(None, "", {key: "x", "inner": {key: "x"}}) == {key: MASK, "inner": {key: MASK}}


@pytest.mark.parametrize("text", [TOKEN, f"got {TOKEN} from", "bsn 123456782.", "-----BEGIN EC PRIVATE KEY-----\nMHc"])
def test_a_secret_by_shape_is_masked(text: str) -> None:
    event = mask(None, "", {"event": text, "list": [text]})
    assert MASK in event["event"]
    assert MASK in event["list"][0]
    assert "eyJ" not in str(event)
    assert "123456782" not in str(event)


@pytest.mark.parametrize(
    "text", ["0af7651916cd43dd8448eb211c80319c", "5a1a3c5e-0f5b-4d0c-9c55-123456789012", "12345678", "1234567890"]
)
def test_ids_are_kept(text: str) -> None:
    assert mask(None, "", {"event": text, "token_id": text}) == {"event": text, "token_id": text}


def test_the_place_of_an_error_is_a_line_of_our_own_code_and_nothing_else() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("999911120 x")
    assert place_of(caught.value) == "unknown"
    with pytest.raises(AttributeError) as other:
        mask(None, "", {"a": _Defect()})
    assert re.fullmatch(r"authz\.edge\.logs:[0-9]+", place_of(other.value))


class _Defect(dict[str, str]):
    def items(self) -> NoReturn:
        raise AttributeError("999911120")
