"""Text of the code as Markdown: what stands between backticks is left alone, the rest shows as it reads."""

from typing import Final

MADE: Final = "<!-- Made by `python -m docs.reference`; edit the code, not this page. -->\n"


def prose(text: str | None) -> str:
    """A docstring or help text as a paragraph or the cell of a table, in one line."""
    parts = " ".join((text or "").split()).split("`")
    # Outside of code, <root> would be an HTML tag and vanish.
    parts[::2] = [part.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for part in parts[::2]]
    return "`".join(parts).replace("|", "\\|")


def code(value: object) -> str:
    """A value as code in the cell of a table."""
    return f"`{value}`".replace("|", "\\|")
