"""The scheme file: deelnemers, their credentials and their services, as stelselbeheer writes them down.

Specification: shared `domain.md`, "Parties and roles" and "Address book". A TOML file that is checked as a whole, with
every problem listed. Importing it twice changes nothing the second time; what it does not mention stays as it is.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from authz.directory.book import audiences_of
from authz.directory.difference import Change, ItemChange, differences, key_of
from authz.directory.model import DirectoryRepository, Function, Service, SystemRole
from authz.directory.onboarding import ServiceGate
from authz.domain.audit import AuditObject, AuditRecord, EventType, ObjectClass
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier
from authz.edge.settings import ExistingFile, Settings, SettingsError, load_settings
from authz.participants.model import (
    Credential,
    DaneRule,
    Environment,
    Participant,
    ParticipantRepository,
    ParticipantStatus,
)
from pki.certificate_files import pin_of

MakeRecord = Callable[[EventType, AuditObject], AuditRecord]


class CredentialEntry(Settings):
    """`[[participants.credentials]]`: the issuing CA as a certificate file, or by its key."""

    identity: str
    issuer: ExistingFile | None = None
    issuer_key: str | None = None
    allowed_addresses: tuple[str, ...] = ()
    blocked: bool = False

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if (self.issuer is None) == (self.issuer_key is None):
            raise ValueError("expected either issuer (a certificate file) or issuer_key (hex SHA-256 of its key)")
        self.value()
        return self

    def value(self) -> Credential:
        """As the domain knows it."""
        pinned = self.issuer_key or ("" if self.issuer is None else pin_of(self.issuer))
        return Credential(pinned, Identifier.parse_subject(self.identity), self.allowed_addresses, self.blocked)


class ParticipantEntry(Settings):
    """`[[participants]]`."""

    id: str
    name: str
    organization_type: str
    roles: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    credentials: tuple[CredentialEntry, ...] = ()
    log_sources: tuple[str, ...] = ()
    status: ParticipantStatus = ParticipantStatus.ACTIVE
    dane: DaneRule = DaneRule.OPTIONAL

    @model_validator(mode="after")
    def _checked(self) -> Self:
        self.value(Environment.TST)
        return self

    def value(self, environment: Environment) -> Participant:
        """As the domain knows it."""
        own = Identifier.parse_subject(self.id)
        # In the order in which they are stored, so that an unchanged deelnemer is seen to be unchanged.
        further = sorted(Identifier.parse_subject(text) for text in self.identifiers)
        return Participant(
            id=own,
            name=self.name,
            organization_type=self.organization_type,
            environment=environment,
            roles=self.roles,
            identifiers=(own, *(identifier for identifier in further if identifier != own)),
            credentials=tuple(entry.value() for entry in self.credentials),
            log_sources=self.log_sources,
            status=self.status,
            dane=self.dane,
        )


class ServiceEntry(Settings):
    """`[[services]]`."""

    organisation: str
    function: Function
    system_role: SystemRole
    holder: str
    authorization_endpoint: str
    token_endpoint: str
    resource_endpoint: str
    register_name: str = Field(default="", alias="register")

    @model_validator(mode="after")
    def _checked(self) -> Self:
        self.value(Environment.TST)
        return self

    def value(self, environment: Environment) -> Service:
        """As the domain knows it."""
        return Service(
            organisation=self.organisation,
            function=self.function,
            environment=environment,
            system_role=self.system_role,
            holder=Identifier.parse_subject(self.holder),
            authorization_endpoint=self.authorization_endpoint,
            token_endpoint=self.token_endpoint,
            resource_endpoint=self.resource_endpoint,
            register=self.register_name,
        )


class SchemeFile(Settings):
    """The file as a whole, for one environment."""

    environment: Environment
    participants: tuple[ParticipantEntry, ...] = ()
    services: tuple[ServiceEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import changed, or would change: every item of the file, in its order."""

    participants: tuple[ItemChange, ...]
    services: tuple[ItemChange, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """Ids of everything that is added or changed."""
        return tuple(item.id for item in (*self.participants, *self.services) if item.change is not Change.UNCHANGED)


async def import_scheme(
    path: Path,
    environment: Environment,
    *,
    organization_types: Collection[str],
    participants: ParticipantRepository,
    directory: DirectoryRepository,
    make_record: MakeRecord,
    gate: ServiceGate,
    dry_run: bool = False,
) -> Imported:
    """Bring the stored scheme to what the file says, with a record for each change.

    Deelnemers are one transaction and services another, in that order, because a service needs its holder; an import
    that is interrupted between them is finished by running it again.

    Args:
        path: the file.
        environment: of this server; a file for another one is refused.
        organization_types: those that the policies know; no rule would ever fit any other.
        participants: where deelnemers are kept.
        directory: where services are kept.
        make_record: writes down who did it.
        gate: lets services pass whose domain is secure; only those that are new or change are shown to it.
        dry_run: check and compare as otherwise, and write nothing.

    Raises:
        SettingsError: the file has problems; all of them are in the text.
        InvalidValue: it contradicts itself or what is stored.
        DirectoryContradiction: two services share an audience but not what it is.
        DomainsNotSecure: a service that is new or changes is at a host that is not secure; nothing was written.
    """
    scheme = load_settings(SchemeFile, path)
    if scheme.environment is not environment:
        raise SettingsError(f"{path}: for environment {scheme.environment}, this server is {environment}")
    _require_known_types(path, scheme, organization_types)
    _, known_participants = await participants.load()
    _, known_services = await directory.load()
    wanted = [entry.value(environment) for entry in scheme.participants]
    services = [entry.value(environment) for entry in scheme.services]
    done = Imported(tuple(differences(wanted, known_participants)), tuple(differences(services, known_services)))
    touched = set(done.changed)
    changed = [item for item in wanted if key_of(item) in touched]
    changed_services = [item for item in services if key_of(item) in touched]
    replaced = {*map(key_of, wanted), *map(key_of, services)}
    here = [item for item in known_services if item.environment is environment and key_of(item) not in replaced]
    audiences_of([*here, *services])
    others = [item for item in known_participants if item.environment is environment and key_of(item) not in replaced]
    _require_consistent([*others, *wanted], services)
    await gate.require_secure(changed_services)
    if changed and not dry_run:
        await participants.save(changed, [make_record(EventType.PARTICIPANT_CHANGE, _about(item)) for item in changed])
    if changed_services and not dry_run:
        records = [make_record(EventType.DIRECTORY_CHANGE, _about_service(item)) for item in changed_services]
        await directory.save(changed_services, records)
    return done


def _require_known_types(path: Path, scheme: SchemeFile, known: Collection[str]) -> None:
    unknown = [
        f"  participants.{place}.organization_type: of {entry.id}, not a known one; expected {', '.join(sorted(known))}"
        for place, entry in enumerate(scheme.participants)
        if entry.organization_type not in known
    ]
    if unknown:
        raise SettingsError(f"{path}: {len(unknown)} problem(s)\n" + "\n".join(unknown))


def _require_consistent(participants: list[Participant], services: list[Service]) -> None:
    """What the database enforces as well, told here before anything is written and with the names of both."""
    held: dict[object, str] = {}
    for participant in participants:
        for thing, what in _exclusive(participant):
            other = held.setdefault(thing, participant.id.subject)
            if other != participant.id.subject:
                raise InvalidValue(f"{participant.id.subject} has a {what} that belongs to {other} already")
    known = {participant.id for participant in participants}
    for service in services:
        if service.holder not in known:
            raise InvalidValue(f"{key_of(service)}: its holder is not a deelnemer of this environment")


def _exclusive(participant: Participant) -> list[tuple[object, str]]:
    return [
        *((("identifier", item), "identifier") for item in participant.identifiers),
        *((("credential", item.issuer_key, item.identity), "credential") for item in participant.credentials),
        *((("source", item), "log source") for item in participant.log_sources),
    ]


def _about(participant: Participant) -> AuditObject:
    details = {
        "environment": participant.environment.value,
        "organization_type": participant.organization_type,
        "status": participant.status.value,
        "dane": participant.dane.value,
        "credentials": [
            {"identity": item.identity.subject, "issuer_key": item.issuer_key, "blocked": item.blocked}
            for item in participant.credentials
        ],
    }
    subject = participant.id.subject
    return AuditObject("deelnemer", subject, "none", ObjectClass.ORGANIZATION, participant.name, details)


def _about_service(service: Service) -> AuditObject:
    details = {"systeemrolcode": service.system_role.value, "audience": service.audience}
    return AuditObject("gegevensdienstId", service.gegevensdienst_id, "none", details=details)
