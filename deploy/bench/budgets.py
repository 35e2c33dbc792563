"""The budgets of architecture.md beside what was measured: how far each is, in plain words.

The bracketed figures of other products were measured elsewhere, on two shared cores; they are yardsticks, not results
of this run. Only the ratio to plain Envoy compares two figures of one run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deploy.bench.load import Measured

OIDC_PROVIDER: Final = 764.0
"""Tokens a second of `oidc-provider` 9.x, one worker, mTLS-bound ES256, in memory, a new connection each time."""
OIDC_PROVIDER_TWO: Final = 1_018.0
"""The same with two workers."""
OIDC_PROVIDER_KEPT: Final = 4_700.0
"""One worker, keep-alive, without audit."""
KEYCLOAK_KEPT: Final = 1_100.0
"""Keycloak 26.4, keep-alive."""
OPEN_RATE: Final = 500
"""Requests a second of the open loop."""
AUTHZ_SERVICE: Final = "authz service"
DECISION_SERVICE: Final = "decision service"
"""Names of the two programs whose memory has a budget."""
_KEPT_UP: Final = 0.98
"""Share of that rate below which the loop was not open any more."""
OPA_ENVOY_PLUGIN: Final = 208.0
"""Enforced requests a second of Envoy with opa-envoy-plugin doing the same checks in Rego."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One line of the table.

    Attributes:
        what: the budget in words.
        wanted: at least this, or at most this.
        measured: None when this run did not measure it.
        unit: for a reader.
        at_most: whether less is better.
    """

    what: str
    wanted: float
    measured: float | None
    unit: str
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it is met; None when it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted

    @property
    def distance(self) -> str:
        """How far it is from the budget; 100% is exactly met."""
        if self.measured is None:
            return "not measured here"
        if self.at_most:
            return f"{self.measured / self.wanted:.0%} of what it may be"
        return f"{self.measured / self.wanted:.0%} of what it should be"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that a run measured.

    Attributes:
        loads: by name (`deploy.bench.run`).
        start_seconds: from `lab up` until everything was ready.
        revocation_seconds: from the revocation at the CA until tokens and calls were refused.
        memory_mb: resident memory by program, after all loads.
    """

    loads: Mapping[str, Measured]
    start_seconds: float
    revocation_seconds: float
    memory_mb: Mapping[str, float]

    @property
    def added_p99(self) -> float | None:
        """Milliseconds that the trust agent adds at the 99th percentile in the open loop.

        None when this was not measured, or when this machine could not keep up the rate: the latencies then tell of its
        queue, not of the agent.
        """
        plain, enforced = self.loads.get("plain-open"), self.loads.get("enforcement-open")
        if plain is None or enforced is None:
            return None
        if min(plain.per_second, enforced.per_second) < OPEN_RATE * _KEPT_UP:
            return None
        return max(0.0, enforced.p99 - plain.p99)

    @property
    def answered(self) -> int:
        """Requests answered in the whole run, warm-ups left out."""
        return sum(sum(measured.statuses.values()) for measured in self.loads.values())


def budgets(outcome: Outcome) -> list[Budget]:
    """Every budget of architecture.md, with what this run says of it."""
    rates = {name: measured.per_second for name, measured in outcome.loads.items()}
    token_new, token_kept = rates.get("token-new"), rates.get("token-kept")
    enforced, plain = rates.get("enforcement-kept"), rates.get("plain-kept")
    of_plain = enforced / plain if enforced is not None and plain else None
    return [
        Budget("tokens, new connection: 2.5 x oidc-provider (one worker)", 2.5 * OIDC_PROVIDER, token_new, "/s"),
        Budget("tokens, new connection: 2.5 x oidc-provider (two workers)", 2.5 * OIDC_PROVIDER_TWO, token_new, "/s"),
        Budget("tokens, keep-alive: 1 x oidc-provider (one worker, no audit)", OIDC_PROVIDER_KEPT, token_kept, "/s"),
        Budget("tokens, keep-alive: 4 x Keycloak", 4 * KEYCLOAK_KEPT, token_kept, "/s"),
        Budget("enforcement: 10 x Envoy with opa-envoy-plugin", 10 * OPA_ENVOY_PLUGIN, enforced, "/s"),
        Budget("enforcement: 0.25 x plain Envoy with mTLS, in this run", 0.25, of_plain, "x"),
        Budget("enforcement: p99 added at 500 requests/s", 2.0, outcome.added_p99, "ms", at_most=True),
        Budget("revocation reaching authz and agent", 2.0, outcome.revocation_seconds, "s", at_most=True),
        Budget("start of a whole lab", 10.0, outcome.start_seconds, "s", at_most=True),
        Budget(
            f"memory of authz (after {outcome.answered:,} requests)",
            200.0,
            outcome.memory_mb.get(AUTHZ_SERVICE),
            "MB",
            at_most=True,
        ),
        Budget("memory of the decision service", 150.0, outcome.memory_mb.get(DECISION_SERVICE), "MB", at_most=True),
        Budget("audit: search over 10 million records, p95", 200.0, None, "ms", at_most=True),
    ]
