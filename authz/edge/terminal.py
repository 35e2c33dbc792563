"""What of a text may go to a terminal: nothing that moves its cursor, changes its colours or hides what stands there.

For everything that a command line prints of what it did not write itself: fields of a database that somebody else may
write, certificates, answers of others. JSON needs none of it, being ASCII with escapes.
"""


def one_line(text: str) -> str:
    """A text within a line: control characters, ends of lines and marks that turn the direction of writing spelled out.

    Printable characters stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def lines(text: str) -> str:
    """A text of several lines, each of them as `one_line`."""
    return "\n".join(one_line(line) for line in text.split("\n"))
