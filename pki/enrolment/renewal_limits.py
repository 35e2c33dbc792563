"""How often a holder may renew by himself. Every renewal ends in an entry of the CRL, which all others carry.

Counted in the register for (environment, identity), so that it holds over instances and restarts, and whatever key or
certificate the asker has by now. What an operator renewed counts too, but an operator is never refused: he was asked.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.store.register import Register, Registered

DAY: Final = timedelta(days=1)
MONTH: Final = timedelta(days=30)
UNSIGNED_PER_DAY: Final = 10
"""Renewals of one party that come to nothing in a day by a fault of the authority, before its holder has to wait.

Each has a serial number that goes on the CRL. There are more of them than of the others: it is not the holder's doing.
"""


class TooOften(Refused):
    """Not yet.

    Attributes:
        seconds: until it may be tried again.
    """

    def __init__(self, reason: Reason, detail: str, wait: timedelta) -> None:
        super().__init__(reason, detail)
        self.seconds = int(wait.total_seconds()) + 1


@dataclass(frozen=True, slots=True)
class RenewalLimits:
    """The limits of one installation.

    Attributes:
        after: age that a certificate has before its holder renews it; half its life when that is less.
        per_day: renewals in a day. One that came to nothing by a fault of the authority, and was never signed, counts
            against a limit of its own.
        per_month: renewals in thirty days, without those.
    """

    after: timedelta
    per_day: int
    per_month: int

    async def check(self, register: Register, old: Registered, at: datetime) -> None:
        """Whether the holder of a certificate may renew it now.

        Args:
            register: in the transaction of the intent.
            old: his certificate.
            at: the moment.

        Raises:
            TooOften: RENEWAL_TOO_SOON or RENEWALS_EXHAUSTED.
        """
        ripe = old.not_before + min(self.after, (old.not_after - old.not_before) / 2)
        if at < ripe:
            raise TooOften(
                Reason.RENEWAL_TOO_SOON,
                "This certificate is too young to be renewed; if its key has to go now, ask an operator.",
                ripe - at,
            )
        begun = await register.renewals(old.environment, old.identifier, at - MONTH)
        made = [moment for moment, unsigned in begun if not unsigned]
        lately = [moment for moment in made if moment > at - DAY]
        failed = [moment for moment, unsigned in begun if unsigned and moment > at - DAY]
        for moments, most, window, what in (
            (lately, self.per_day, DAY, "renewed"),
            (made, self.per_month, MONTH, "renewed"),
            (failed, UNSIGNED_PER_DAY, DAY, "was failed by this authority"),
        ):
            if len(moments) >= most:
                raise TooOften(
                    Reason.RENEWALS_EXHAUSTED,
                    f"This party {what} {most} times within {window.days} days; ask an operator if it must be now.",
                    moments[most - 1] + window - at,
                )
