"""How domains are checked, as the settings of the authority and of the authorization server both say it."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from authz.edge.settings import ExistingFile, Settings
from pki.dnssec.choosing import is_loopback, parse_address


def _address(text: str) -> str:
    parse_address(text)
    return text


ResolverAddress = Annotated[str, AfterValidator(_address)]
"""`<IP address>[:<port>]`; a name is refused, because it would have to be resolved first."""


class DnssecSettings(Settings):
    """Who validates, whom to ask, and what to trust."""

    mode: Literal["validate", "resolver-ad"] = "validate"
    """`validate`: every signature, by ourselves. `resolver-ad`: the word of a validating resolver on the loopback."""
    resolvers: Annotated[tuple[ResolverAddress, ...], Field(max_length=8)] = ()
    """`<IP address>[:<port>]` of resolvers that pass DNSSEC records on."""
    anchors: ExistingFile | None = None
    """DS or DNSKEY records, one a line; leave out for the public root, whose keys are then followed (RFC 5011)."""
    check_seconds: Annotated[int, Field(ge=60, le=7 * 24 * 3600)] = 3600
    """How often each domain is looked at."""

    @model_validator(mode="after")
    def _on_the_loopback(self) -> Self:
        if self.mode == "resolver-ad" and not all(is_loopback(text) for text in self.resolvers):
            raise ValueError("mode resolver-ad believes the resolver: expected resolvers on the loopback only")
        return self
