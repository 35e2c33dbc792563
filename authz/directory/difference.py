"""What an import changes, by id and field: the same for whoever reads it before as for whoever reads it afterwards."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from authz.directory.model import Service
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier
from authz.participants.model import Credential, Participant


class Change(StrEnum):
    """What happens to one item."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field, before and after, as JSON values; `before` is None for a new item."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ItemChange:
    """One deelnemer or service.

    Attributes:
        id: `uzovi:5000`, or `<gegevensdienstId>/<systeemrolcode>`.
        change: what happens to it.
        fields: those that differ; for a new item those that have a value.
    """

    id: str
    change: Change
    fields: tuple[FieldChange, ...] = ()

    def document(self) -> dict[str, Any]:
        """For programs."""
        described = {each.name: {"before": each.before, "after": each.after} for each in self.fields}
        return {"id": self.id, "change": self.change.value, "fields": described}

    def lines(self) -> Iterator[str]:
        """For people: the item, and for a changed one each field on a line of its own."""
        yield f"{self.change.value:<9}  {self.id}"
        if self.change is Change.CHANGED:
            yield from (
                f"             {each.name}: {_said(each.before)} -> {_said(each.after)}" for each in self.fields
            )


def key_of(item: Participant | Service) -> str:
    """What an item is known by within its environment."""
    return item.id.subject if isinstance(item, Participant) else f"{item.gegevensdienst_id}/{item.system_role}"


def differences(
    wanted: Sequence[Participant | Service], known: Sequence[Participant | Service]
) -> Iterator[ItemChange]:
    """What bringing `known` to `wanted` changes, in the order of `wanted`.

    Raises:
        InvalidValue: an item stands twice in `wanted`.
    """
    before: Mapping[tuple[str, str], Participant | Service] = {
        (item.environment.value, key_of(item)): item for item in known
    }
    seen: set[str] = set()
    for item in wanted:
        key = key_of(item)
        if key in seen:
            raise InvalidValue(f"{key} stands twice in the file: which of the two counts is not said")
        seen.add(key)
        old = before.get((item.environment.value, key))
        if old == item:
            yield ItemChange(key, Change.UNCHANGED)
            continue
        was, now = {} if old is None else _values(old), _values(item)
        changed = tuple(
            FieldChange(name, was.get(name), value)
            for name, value in now.items()
            if (value not in ("", [], None) if old is None else value != was.get(name))
        )
        yield ItemChange(key, Change.ADDED if old is None else Change.CHANGED, changed)


def _values(item: Participant | Service) -> dict[str, Any]:
    # The key says what the identity of the item is; repeating it as a field says nothing.
    return {
        each.name: _plain(getattr(item, each.name)) for each in fields(item) if each.name not in {"id", "environment"}
    }


def _plain(value: object) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, Identifier):
        return value.subject
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Credential):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _said(value: object) -> str:
    return json.dumps(value, ensure_ascii=True)  # a name may hold what a terminal obeys
