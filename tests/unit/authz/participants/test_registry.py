"""From credential to deelnemer: what contradicts itself is not used, and the snapshot of before stays."""

from collections.abc import Sequence

import pytest

from authz.domain.audit import AuditRecord
from authz.domain.identifiers import Identifier
from authz.participants.model import Credential, Environment, Participant
from authz.participants.registry import ParticipantRegistry, SchemeContradiction

KEY, OTHER_KEY = "ab" * 32, "cd" * 32


class Stored:
    def __init__(self, *participants: Participant) -> None:
        self.participants = participants

    async def version(self) -> int:
        return len(self.participants)

    async def load(self) -> tuple[int, tuple[Participant, ...]]:
        return len(self.participants), self.participants

    async def save(self, participants: Sequence[Participant], records: Sequence[AuditRecord]) -> int:
        raise NotImplementedError


def deelnemer(subject: str, *credentials: Credential, environment: Environment = Environment.TST) -> Participant:
    own = Identifier.parse_subject(subject)
    return Participant(own, "x", "ZORGKANTOOR", environment, credentials=credentials)


def credential(subject: str, key: str = KEY) -> Credential:
    return Credential(key, Identifier.parse_subject(subject))


async def test_the_same_identity_of_another_issuer_is_somebody_else() -> None:
    registry = ParticipantRegistry(Stored(deelnemer("uzovi:5000", credential("uzovi:5000"))), Environment.TST)
    await registry.refresh()
    identity = Identifier.parse_subject("uzovi:5000")
    found = registry.by_credential(KEY, identity)
    assert found is not None
    assert found[0].id == identity
    assert registry.by_credential(OTHER_KEY, identity) is None


async def test_a_deelnemer_of_another_environment_does_not_exist_here() -> None:
    production = deelnemer("uzovi:5000", credential("uzovi:5000"), environment=Environment.PRD)
    registry = ParticipantRegistry(Stored(production), Environment.TST)
    await registry.refresh()
    assert registry.by_credential(KEY, production.id) is None
    assert registry.by_identifier(production.id) is None


async def test_one_credential_for_two_deelnemers_is_a_contradiction() -> None:
    stored = Stored(deelnemer("uzovi:5000", credential("uzovi:5000")))
    registry = ParticipantRegistry(stored, Environment.TST)
    await registry.refresh()
    stored.participants += (deelnemer("uzovi:5001", credential("uzovi:5000")),)
    with pytest.raises(SchemeContradiction):
        await registry.refresh()
    assert registry.version == 1
    assert registry.by_credential(KEY, Identifier.parse_subject("uzovi:5000")) is not None
