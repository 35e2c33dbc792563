"""By the settings: what checks names, and what follows the keys of the public root. Wired here and nowhere else.

The keys of the root are followed (RFC 5011) by the process that serves, and only with the public root and own
validation: a configured anchor stays what was configured, and with `resolver-ad` the resolver follows its own. Every
other process, such as a command, reads what that process keeps.
"""

from dataclasses import dataclass
from pathlib import Path

from authz.domain.clock import Clock
from authz.domain.errors import InvalidValue
from pki.dnssec.anchors import TrustAnchor, read_anchors, root_anchors
from pki.dnssec.apart import ApartValidator
from pki.dnssec.choosing import DnssecMode, choose_validator, parse_address
from pki.dnssec.keeping import AnchorKeeper, Tell
from pki.dnssec.rollover import AnchorFile
from pki.dnssec.settings import DnssecSettings
from pki.dnssec.transport import Resolver


@dataclass(frozen=True, slots=True)
class Following:
    """How the process that serves follows the keys of the root.

    Attributes:
        clock: the time.
        tell: hears of changes.
    """

    clock: Clock
    tell: Tell


@dataclass(frozen=True, slots=True)
class OpenDnssec:
    """What was opened.

    Attributes:
        validator: tells the standing of a name.
        keeper: follows the keys of the root, where that is done; to be run.
    """

    validator: ApartValidator
    keeper: AnchorKeeper | None = None


def open_dnssec(chosen: DnssecSettings, anchor_state: Path, following: Following | None = None) -> OpenDnssec:
    """DNSSEC by the settings.

    Args:
        chosen: with at least one resolver.
        anchor_state: where the process that serves keeps the keys of the public root.
        following: in that process; None to read that file before each check, and never write it.

    Raises:
        InvalidValue: an address, the mode, the anchors or the anchor file cannot be used. Without `following` a check
            raises it too, when the anchor file was damaged meanwhile.
    """
    addresses = [parse_address(text) for text in chosen.resolvers]
    mode = DnssecMode(chosen.mode)
    if chosen.anchors is not None:
        fixed = _configured(chosen.anchors)
        return OpenDnssec(choose_validator(mode, addresses, lambda: fixed, zones=[a.zone for a in fixed]))
    if following is None or mode is not DnssecMode.VALIDATE:
        return OpenDnssec(choose_validator(mode, addresses, lambda: _followed(anchor_state)))
    keeper = AnchorKeeper(anchor_state, root_anchors(), Resolver(addresses), following.clock, tell=following.tell)
    return OpenDnssec(choose_validator(mode, addresses, keeper.anchors), keeper)


def _configured(path: Path) -> tuple[TrustAnchor, ...]:
    try:
        return read_anchors(path)
    except OSError as error:
        raise InvalidValue("the file with trust anchors cannot be read") from error


def _followed(path: Path) -> tuple[TrustAnchor, ...]:
    try:
        return AnchorFile(path, root_anchors()).anchors()
    except OSError as error:
        raise InvalidValue("the file that follows the keys of the root cannot be read") from error
