"""How old what is said about revoked certificates may be: declared once, for every place that judges it."""

from datetime import timedelta
from typing import Final

MAX_CRL_AGE: Final = timedelta(hours=1)
"""shared `spec/pki.md`, "Validating" rule 4: the field's rule."""
MAX_AUTHORITY_CRL_AGE: Final = timedelta(days=190)
"""A root is offline and signs its CRL twice a year, in a ceremony."""
