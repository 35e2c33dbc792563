"""Examples of settings in the guides are settings: a key that was renamed since fails here, not at a reader's desk."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from authz.directory.scheme import SchemeFile
from authz.edge.settings import SettingsError, check_settings
from authz.settings import AuthzSettings
from tests.fakes.certificates import FakeAuthority
from trust_agent.settings import AgentSettings

DOCS = Path(__file__).parents[3] / "docs"
CERTIFICATE = FakeAuthority().issuing.pem


def examples(name: str) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```$", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_every_example_of_toml_parses(path: Path) -> None:
    for example in examples(str(path.relative_to(DOCS))):
        tomllib.loads(example)


@pytest.mark.parametrize(
    ("name", "number", "model"),
    [
        ("how-to/run-the-authorization-server.md", 0, AuthzSettings),
        ("how-to/run-the-authorization-server.md", 1, SchemeFile),
        ("how-to/run-a-trust-agent.md", 0, AgentSettings),
    ],
)
def test_a_whole_file_is_taken_when_the_files_that_it_names_are_there(
    name: str, number: int, model: type[BaseModel], tmp_path: Path
) -> None:
    example = examples(name)[number]
    for file in set(re.findall(r'"([\w.-]+\.(?:pem|key|pass|graphql))"', example)):
        (tmp_path / file).write_bytes(CERTIFICATE)
    check_settings(model, tomllib.loads(example), tmp_path / "example.toml")
    # Near miss: a key that nobody knows.
    with pytest.raises(SettingsError, match="unknown key"):
        check_settings(model, tomllib.loads(f"nobody_knows = 1\n{example}"), tmp_path / "example.toml")
