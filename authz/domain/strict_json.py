"""JSON with one reading only: what two parsers could read differently is refused.

Specification: RFC 8259 as narrowed by RFC 7493 (I-JSON): UTF-8 without a byte order mark, no duplicate members, no lone
surrogates, numbers that every implementation holds exactly. Shared `cases/graphql.md` 11 and 12. Not a schema: which
members an object may have is the caller's work.
"""

import json
import math
from typing import Any, Final, NoReturn

from authz.domain.errors import InvalidValue

MAX_BYTES: Final = 65_536
"""Default limit; the longest request of the network (a GraphQL template with variables) is under 6 kB."""
MAX_DEPTH: Final = 16
"""Default limit of nested arrays and objects; the network's own documents stay under 8."""

MAX_INTEGER: Final = 2**53 - 1
"""I-JSON (RFC 7493 section 2.2): integers beyond this are not exact in every implementation."""
_MAX_NUMBER_LENGTH: Final = 32


def parse(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:  # noqa: ANN401  any JSON value
    """Read one JSON text.

    Args:
        data: the bytes as received.
        max_bytes: longest accepted text, in bytes.
        max_depth: deepest accepted nesting of arrays and objects; a bare text or number has depth 0.

    Returns:
        `dict`, `list`, `str`, `int`, `float`, `bool` or `None`.

    Raises:
        InvalidValue: too long, too deep, not UTF-8, a byte order mark, not JSON, a duplicate member (also one that is
            spelled with escapes), NaN or Infinity, a number out of range, or a lone surrogate.
    """
    if len(data) > max_bytes:
        raise InvalidValue(f"the JSON text is longer than {max_bytes} bytes")
    try:
        text = data.decode("utf-8")
        value = _DECODER.decode(text)
        if "\\u" in text:
            # Only an escape can bring in half of a surrogate pair; encoding says whether one is left alone.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        raise InvalidValue("the text is not UTF-8") from None
    except UnicodeEncodeError:
        raise InvalidValue("a string holds half of a surrogate pair") from None
    except json.JSONDecodeError:
        # The library's message repeats parts of the text and positions in it, which may be personal data.
        raise InvalidValue("not a JSON text") from None
    except RecursionError:
        raise InvalidValue(f"the JSON text is nested deeper than {max_depth}") from None
    if not _shallow(value, max_depth):
        raise InvalidValue(f"the JSON text is nested deeper than {max_depth}")
    return value


def parse_object(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Read one JSON text that must be an object; otherwise as `parse`.

    Raises:
        InvalidValue: as `parse`, or the text is valid JSON but not an object.
    """
    value = parse(data, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise InvalidValue("the JSON text is not an object")
    return value


def _shallow(value: object, left: int) -> bool:
    if isinstance(value, dict):
        return left > 0 and all(_shallow(item, left - 1) for item in value.values() if isinstance(item, dict | list))
    if isinstance(value, list):
        return left > 0 and all(_shallow(item, left - 1) for item in value if isinstance(item, dict | list))
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The pairs arrive decoded, so `"a"` and `"\u0061"` meet here as the same name.
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidValue("an object has the same member twice")
    return members


def _integer(digits: str) -> int:
    # The length is looked at first: int() of a very long text costs quadratic time (and Python refuses it itself).
    if len(digits) > _MAX_NUMBER_LENGTH or abs(number := int(digits)) > MAX_INTEGER:
        raise InvalidValue("a number is out of range")
    return number


def _real(digits: str) -> float:
    if len(digits) > _MAX_NUMBER_LENGTH or not math.isfinite(number := float(digits)):
        raise InvalidValue("a number is out of range")
    if number == 0 and digits.lower().partition("e")[0].strip("-0."):
        raise InvalidValue("a number is too small to hold")
    return number


def _constant(_name: str) -> NoReturn:
    raise InvalidValue("NaN and Infinity are not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_real, parse_constant=_constant, strict=True
)
