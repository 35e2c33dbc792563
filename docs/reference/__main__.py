"""Writes the generated reference pages: `python -m docs.reference`. A test fails when they are not up to date."""

from docs.reference.pages import FOLDER, pages

for name, text in pages().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
