"""The generated reference pages say what the code says, and leave nothing out."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from authz.edge.settings import Settings
from docs.reference.decisions_page import BadTitle, decisions_page
from docs.reference.pages import DOCS, pages
from docs.reference.settings_pages import Undescribed, settings_page
from docs.reference.text import prose


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_reference_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == pages()[name], "run: python -m docs.reference"


class Kind(StrEnum):
    """Two values."""

    ONE = "one"
    OTHER = "other"


class InFile(Settings):
    """Held in a file."""

    held: Literal["file"] = "file"
    """Where."""
    key: Annotated[int, Field(ge=1, le=9)]
    """Which."""


class InToken(Settings):
    """Held in a token."""

    held: Literal["token"]
    """Where."""
    pin: Annotated[float, Field(gt=0)] = 2.0
    """Secret | of <somebody>."""


class Whole(Settings):
    """All."""

    parts: Annotated[tuple[Annotated[InFile | InToken, Field(discriminator="held")], ...], Field(max_length=3)] = ()
    kind: Kind | None = None
    """Of two."""


def test_every_member_of_a_union_has_its_section_types_and_ranges() -> None:
    page = settings_page("whole", Whole)
    assert '## `[[parts]]` with `held = "file"`, or without it' in page
    assert '## `[[parts]]` with `held = "token"`\n' in page
    assert "| `key` | integer, 1 to 9 | required | Which. |" in page
    assert "| `pin` | number above 0 | `2` | Secret \\| of &lt;somebody&gt;. |" in page
    assert '| `kind` | `"one"`, `"other"` | none | Of two. |' in page


def test_a_key_without_a_description_is_named() -> None:
    class Silent(Whole):
        """Says too little."""

        port: int

    with pytest.raises(Undescribed, match=r"silent: no description of port$"):
        settings_page("silent", Silent)


def test_the_real_union_of_issuing_authorities_is_documented() -> None:
    page = pages()["reference/settings-pki.md"]
    for member, key in (("file", "passphrase_file"), ("pkcs11", "pin_file"), ("none", "signer")):
        section = page.split(f'## `[[issuers]]` with `signer = "{member}"`')[1].split("\n## ")[0]
        assert f"| `{key}` |" in section


def test_what_looks_like_a_tag_is_shown_and_code_is_left_alone() -> None:
    assert (
        prose("Private key <root>.key.pem or `<root>.key.pem`.")
        == "Private key &lt;root&gt;.key.pem or `<root>.key.pem`."
    )
    for name, text in pages().items():
        outside = re.sub(r"```.*?```|`[^`\n]*`|<!--.*?-->", "", text, flags=re.DOTALL)
        assert not re.search(r"<[a-z]", outside), name


def test_a_decision_record_without_its_number_is_refused(tmp_path: Path) -> None:
    record = tmp_path / "0042-an-answer.md"
    record.write_text("# 0042. An answer\n\n## Context\n")
    assert "| [0042](0042-an-answer.md) | An answer |" in decisions_page(tmp_path)
    record.write_text("# 0041. An answer\n")
    with pytest.raises(BadTitle, match="0042-an-answer"):
        decisions_page(tmp_path)


def test_two_decision_records_with_one_number_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0042-an-answer.md").write_text("# 0042. An answer\n")
    (tmp_path / "0043-another.md").write_text("# 0043. Another\n")
    assert decisions_page(tmp_path).count("| [00") == 2
    (tmp_path / "0042-a-question.md").write_text("# 0042. A question\n")
    with pytest.raises(BadTitle, match="another record with this number"):
        decisions_page(tmp_path)


def test_links_between_pages_lead_somewhere() -> None:
    missing = [
        f"{path.relative_to(DOCS)} -> {target}"
        for path in [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8").replace("\n", " "))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert missing == []
