"""The address book in memory: exact lookup of an audience, and the listing that deelnemers read.

Specification: shared `domain.md`, "Address book". The listing has Zorg-AB's member names, unchanged.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from authz.directory.model import DirectoryRepository, Service, parse_endpoint
from authz.domain.errors import SluisError
from authz.grants.audience import Audience
from authz.participants.model import Environment


class DirectoryContradiction(SluisError):  # noqa: N818  says what is so
    """Two services share an audience but not what it is; nothing of the stored address book is used."""


class AddressBook:
    """Every service of one environment.

    Args:
        repository: where services are kept.
        environment: only services of this environment exist here.
    """

    def __init__(self, repository: DirectoryRepository, environment: Environment) -> None:
        self._repository = repository
        self._environment = environment
        self._audiences: Mapping[str, Audience] = {}
        self.services: tuple[Service, ...] = ()
        self.version = -1

    async def refresh(self) -> None:
        """Read the services again.

        Raises:
            DirectoryContradiction: the snapshot of before stays in use.
        """
        version, stored = await self._repository.load()
        services = tuple(service for service in stored if service.environment is self._environment)
        self._audiences, self.services, self.version = audiences_of(services), services, version

    def find(self, url: str) -> Audience | None:
        """The audience with exactly this text, or None.

        Raises:
            InvalidValue: the text could not be the URL of any service.
        """
        found = self._audiences.get(url)
        if found is None:
            parse_endpoint(url)  # only to tell a malformed audience from an unknown one
        return found


def audiences_of(services: Iterable[Service]) -> dict[str, Audience]:
    """Audiences by URL. Services with several system roles may share one, if they agree on what it is.

    Raises:
        DirectoryContradiction: they do not.
    """
    audiences: dict[str, Audience] = {}
    for service in services:
        audience = Audience(
            url=service.audience,
            host=service.host,
            organization=service.organisation,
            function=service.function.value,
            environment=service.environment.value,
            register=service.register,
        )
        if audiences.setdefault(audience.url, audience) != audience:
            raise DirectoryContradiction("two services share an audience but differ in organisation or function")
    return audiences


def electronic_service(service: Service) -> dict[str, Any]:
    """One record of the listing, in the shape of Zorg-AB's `ElectronicService`."""
    return {
        "gegevensdienstId": service.gegevensdienst_id,
        "systeemrolcode": service.system_role.value,
        "authorizationEndpointuri": service.authorization_endpoint,
        "tokenEndpointuri": service.token_endpoint,
        "resourceEndpointuri": service.resource_endpoint,
    }
