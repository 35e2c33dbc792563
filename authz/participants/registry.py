"""The deelnemers of one environment in memory, found by issuing key and identity.

Specification: shared `spec/authorization.md` rule 1: "by issuing CA key plus identity, never by a distinguished name
alone". The snapshot is replaced whole, so that a request sees one state of the scheme.
"""

from authz.domain.errors import SluisError
from authz.domain.identifiers import Identifier
from authz.participants.model import Credential, Environment, Participant, ParticipantRepository


class SchemeContradiction(SluisError):  # noqa: N818  says what is so
    """The stored scheme gives one credential or one identifier to two deelnemers; nothing of it is used."""


class ParticipantRegistry:
    """Finds deelnemers without a query.

    Args:
        repository: where they are kept.
        environment: only deelnemers of this environment exist here.
    """

    def __init__(self, repository: ParticipantRepository, environment: Environment) -> None:
        self._repository = repository
        self._environment = environment
        self._by_credential: dict[tuple[str, Identifier], tuple[Participant, Credential]] = {}
        self._by_identifier: dict[Identifier, Participant] = {}
        self.version = -1

    async def refresh(self) -> None:
        """Read the deelnemers again.

        Raises:
            SchemeContradiction: the snapshot of before stays in use.
        """
        version, participants = await self._repository.load()
        by_credential: dict[tuple[str, Identifier], tuple[Participant, Credential]] = {}
        by_identifier: dict[Identifier, Participant] = {}
        for participant in participants:
            if participant.environment is not self._environment:
                continue
            for credential in participant.credentials:
                key = (credential.issuer_key, credential.identity)
                if by_credential.setdefault(key, (participant, credential))[0] is not participant:
                    raise SchemeContradiction("one credential belongs to two deelnemers")
            for identifier in participant.identifiers:
                if by_identifier.setdefault(identifier, participant) is not participant:
                    raise SchemeContradiction("one identifier belongs to two deelnemers")
        self._by_credential, self._by_identifier, self.version = by_credential, by_identifier, version

    def by_credential(self, issuer_key: str, identity: Identifier) -> tuple[Participant, Credential] | None:
        """Whose credential this is."""
        return self._by_credential.get((issuer_key, identity))

    def by_identifier(self, identifier: Identifier) -> Participant | None:
        """Which deelnemer has this identifier, as its id or as a further one."""
        return self._by_identifier.get(identifier)
