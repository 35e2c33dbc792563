"""Who the operators are: `[[operators]]` of `pki.toml`, as `pki operator new` prints it."""

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from authz.edge.settings import Settings
from pki.enrolment.operators.signing import check_public

NAME: Final = r"[a-z][a-z0-9-]{0,31}"


class OperatorSettings(Settings):
    """An operator and the key that proves him."""

    name: Annotated[str, StringConstraints(pattern=rf"^{NAME}$")]
    """Name in records and in `pki code list`."""
    public_key: Annotated[str, StringConstraints(max_length=200), AfterValidator(check_public)]
    """From `pki operator new`: base64 of the public key (ECDSA P-256, subjectPublicKeyInfo)."""
    retired: bool = False
    """He acts no more and what he signed gets nobody a certificate any more; it can still be verified."""


def require_distinct(operators: Sequence[OperatorSettings]) -> None:
    """Each name and each key once: two names with one key would be one person.

    Raises:
        ValueError: something is there twice.
    """
    for what, values in (
        ("name", [item.name for item in operators]),
        ("public_key", [item.public_key for item in operators]),
    ):
        if len(set(values)) != len(values):
            raise ValueError(f"operators: expected a different {what} for each")
