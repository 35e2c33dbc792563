"""Writes the generated reference pages: `python -m docs.reference`. A test fails when they are not up to date."""

from docs.reference.pages import DOCS, pages

for name, text in pages().items():
    (DOCS / name).write_text(text, encoding="utf-8")
