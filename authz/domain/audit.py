"""One NEN 7513 audit record: who did what to what, when, with what result, under which protocol.

Specification: shared `spec/audit.md`, "Fields"; RFC 3881 and DICOM PS3.15 for the event codes. A record is a value:
it is made once, by the part that acted, and never changes. Storing and proving it is `authz.audit`'s work.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Final, Self

from authz.domain.errors import InvalidValue
from authz.domain.tracing import TraceContext

RECORD_VERSION = 1


class EventType(StrEnum):
    """Every kind of event this product records (style rule 15: one enum)."""

    TOKEN_REQUEST = "token.request"  # noqa: S105  an event name
    TOKEN_REVOKE = "token.revoke"  # noqa: S105
    ACCESS_DECISION = "access.decision"
    CERTIFICATE_INTENT = "certificate.intent"
    CERTIFICATE_ISSUE = "certificate.issue"
    CERTIFICATE_RENEW = "certificate.renew"
    CERTIFICATE_REVOKE = "certificate.revoke"
    CODE_CREATE = "enrolment.code_create"
    CODE_APPROVE = "enrolment.code_approve"
    CODE_WITHDRAW = "enrolment.code_withdraw"
    CODE_USE = "enrolment.code_use"
    KEY_BLOCK = "key.block"
    CERTIFICATE_EXPIRES = "certificate.expires"
    AUTHORITY_EXPIRES = "authority.expires"
    DOMAIN_STANDING = "domain.standing"
    ANCHOR_CHANGE = "anchor.change"
    WEBHOOK_GIVEN_UP = "webhook.given_up"
    PARTICIPANT_CHANGE = "participant.change"
    DIRECTORY_CHANGE = "directory.change"
    POLICY_ACTIVATE = "policy.activate"
    KEY_ROTATE = "key.rotate"
    KEY_WITHDRAW = "key.withdraw"
    ENDPOINT_REFUSED = "endpoint.refused"
    RECORD_RESEND = "record.resend"
    RULES_IN_FORCE = "rules.in_force"
    LOG_READ = "log.read"
    LOG_EXPORT = "log.export"
    LOG_VERIFY = "log.verify"
    LOG_ERASE = "log.erase"
    LOG_ALERT = "log.alert"
    COMPONENT_START = "component.start"
    COMPONENT_STOP = "component.stop"
    COMPONENT_GAP = "component.gap"


@dataclass(frozen=True, slots=True)
class EventCode:
    """A coded event: (CodeSystem OID, CodeSystemName, code, DisplayName)."""

    code: str
    system: str
    system_name: str
    display: str


_DCM = ("1.2.840.10008.2.16.4", "DCM")
LOG_USED = EventCode("110101", *_DCM, "Audit Log Used")
EXPORT = EventCode("110106", *_DCM, "Export")
APPLICATION_ACTIVITY = EventCode("110100", *_DCM, "Application Activity")
USER_AUTHENTICATION = EventCode("110114", *_DCM, "User Authentication")
SECURITY_ALERT = EventCode("110113", *_DCM, "Security Alert")

EVENT_CODES: Mapping[EventType, EventCode] = {
    EventType.TOKEN_REQUEST: USER_AUTHENTICATION,
    EventType.TOKEN_REVOKE: SECURITY_ALERT,
    EventType.ACCESS_DECISION: SECURITY_ALERT,
    EventType.CERTIFICATE_INTENT: SECURITY_ALERT,
    EventType.CERTIFICATE_ISSUE: SECURITY_ALERT,
    EventType.CERTIFICATE_RENEW: SECURITY_ALERT,
    EventType.CERTIFICATE_REVOKE: SECURITY_ALERT,
    EventType.CODE_CREATE: SECURITY_ALERT,
    EventType.CODE_APPROVE: SECURITY_ALERT,
    EventType.CODE_WITHDRAW: SECURITY_ALERT,
    EventType.CODE_USE: USER_AUTHENTICATION,
    EventType.KEY_BLOCK: SECURITY_ALERT,
    EventType.CERTIFICATE_EXPIRES: SECURITY_ALERT,
    EventType.AUTHORITY_EXPIRES: SECURITY_ALERT,
    EventType.DOMAIN_STANDING: SECURITY_ALERT,
    EventType.ANCHOR_CHANGE: SECURITY_ALERT,
    EventType.WEBHOOK_GIVEN_UP: SECURITY_ALERT,
    EventType.PARTICIPANT_CHANGE: SECURITY_ALERT,
    EventType.DIRECTORY_CHANGE: SECURITY_ALERT,
    EventType.POLICY_ACTIVATE: SECURITY_ALERT,
    EventType.KEY_ROTATE: SECURITY_ALERT,
    EventType.KEY_WITHDRAW: SECURITY_ALERT,
    EventType.ENDPOINT_REFUSED: SECURITY_ALERT,
    EventType.RECORD_RESEND: SECURITY_ALERT,
    EventType.RULES_IN_FORCE: SECURITY_ALERT,
    EventType.LOG_READ: LOG_USED,
    EventType.LOG_EXPORT: EXPORT,
    EventType.LOG_VERIFY: LOG_USED,
    EventType.LOG_ERASE: LOG_USED,
    EventType.LOG_ALERT: SECURITY_ALERT,
    EventType.COMPONENT_START: APPLICATION_ACTIVITY,
    EventType.COMPONENT_STOP: APPLICATION_ACTIVITY,
    EventType.COMPONENT_GAP: SECURITY_ALERT,
}
"""spec/audit.md, "Event codes": log read DCM 110101, token issuance 110114, policy decision 110113."""


class Action(StrEnum):
    """NEN 7513 actie: create, read, update, delete, execute."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Outcome(IntEnum):
    """NEN 7513 resultaat."""

    SUCCESS = 1
    REFUSED = 2
    ERROR = 3


