"""Buckets of attempts do not refill while a test runs, however slow the machine is."""

import pytest

from authz.edge.rate import RateLimiter


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RateLimiter.__init__, "__defaults__", (lambda: 0.0,))
