"""What every test runs under: properties that come out the same on each machine, and logs that no other test has set.

`pytest --hypothesis-profile explore` draws new examples each time, to look for what the usual ones do not find.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

# No time limit for one example: how long it takes is the machine's affair, and a property says nothing about it.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True, database=None, print_blob=True)
settings.load_profile("same")

_configure = structlog.configure


@pytest.fixture(autouse=True)
def logs_of_each_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that a test runs in this process says how to log, for good; the next test must not hear of it."""

    def configure(*args: Any, **options: Any) -> None:
        # A logger that is kept goes on with what was configured at its first use.
        _configure(*args, **options | {"cache_logger_on_first_use": False})

    before = structlog.get_config()
    monkeypatch.setattr(structlog, "configure", configure)
    yield
    _configure(**before)
