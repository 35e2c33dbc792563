"""Operators with keys of their own, and settings that know them."""

from dataclasses import dataclass, field

from pki.enrolment.operators.keyfile import settings_block
from pki.enrolment.operators.settings import OperatorSettings
from pki.enrolment.operators.signing import KIND, public_text
from pki.settings import PkiSettings
from pki.signing.signer import KeySigner, new_key


@dataclass(frozen=True)
class Person:
    """Somebody with a key."""

    name: str
    key: KeySigner = field(default_factory=lambda: KeySigner(new_key(KIND)))

    def settings(self, *, retired: bool = False) -> OperatorSettings:
        return OperatorSettings(name=self.name, public_key=public_text(self.key), retired=retired)

    @property
    def block(self) -> str:
        return settings_block(self.name, public_text(self.key))


ANNA_KEY, BRAM_KEY, CLARA_KEY = Person("anna"), Person("bram"), Person("clara")
"""Clara stands in no settings unless a test says so."""


def needing_two(settings: PkiSettings, *operators: OperatorSettings) -> PkiSettings:
    """Settings that ask for two persons, as production does; of Anna and Bram when nobody is named."""
    known = operators or (ANNA_KEY.settings(), BRAM_KEY.settings())
    enrolment = settings.enrolment.model_copy(update={"two_person": True})
    return settings.model_copy(update={"enrolment": enrolment, "operators": known})
