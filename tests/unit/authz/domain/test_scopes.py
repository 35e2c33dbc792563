"""Scopes: one list, one meaning (RFC 6749 section 3.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.domain.errors import InvalidValue
from authz.domain.scopes import MAX_SCOPE_LENGTH, MAX_SCOPES, Scope, ScopeSet

READ = "registers/wlzindicatieregister/indicaties/indicatie:read"
OLDER = "registers/wlzindicatieregister/indicaties:read"


def test_order_is_meaningless_and_duplicates_merge() -> None:
    assert ScopeSet.parse(f"{READ} {OLDER} {READ}") == ScopeSet.parse(f"{OLDER} {READ}")


def test_case_matters() -> None:
    assert ScopeSet.parse(READ) != ScopeSet.parse(READ.replace("registers", "Registers"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        f"{READ}  {OLDER}",
        f" {READ}",
        f"{READ} ",
        f"{READ}\t{OLDER}",
        f"{READ}\u00a0{OLDER}",
        READ.replace("read", "r\u0435ad"),  # Cyrillic e
        "registers/../indicaties:read",
        "registers//indicaties:read",
        "/registers:read",
        "registers:read:write",
        "registers",
        ":read",
        "registers:",
        "registers:read\n",
        "registers:read\x00",
        'registers":read',
        f"{'a' * MAX_SCOPE_LENGTH}:read",
        " ".join(f"r{n}:read" for n in range(MAX_SCOPES + 1)),
        "a" * 1_000_000,
    ],
)
def test_malformed_list_is_refused_whole(text: str) -> None:
    with pytest.raises(InvalidValue):
        ScopeSet.parse(text)


def test_the_largest_allowed_list_is_read() -> None:
    assert len(ScopeSet.parse(" ".join(f"r{n}:read" for n in range(MAX_SCOPES))).scopes) == MAX_SCOPES


_SCOPES = st.lists(st.sampled_from([READ, OLDER, "a:read", "b/c:create"]), min_size=1, max_size=10)


@given(_SCOPES)
def test_a_list_printed_is_a_list_read(scopes: list[str]) -> None:
    parsed = ScopeSet.parse(" ".join(scopes))
    assert ScopeSet.parse(str(parsed)) == parsed
    assert set(parsed.values) == set(scopes)
    assert all(scope == Scope(scope.value) for scope in parsed.scopes)
