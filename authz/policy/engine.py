"""The policy engine as a protocol, and the decision it hands out.

Specification: shared `spec/policy.md`, "Two engines, one answer". An engine answers with a `Decision` or raises
`PolicyUnavailable`; there is no third outcome, so that nothing can be mistaken for a permit. Nothing here evaluates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from authz.domain.errors import SluisError

TOKEN_DECISION = "token/decision"  # noqa: S105  the name of an entrypoint
"""May this deelnemer get these scopes for this audience? Input: `policies/schemas/token.json`."""
ACCESS_DECISION = "access/decision"
"""May this request pass? Input: `policies/schemas/access.json`."""
ENTRYPOINTS = (TOKEN_DECISION, ACCESS_DECISION)

MAX_INPUT_BYTES = 1 << 20
"""Bytes of one input document; the agent's limits on a query keep real ones under 100 kB."""


class PolicyUnavailable(SluisError):  # noqa: N818  it is a state of the engine, and every caller denies on it
    """No decision could be had: no engine, no such entrypoint, a limit passed, an answer that is not one."""


class EvaluationDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the policy says of one evaluation of an access request, in the order of the request."""

    allow: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy decided.

    Args:
        allow: true only when the policy's answer was literally true.
        reasons: public reason codes, sorted; empty exactly when `allow` is true.
        policy_id: the rule (or rules, joined by `+`) that decided; empty when no rule applied.
        revision: revision of the bundle that decided.
        obligations: what the caller must do when it lets the request pass.
        evaluations: for `access/decision`, one for each evaluation asked about.
    """

    allow: bool
    reasons: tuple[str, ...]
    policy_id: str
    revision: str
    obligations: Mapping[str, Any] = field(default_factory=dict)
    evaluations: tuple[EvaluationDecision, ...] = ()


class PolicyEngine(Protocol):
    """Answers a policy question."""

    @property
    def revision(self) -> str:
        """The revision of the policies that answer now."""
        ...

    async def decide(self, entrypoint: str, document: Mapping[str, Any] | bytes) -> Decision:
        """Evaluate one entrypoint.

        Args:
            entrypoint: `TOKEN_DECISION` or `ACCESS_DECISION`.
            document: the input, or the same already encoded as JSON in UTF-8. It is not validated against the
                schema here: the caller builds it from verified values.

        Raises:
            PolicyUnavailable: there is no decision; the caller denies.
        """
        ...


class PolicyAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The document that both entrypoints return, as it stands on the wire."""

    allow: bool
    reasons: tuple[str, ...]
    policy_id: str
    obligations: dict[str, Any]
    evaluations: tuple[EvaluationDecision, ...] = ()


def decision_from(answer: PolicyAnswer, revision: str) -> Decision:
    """Turn an answer into a decision, refusing one that contradicts itself.

    Does not compare the number of evaluations with what was asked: only the caller knows that.

    Raises:
        PolicyUnavailable: a permit with reasons against it or with a refused evaluation, or a denial without reason.
    """
    if answer.allow and (answer.reasons or not all(item.allow for item in answer.evaluations)):
        raise PolicyUnavailable("the policy answered with a permit that has reasons against it")
    if not answer.allow and not answer.reasons:
        raise PolicyUnavailable("the policy answered with a denial that has no reason")
    return Decision(answer.allow, answer.reasons, answer.policy_id, revision, answer.obligations, answer.evaluations)


def encode_input(document: Mapping[str, Any] | bytes) -> bytes:
    """The input as JSON bytes, within `MAX_INPUT_BYTES`.

    Raises:
        PolicyUnavailable: too large, or not expressible as JSON.
    """
    if isinstance(document, bytes):
        encoded = document
    else:
        try:
            encoded = msgspec.json.encode(document)
        except (TypeError, ValueError, RecursionError) as error:
            raise PolicyUnavailable("the input cannot be expressed as JSON") from error
    if len(encoded) > MAX_INPUT_BYTES:
        raise PolicyUnavailable(f"the input is larger than {MAX_INPUT_BYTES} bytes")
    return encoded
