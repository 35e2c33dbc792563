"""The chain of trust as a tree for a terminal: each zone below the one that vouches for it, coloured by state."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from pki.dnssec.advice import advise, warnings
from pki.dnssec.model import ChainLink, DnssecResult, DnssecState

COLOURS: Final = {
    DnssecState.SECURE: "green",
    DnssecState.INSECURE: "yellow",
    DnssecState.BOGUS: "bold red",
    DnssecState.INDETERMINATE: "magenta",
    DnssecState.UNREACHABLE: "red",
}
_MARKS: Final = dict.fromkeys(DnssecState, "✗") | {DnssecState.SECURE: "✓", DnssecState.INSECURE: "~"}

_PLAIN_MARKS: Final = dict.fromkeys(DnssecState, "x") | {DnssecState.SECURE: "ok", DnssecState.INSECURE: "~"}


def render(result: DnssecResult, at: datetime, *, encoding: str = "utf-8") -> Group:
    """The tree, and below it the outcome and what to do.

    What stands in DNS is shown as text: nothing of it is read as markup or as a control code.

    Args:
        result: what was found.
        at: the moment.
        encoding: of where it is shown; one that lacks the marks gets plain ones.
    """
    marks = _MARKS if _holds(encoding) else _PLAIN_MARKS
    tree = Tree(Text(result.name or "(no name)", style="bold"))
    levels: dict[int, Tree] = {-1: tree}
    for link in result.chain:
        above = max(depth for depth in levels if depth < link.depth)
        node = levels[above if link.depth not in levels else link.depth].add(_line(link, marks))
        levels = {depth: found for depth, found in levels.items() if depth <= link.depth}
        levels.setdefault(link.depth, node)
    if result.state not in {link.state for link in result.chain} | {DnssecState.SECURE}:
        # The step at which the chain broke made no link; its message is the link.
        levels[max(levels)].add(_marked(result.state, result.message, marks))
    return Group(tree, *_outcome(result, at))


def as_json(result: DnssecResult, at: datetime) -> dict[str, Any]:
    """The same for programs."""
    advice = advise(result)
    return {
        "name": result.name,
        "state": result.state.value,
        "answer": result.answer.value,
        "message": result.message,
        "valid_until": result.valid_until.isoformat(),
        "records": list(result.records),
        "advice": None if advice is None else {"where": advice.where, "what": advice.what},
        "warnings": list(warnings(result, at)),
        "chain": [
            {
                "kind": link.kind.value,
                "depth": link.depth,
                "name": link.name,
                "state": link.state.value,
                "detail": link.detail,
                "zone": link.zone,
                "key_tag": link.key_tag,
                "algorithm": link.algorithm,
                "expires": link.expires.isoformat() if link.expires else None,
            }
            for link in result.chain
        ],
    }


def _line(link: ChainLink, marks: Mapping[DnssecState, str]) -> Text:
    text = _marked(link.state, link.detail, marks)
    if link.key_tag is not None:
        text.append(f"  key {link.key_tag}, algorithm {link.algorithm}", style="dim")
    if link.expires is not None:
        text.append(f", until {link.expires:%Y-%m-%d %H:%M}Z", style="dim")
    return text


def _marked(state: DnssecState, words: str, marks: Mapping[DnssecState, str]) -> Text:
    return Text.assemble((f"{marks[state]} ", COLOURS[state]), printable(words))


def _holds(encoding: str) -> bool:
    try:
        "".join(_MARKS.values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _outcome(result: DnssecResult, at: datetime) -> list[Text]:
    lines = [Text.assemble((result.state.value, COLOURS[result.state]), f": {printable(result.message)}")]
    lines += [Text(f"  {printable(record)}", style="dim") for record in result.records]
    advice = advise(result)
    if advice is not None:
        lines.append(Text.assemble(("where: ", "bold"), printable(advice.where)))
        lines.append(Text.assemble(("to do: ", "bold"), printable(advice.what)))
    lines += [Text.assemble(("soon:  ", "bold yellow"), printable(warning)) for warning in warnings(result, at)]
    return lines


def printable(text: str) -> str:
    """`text` without anything that a terminal would obey: names and records come from whoever runs a zone."""
    return "".join(character if character.isprintable() else "�" for character in text)
