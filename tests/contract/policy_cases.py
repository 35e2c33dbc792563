"""The policy cases: a base document, what is changed in it, and the decision that must come out.

`cases/access.json` and `cases/token.json` hold the cases, `cases/base/` the documents they start from (the
indication's is the published QIR-0001-ZKi as the agent asks about it).
"""

import copy
import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One case."""

    entrypoint: str
    title: str
    document: Any
    allow: bool
    reasons: tuple[str, ...]
    policy_id: str | None

    def __str__(self) -> str:
        return f"{self.entrypoint}: {self.title}"


@cache
def base(name: str) -> Any:
    """A base document; to be copied before it is changed."""
    return json.loads((_CASES / "base" / f"{name}.json").read_text(encoding="utf-8"))


def cases() -> list[Case]:
    """All cases."""
    found = []
    for entrypoint in ("access", "token"):
        for item in json.loads((_CASES / f"{entrypoint}.json").read_text(encoding="utf-8")):
            document = copy.deepcopy(base(item["base"]))
            for change in item["change"]:
                document = _changed(document, change)
            found.append(
                Case(
                    f"{entrypoint}/decision",
                    item["title"],
                    document,
                    item["allow"],
                    tuple(item["reasons"]),
                    item.get("policy_id"),
                )
            )
    return found


def _changed(document: Any, change: dict[str, Any]) -> Any:
    path = (change["set"] if "set" in change else change["remove"]).split("/")[1:]
    if not path:
        return change["to"]
    target = document
    for step in path[:-1]:
        target = target[int(step) if isinstance(target, list) else step]
    last = int(path[-1]) if isinstance(target, list) else path[-1]
    if "set" in change:
        target[last] = change["to"]
    else:
        del target[last]
    return document


_ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e300,
    "",
    "5000",
    "é\u2028\U0001f600",
    [],
    {},
    [[]],
    {"and": []},
)


def mutants(count: int, seed: int) -> list[Case]:
    """Documents with a few random changes anywhere; what they must give is not known, only that engines agree."""
    rng = random.Random(seed)  # noqa: S311  mutants, not secrets
    made = []
    for number in range(count):
        name = rng.choice(("indication", "indication", "mediation", "token"))
        document = copy.deepcopy(base(name))
        for _ in range(rng.randint(1, 3)):
            _mutate(document, rng)
        entrypoint = "token/decision" if name == "token" else "access/decision"
        made.append(Case(entrypoint, f"mutant {number}", document, allow=False, reasons=(), policy_id=None))
    return made


def _mutate(document: Any, rng: random.Random) -> None:
    target = document
    while True:
        keys = list(range(len(target))) if isinstance(target, list) else list(target)
        if not keys:
            return
        key = rng.choice(keys)
        child = target[key]
        if isinstance(child, (dict, list)) and child and rng.random() < 0.85:
            target = child
            continue
        action = rng.random()
        if action < 0.25:
            del target[key]
        elif action < 0.4 and isinstance(target, list):
            target.append(copy.deepcopy(child))
        else:
            target[key] = copy.deepcopy(rng.choice(_ODD))
        return
