"""Writing TOML, as far as the settings files of the lab need it: the standard library only reads."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def to_toml(document: Mapping[str, Any]) -> str:
    """Render a document; `tomllib.loads` gives it back.

    Args:
        document: texts, numbers, booleans, paths, lists of those, tables, and lists of tables.

    Raises:
        TypeError: a value that TOML has no form for.
    """
    return "\n".join(_table(document, ())).lstrip("\n") + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if not _is_table(value) and not _is_tables(value)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        below = (*path, _key(key))
        if _is_table(value):
            lines += ["", f"[{'.'.join(below)}]", *_table(value, below)]
        elif _is_tables(value):
            for item in value:
                lines += ["", f"[[{'.'.join(below)}]]", *_table(item, below)]
    return lines


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _text(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return _text(str(value))
    if isinstance(value, Sequence):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"TOML has no form for {type(value).__name__}")


def _text(text: str) -> str:
    # A JSON text is a TOML basic string, as long as nothing beyond ASCII is escaped (TOML knows no surrogate pairs).
    return json.dumps(text, ensure_ascii=False)
