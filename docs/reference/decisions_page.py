"""The index of the decision records, made from their titles."""

import re
from pathlib import Path
from typing import Final

from docs.reference.text import MADE, prose

_TITLE: Final = re.compile(r"# ([0-9]{4})\. (.+)")
_AREAS: Final = (
    (1, "General"),
    (10, "Certificates"),
    (20, "DNSSEC, doctor and notices"),
    (30, "Audit and store"),
    (40, "Policy"),
    (50, "Authorization server"),
    (60, "Edge and trust agent"),
    (70, "GraphQL"),
    (80, "Lab, demo and measurements"),
    (100, "Keys of the authority, onboarding, DANE and OCSP"),
)
_HEAD: Final = f"""# Decision records

{MADE}
One file for each choice that a reader would ask "why" about: `NNNN-short-title.md`, with *Context*, *Decision*,
*Consequences*. A record is not rewritten when the choice changes; a new one says that it replaces or amends it.
"""


class BadTitle(Exception):  # noqa: N818  names what is wrong
    """A record does not begin with its number and title, or has the number of another."""


def decisions_page(folder: Path) -> str:
    """The index.

    Args:
        folder: with the records.

    Raises:
        BadTitle: a record does not begin with `# <its number>. <title>`, or two have one number.
    """
    lines, area, seen = [_HEAD], "", set[str]()
    for path in sorted(folder.glob("[0-9]*.md")):
        match = _TITLE.fullmatch(path.read_text(encoding="utf-8").split("\n", 1)[0])
        if match is None or not path.name.startswith(f"{match[1]}-"):
            raise BadTitle(f"{path.name}: expected its first line to be `# {path.name[:4]}. <title>`")
        if match[1] in seen:
            raise BadTitle(f"{path.name}: there is another record with this number")
        seen.add(match[1])
        begins, name = max(entry for entry in _AREAS if entry[0] <= int(match[1]))
        if name != area:
            area = name
            lines += [f"\n## {area} (from {begins:04})\n", "| number | decision |", "|---|---|"]
        lines.append(f"| [{match[1]}]({path.name}) | {prose(match[2])} |")
    return "\n".join(lines) + "\n"