class ObjectClass(IntEnum):
    """NEN 7513 klasse of an object."""

    PERSON = 1
    SYSTEM_OBJECT = 2
    ORGANIZATION = 3
    OTHER = 4


@dataclass(frozen=True, slots=True)
class AuditUser:
    """Gebruiker: who acted, or in whose name.

    Attributes:
        id: subject identifier (`uzovi:5000`), or `unknown` when nobody was authenticated.
        role: rol V, ISO 21298 or the network's own, for example ZORGKANTOOR.
        is_initiator: always written, because RFC 3881 readers default it to true.
        name: display name, never a person's.
        responsible_id: the party in whose name an actor acted.
        access_point: address or machine the request came from.
        access_point_type: 1 machine name, 2 IP address.
    """

    id: str
    role: str
    is_initiator: bool = True
    name: str | None = None
    responsible_id: str | None = None
    access_point: str | None = None
    access_point_type: int | None = None


@dataclass(frozen=True, slots=True)
class AuditObject:
    """Object: what was acted on. `identifier` is never a BSN; a care client is a pseudonym or record id.

    Attributes:
        identifier_type: what kind of identifier follows, for example `audience`, `wlzindicatieID`, `jti`.
        identifier: the identifier itself.
        protocol: autorisatieprotocol V: policy id and revision that decided, or `none`.
        object_class: klasse.
        details: small coded facts (field coordinates, scopes, counts); never values of care data.
    """

    identifier_type: str
    identifier: str
    protocol: str
    object_class: ObjectClass = ObjectClass.SYSTEM_OBJECT
    name: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One event.

    Attributes:
        record_id: UUID, made where the event arose: the idempotency key of shipping.
        event_type: what happened.
        action: actie.
        time: start of the event, UTC.
        outcome: resultaat.
        reason: stable reason code of a refusal or error; empty on success.
        source: bron V, for example `sluis/authz` or `sluis/trust-agent/<name>`.
        users: gebruikers, at least one.
        objects: objecten, at least one.
        trace: trace and span under which it happened.
        checks: controles C, `[TF]{4}`: authorization, care relation, consent, emergency.
        request_id: request id of the edge, if any.
    """

    record_id: str
    event_type: EventType
    action: Action
    time: datetime
    outcome: Outcome
    source: str
    users: tuple[AuditUser, ...]
    objects: tuple[AuditObject, ...]
    trace: TraceContext
    reason: str = ""
    checks: str | None = None
    request_id: str | None = None

    def __post_init__(self) -> None:
        if not self.users or not self.objects:
            raise InvalidValue("an audit record names at least one user and one object (NEN 7513)")
        if self.time.utcoffset() is None or self.time.utcoffset().total_seconds():  # type: ignore[union-attr]
            raise InvalidValue("the time of an audit record is UTC")
        if (self.outcome is Outcome.SUCCESS) == bool(self.reason):
            raise InvalidValue("a refusal or error has a reason, a success has none")

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values; `from_json` gives it back unchanged."""
        return {
            "version": RECORD_VERSION,
            "record_id": self.record_id,
            "event": {
                "type": self.event_type.value,
                "code": EVENT_CODES[self.event_type].code,
                "action": self.action.value,
                "time": self.time.isoformat().replace("+00:00", "Z"),
                "outcome": int(self.outcome),
                "reason": self.reason,
                "checks": self.checks,
            },
            "users": [_user_json(user) for user in self.users],
            "objects": [_object_json(item) for item in self.objects],
            "log": {"source": self.source},
            "trace_id": self.trace.trace_id,
            "span_id": self.trace.span_id,
            "request_id": self.request_id,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            InvalidValue: another version, an unknown member or a wrong type.
        """
        try:
            if type(data["version"]) is not int or data["version"] != RECORD_VERSION:
                raise InvalidValue("unknown version of audit record")
            event = data["event"]
            if data.keys() != _RECORD_MEMBERS or event.keys() != _EVENT_MEMBERS or data["log"].keys() != {"source"}:
                raise InvalidValue("an audit record has a member too many or too few")
            return cls(
                record_id=_text(data["record_id"]),
                event_type=EventType(event["type"]),
                action=Action(event["action"]),
                time=datetime.fromisoformat(event["time"]),
                outcome=Outcome(_whole(event["outcome"])),
                reason=_text(event["reason"]),
                checks=_checks(event["checks"]),
                source=_text(data["log"]["source"]),
                users=tuple(_user(user) for user in _list(data["users"])),
                objects=tuple(_object(item) for item in _list(data["objects"])),
                trace=TraceContext(data["trace_id"], data["span_id"]),
                request_id=_optional_text(data["request_id"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidValue("not an audit record of this version") from error


_RECORD_MEMBERS: Final = frozenset(
    {"version", "record_id", "event", "users", "objects", "log", "trace_id", "span_id", "request_id"}
)
_EVENT_MEMBERS: Final = frozenset({"type", "code", "action", "time", "outcome", "reason", "checks"})
_CHECKS: Final = re.compile(r"[TF]{4}")


# A record that another component sent is searched, indexed and shown like our own: a list or an object where a text
# belongs would reach the database as something that it cannot hold.
def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValue("a member of an audit record is not a text")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _whole(value: object) -> int:
    if type(value) is not int:
        raise InvalidValue("a member of an audit record is not a whole number")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidValue("the users and objects of an audit record are lists")
    return value


def _checks(value: object) -> str | None:
    if value is not None and not _CHECKS.fullmatch(_text(value)):
        raise InvalidValue("the checks of an audit record are four letters T or F")
    return _optional_text(value)


def _user(data: Mapping[str, Any]) -> AuditUser:
    user = AuditUser(**data)
    for text in (user.id, user.role):
        _text(text)
    for optional in (user.name, user.responsible_id, user.access_point):
        _optional_text(optional)
    if type(user.is_initiator) is not bool:
        raise InvalidValue("is_initiator is true or false")
    if user.access_point_type is not None:
        _whole(user.access_point_type)
    return user


def _object(data: dict[str, Any]) -> AuditObject:
    item = AuditObject(**(data | {"object_class": ObjectClass(_whole(data["object_class"]))}))
    for text in (item.identifier_type, item.identifier, item.protocol):
        _text(text)
    _optional_text(item.name)
    if not isinstance(item.details, dict):
        raise InvalidValue("the details of an object are an object")
    return item


# Written out: `dataclasses.asdict` copies deeply and costs more than everything else about a record.
def _user_json(user: AuditUser) -> dict[str, Any]:
    return {
        "id": user.id,
        "role": user.role,
        "is_initiator": user.is_initiator,
        "name": user.name,
        "responsible_id": user.responsible_id,
        "access_point": user.access_point,
        "access_point_type": user.access_point_type,
    }


def _object_json(item: AuditObject) -> dict[str, Any]:
    return {
        "identifier_type": item.identifier_type,
        "identifier": item.identifier,
        "protocol": item.protocol,
        "object_class": int(item.object_class),
        "name": item.name,
        "details": dict(item.details),
    }
