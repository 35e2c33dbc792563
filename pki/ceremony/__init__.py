"""Key ceremonies: everything that the offline root does, each with a transcript that can be checked afterwards.

Specification: shared `spec/pki.md`, "Issuing": roots offline, issuing CA online; `pki ceremony` creates both and writes
a transcript. `first` makes a root and an issuing CA; `later` a further issuing CA, a new CRL of the root, or a root by
another root. A ceremony overwrites nothing: each has a folder of its own.
"""

from pki.ceremony.files import CeremonyError
from pki.ceremony.first import CeremonyPlan, hold_ceremony

__all__ = ["CeremonyError", "CeremonyPlan", "hold_ceremony"]
