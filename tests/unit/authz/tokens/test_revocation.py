"""Revocations as values."""

from datetime import UTC, datetime

import pytest

from authz.domain.errors import InvalidValue
from authz.tokens.revocation import Revocation, RevocationKind, RevocationList

LATER = datetime(2026, 11, 23, tzinfo=UTC)
THUMBPRINT = "A" * 43


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RevocationKind.JTI, "short"),
        (RevocationKind.JTI, "A" * 65),
        (RevocationKind.JTI, "A" * 21 + "="),
        (RevocationKind.CREDENTIAL, THUMBPRINT + "="),
        (RevocationKind.CREDENTIAL, "ab" * 32),
        (RevocationKind.GRANT, ""),
        (RevocationKind.GRANT, "a b"),
        (RevocationKind.GRANT, "a\n"),
    ],
)
def test_a_malformed_value_is_refused(kind: RevocationKind, value: str) -> None:
    with pytest.raises(InvalidValue):
        Revocation(kind, value, LATER)


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(InvalidValue):
        Revocation(RevocationKind.GRANT, "g", LATER.replace(tzinfo=None))


def test_a_list_knows_its_entries_by_kind() -> None:
    revoked = RevocationList(1, (Revocation(RevocationKind.GRANT, THUMBPRINT, LATER),))
    assert revoked.contains(RevocationKind.GRANT, THUMBPRINT)
    assert not revoked.contains(RevocationKind.CREDENTIAL, THUMBPRINT)
