"""What the policy is told, and that nothing but a literal permit passes."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from authz.domain.scopes import ScopeSet
from authz.grants.audience import Audience, DomainState, require_secure
from authz.grants.request import TokenRequest, UnparsedRequest
from authz.grants.steps import Party, PolicyRefused, permit, policy_input
from authz.participants.authentication import AuthenticatedClient
from authz.participants.model import Environment, Participant
from authz.policy.engine import Decision

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AUDIENCE = "https://pep.ciz.nl/graphql"
SCHEMA = Path(__file__).parents[4] / "policies" / "schemas" / "token.json"


@pytest.fixture
def asking() -> Party:
    own = Participant(
        Identifier.parse_subject("uzovi:5000"),
        "Zorgkantoor",
        "ZORGKANTOOR",
        Environment.TST,
        ("BRONHOUDER",),
        (Identifier.parse_subject("uzovi:5000"), Identifier.parse_subject("kvk:12345678")),
    )
    client = AuthenticatedClient(own, "A" * 43, "192.0.2.1")
    audience = Audience(AUDIENCE, "pep.ciz.nl", "CIZ", "REGISTER", "TST", "wlzindicatieregister")
    return Party(client, audience, ScopeSet.parse("registers/a:read registers/b:read"), own, None)


class Engine:
    revision = "r1"

    def __init__(self, answer: tuple[Any, ...]) -> None:
        self.answer = answer

    async def decide(self, *_: object) -> Decision:
        allow, *reasons = self.answer
        return Decision(allow, tuple(reasons), "TOKEN", "r1")


def test_the_input_is_what_the_schema_of_the_policies_says(asking: Party) -> None:
    document = json.loads(json.dumps(policy_input(asking, NOW)))
    jsonschema_rs.validate(json.loads(SCHEMA.read_text()), document)
    assert document["context"]["time"] == "2026-11-22T12:00:00Z"
    assert document["participant"]["identifiers"] == {"uzovi": "5000", "kvk": "12345678"}


async def test_a_literal_permit_passes(asking: Party) -> None:
    assert (await permit(asking, Engine((True,)), NOW)).decision.revision == "r1"


@pytest.mark.parametrize("allow", [False, None, 1, "true", {"allow": True}])
async def test_anything_else_is_a_denial(asking: Party, allow: object) -> None:
    with pytest.raises(PolicyRefused):
        await permit(asking, Engine((allow, "no_rule")), NOW)


@pytest.mark.parametrize(
    ("reasons", "reason"),
    [
        (("no_rule",), Reason.POLICY_DENIED),
        (("scope_not_allowed",), Reason.SCOPE_NOT_ALLOWED),
        (("scope_not_allowed", "scope_unknown"), Reason.SCOPE_UNKNOWN),
    ],
)
async def test_a_denial_keeps_its_reason(asking: Party, reasons: tuple[str, ...], reason: Reason) -> None:
    with pytest.raises(PolicyRefused) as refusal:
        await permit(asking, Engine((False, *reasons)), NOW)
    assert refusal.value.reason is reason
    assert refusal.value.decision.reasons == reasons


@pytest.mark.parametrize("state", [state for state in DomainState if state is not DomainState.SECURE])
def test_only_a_secure_domain_passes(state: DomainState) -> None:
    require_secure(DomainState.SECURE)
    with pytest.raises(Refused) as refusal:
        require_secure(state)
    assert refusal.value.reason.value == f"domain_{state.value}"


def test_the_first_thing_that_is_wrong_is_said() -> None:
    good = UnparsedRequest("client_credentials", "registers/a:read", (AUDIENCE,))
    assert TokenRequest.parse(good).audience == AUDIENCE
    with pytest.raises(Refused) as refusal:
        TokenRequest.parse(UnparsedRequest(None, None, (), "x", has_authorization_details=True))
    assert refusal.value.reason is Reason.PARAMETER_MISSING
