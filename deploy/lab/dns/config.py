"""Which zones the lab serves, parsed from JSON into frozen values. The format is described in the package docstring."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import dns.exception
import dns.name

from authz.domain.errors import InvalidValue

MAX_ZONES = 500
"""A lab is small; more is a mistake in the file."""
ALGORITHMS = frozenset({8, 13, 14, 15, 16})

Records = Mapping[str, Mapping[str, tuple[str, ...]]]


class ZoneState(StrEnum):
    """How well a zone is signed, as seen from its parent."""

    SECURE = "secure"
    UNSIGNED = "unsigned"
    NO_DS = "no-ds"
    WRONG_DS = "wrong-ds"
    EXPIRED = "expired"


class DenialKind(StrEnum):
    """How a zone proves that something is not there."""

    NSEC = "nsec"
    NSEC3 = "nsec3"
    NSEC3_OPT_OUT = "nsec3-opt-out"


@dataclass(frozen=True, slots=True)
class ZoneSpec:
    """One zone to build.

    Args:
        name: absolute.
        records: owner (relative, `@` for the zone) -> type -> values in presentation form.
        iterations: extra NSEC3 hash rounds; 0 except to try what others did wrong.
    """

    name: dns.name.Name
    records: Records = field(default_factory=dict)
    state: ZoneState = ZoneState.SECURE
    algorithm: int = 13
    denial: DenialKind = DenialKind.NSEC
    iterations: int = 0


def parse_config(text: str) -> tuple[ZoneSpec, ...]:
    """Read the JSON configuration.

    Raises:
        InvalidValue: names the zone and the key that is wrong.
    """
    try:
        document = json.loads(text)
    except ValueError as problem:
        raise InvalidValue(f"not JSON: {problem}") from problem
    if not isinstance(document, dict) or set(document) != {"zones"} or not isinstance(document["zones"], list):
        raise InvalidValue('expected an object with one key, "zones", holding a list')
    if len(document["zones"]) > MAX_ZONES:
        raise InvalidValue(f"more than {MAX_ZONES} zones")
    zones = tuple(_zone(i, entry) for i, entry in enumerate(document["zones"]))
    if len({zone.name for zone in zones}) != len(zones):
        raise InvalidValue("a zone is named twice")
    return zones


def _zone(index: int, entry: Any) -> ZoneSpec:  # noqa: ANN401  parsed JSON, any shape
    where = f"zones[{index}]"
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InvalidValue(f'{where}: expected an object with a "name"')
    unknown = set(entry) - {"name", "records", "state", "algorithm", "denial", "iterations"}
    if unknown:
        raise InvalidValue(f"{where}: unknown key {', '.join(sorted(unknown))}")
    algorithm = entry.get("algorithm", 13)
    if algorithm not in ALGORITHMS:
        raise InvalidValue(f"{where}.algorithm: expected one of {sorted(ALGORITHMS)}")
    try:
        return ZoneSpec(
            name=dns.name.from_text(entry["name"]).canonicalize(),
            records=_records(f"{where}.records", entry.get("records", {})),
            state=ZoneState(entry.get("state", ZoneState.SECURE)),
            algorithm=algorithm,
            denial=DenialKind(entry.get("denial", DenialKind.NSEC)),
            iterations=int(entry.get("iterations", 0)),
        )
    except InvalidValue:
        raise
    except (dns.exception.DNSException, ValueError, TypeError) as problem:
        raise InvalidValue(f"{where}: {problem}") from problem


def _records(where: str, entry: Any) -> Records:  # noqa: ANN401  parsed JSON, any shape
    if not isinstance(entry, dict):
        raise InvalidValue(f"{where}: expected an object of owner names")
    records: dict[str, dict[str, tuple[str, ...]]] = {}
    for owner, value in entry.items():
        sets = {"A": value} if isinstance(value, list) else value
        if not isinstance(sets, dict) or not all(
            isinstance(values, list) and values and all(isinstance(v, str) for v in values) for values in sets.values()
        ):
            raise InvalidValue(f"{where}.{owner}: expected a list of addresses or an object of type to list of values")
        records[owner] = {rdtype.upper(): tuple(values) for rdtype, values in sets.items()}
    return records
