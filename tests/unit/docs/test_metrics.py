"""docs/reference/metrics.md names every metric with its labels, and none that is gone."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
NAME = re.compile(r"sluis_(?:pki|authz|agent)_[a-z_]+")
ROW = re.compile(r"^\| `(sluis_[a-z_]+)` \|([^|\n]*)\|", re.MULTILINE)


def told() -> Iterator[tuple[str, frozenset[str] | None]]:
    """Every metric that the code names, with its labels where they stand beside it."""
    for package in ("authz", "pki", "trust_agent"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                    yield node.value, None
                if isinstance(node, ast.Tuple) and len(node.elts) == 3:
                    name, labels, _ = node.elts
                    if (
                        isinstance(name, ast.Constant)
                        and isinstance(labels, ast.Dict)
                        and str(name.value)[:6] == "sluis_"
                    ):
                        keys = (key.value for key in labels.keys if isinstance(key, ast.Constant))
                        yield str(name.value), frozenset(map(str, keys))


def test_the_page_names_what_the_code_tells() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    described = {name: frozenset(re.findall(r"`([a-z_]+)`", labels)) for name, labels in ROW.findall(page)}
    found = list(told())
    assert {name for name, _ in found} == set(described)
    wrong = {name: (labels, described[name]) for name, labels in found if labels not in (None, described[name])}
    assert wrong == {}
