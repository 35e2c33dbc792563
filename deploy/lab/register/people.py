"""Synthetic clients, the same in every lab: no person, no real number, and nothing drawn at random.

BSNs satisfy the 11-proof and all lie between 999990000 and 999999999, a range that is used for tests. Ids of
indications and mediations are fixed, so that documentation, demo and tests can name them:
`50000000-0000-4000-8000-000000000001` is the first indication of zorgkantoor 5000.
"""

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID, uuid5

from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Bsn

ZORGKANTOREN: Final = ("5000", "5001", "5002", "5003")
"""UZOVI codes of the care offices that are initially responsible for somebody here."""
EACH: Final = 12
"""Clients of each care office."""

Entity = dict[str, Any]

_NAMESPACE: Final = UUID("5a1b6c1e-0000-4000-8000-000000000000")
_FIRST_BSN: Final = 999_990_000
_NAMES: Final = ("Beek", "Duin", "Eik", "Gracht", "Haven", "Kade", "Linde", "Meer", "Polder", "Sluis", "Vaart", "Wilg")
_GIVEN: Final = ("Anna", "Bram", "Cato", "Daan", "Els", "Frits", "Griet", "Hugo", "Ida", "Joost", "Klaas", "Lotte")
_ZZP: Final = ("041", "046", "051", "056", "061", "066")


def indication_id(uzovi: str, number: int = 1) -> str:
    """The id of an indication.

    Args:
        uzovi: the care office that is initially responsible.
        number: from 1 to `EACH`.
    """
    return f"{uzovi}0000-0000-4000-8000-{number:012d}"


def mediation_id(uzovi: str, number: int = 1) -> str:
    """The id of a mediation; `number` as for its indication."""
    return f"{uzovi}0000-0000-4000-9000-{number:012d}"


def indications() -> tuple[Entity, ...]:
    """Everything in the Indicatieregister."""
    bsns = _bsns()
    return tuple(_indication(uzovi, number, next(bsns)) for uzovi in ZORGKANTOREN for number in range(1, EACH + 1))


def mediations(holder: str = "5001") -> tuple[Entity, ...]:
    """Everything in the Bemiddelingsregister of one care office.

    Args:
        holder: its UZOVI code.
    """
    return tuple(_mediation(item) for item in indications() if item["initieelVerantwoordelijkZorgkantoor"] == holder)


def _bsns() -> Iterator[str]:
    for number in range(_FIRST_BSN, 1_000_000_000):
        try:
            yield Bsn(str(number)).reveal()
        except InvalidValue:
            continue


def _id(*names: object) -> str:
    return str(uuid5(_NAMESPACE, "/".join(map(str, names))))


def _indication(uzovi: str, number: int, bsn: str) -> Entity:
    key = indication_id(uzovi, number)
    start = f"2024-{1 + number % 12:02d}-01"
    return {
        "wlzindicatieID": key,
        "bsn": bsn,
        "besluitnummer": int(uzovi) * 1_000 + number,
        "soortWlzindicatie": "01",
        "afgiftedatum": start,
        "ingangsdatum": start,
        "einddatum": None,
        "meerzorg": "2",
        "initieelVerantwoordelijkZorgkantoor": uzovi,
        "vervaldatum": None,
        "commentaar": "synthetic",
        "grondslag": [
            {**_ids("grondslagID", key), "grondslag": "02", "volgorde": 1},
        ],
        "geindiceerdZorgzwaartepakket": [
            {
                **_ids("geindiceerdZorgzwaartepakketID", key),
                "zzpCode": _ZZP[number % len(_ZZP)],
                "ingangsdatum": start,
                "einddatum": None,
                "voorkeurClient": "1",
                "instellingVoorkeur": "01234567",
                "financiering": "1",
                "commentaar": None,
            }
        ],
        "beperking": [
            {
                **_ids("beperkingID", key),
                "categorie": "SRD",
                "duur": "2",
                "commentaar": None,
                "beperkingScore": [
                    {
                        **_ids("beperkingScoreID", key, question),
                        "beperkingVraag": f"20{question}",
                        "beperkingScore": str(number % 4),
                        "commentaar": None,
                    }
                    for question in (1, 2, 3)
                ],
            }
        ],
        "stoornis": [
            {
                **_ids("stoornisID", key),
                "grondslag": "02",
                "diagnoseCodelijst": "SOM",
                "diagnoseSubCodelijst": None,
                "ziektebeeldStoornis": "S001",
                "prognose": "3",
                "commentaar": None,
            }
        ],
        "stoornisScore": [
            {
                **_ids("stoornisScoreID", key),
                "stoornisVraag": "101",
                "stoornisScore": str(number % 4),
                "commentaar": None,
            }
        ],
        "wzd": {"wzdID": _id("wzdID", key), "wzdVerklaring": "2", "ingangsdatum": start, "einddatum": None},
        "client": _client(key, number, bsn),
    }


def _client(key: str, number: int, bsn: str) -> Entity:
    client = _id("clientID", key)
    return {
        "id": client,
        "clientID": client,
        "bsn": bsn,
        "geheimeClient": "2",
        **_person(number, 1930 + number),
        "burgerlijkeStaat": "2",
        "leefeenheid": "1",
        "agbcodeHuisarts": "01000000",
        "communicatieVorm": None,
        "taal": "nl",
        "commentaar": None,
        "contactGegevens": [_contact(key, number, clientID=client)],
        "contactPersoon": [
            {
                **_ids("contactPersoonID", key),
                "clientID": client,
                "relatieNummer": "1",
                "volgorde": 1,
                "soortRelatie": "20",
                "rol": "01",
                "relatie": "05",
                **_person(number + 5, 1960 + number),
                "ingangsdatum": "2024-01-01",
                "einddatum": None,
                "contactGegevens": [_contact(key, number, contactPersoonID=_id("contactPersoonID", key))],
            }
        ],
    }


def _person(number: int, born: int) -> Entity:
    given = _GIVEN[number % len(_GIVEN)]
    return {
        "geslachtsnaam": _NAMES[number * 5 % len(_NAMES)],
        "voorvoegselGeslachtsnaam": "van der",
        "partnernaam": None,
        "voorvoegselPartnernaam": None,
        "voornamen": given,
        "roepnaam": given,
        "voorletters": given[0],
        "naamGebruik": "1",
        "geslacht": str(1 + number % 2),
        "geboorteDatum": f"{born}-06-15",
        "geboortedatumGebruik": None,
    }


def _contact(key: str, number: int, **of: str) -> Entity:
    what = next(iter(of))
    return {
        **_ids("contactGegevensID", key, what),
        "clientID": None,
        "contactPersoonID": None,
        **of,
        "adres": {
            **_ids("adresID", key, what),
            "adresSoort": "01",
            "straatnaam": f"{_NAMES[number % len(_NAMES)]}straat",
            "huisnummer": number,
            "huisletter": None,
            "huisnummerToevoeging": None,
            "postcode": "0000ZZ",
            "plaatsnaam": "Voorbeelddorp",
            "landCode": "NL",
            "aanduidingWoonadres": None,
            "ingangsdatum": "2020-01-01",
            "einddatum": None,
        },
        "email": {
            "emailID": _id("emailID", key, what),
            "emailadres": f"synthetic-{number}@example.nl",
            "ingangsdatum": "2020-01-01",
            "einddatum": None,
        },
        "telefoon": {
            "telefoonID": _id("telefoonID", key, what),
            "telefoonnummer": f"08800000{number:02d}",
            "landnummer": "31",
            "ingangsdatum": "2020-01-01",
            "einddatum": None,
        },
    }


def _mediation(item: Entity) -> Entity:
    client = item["client"]
    uzovi = item["initieelVerantwoordelijkZorgkantoor"]
    return {
        "bemiddelingID": mediation_id(uzovi, int(item["wlzindicatieID"][-12:])),
        "wlzIndicatieID": item["wlzindicatieID"],
        "verantwoordelijkZorgkantoor": uzovi,
        "verantwoordelijkheidIngangsdatum": item["ingangsdatum"],
        "verantwoordelijkheidEinddatum": None,
        "client": {
            "clientID": client["clientID"],
            "bsn": client["bsn"],
            "leefeenheid": client["leefeenheid"],
            "huisarts": client["agbcodeHuisarts"],
            "communicatievorm": client["communicatieVorm"],
            "taal": client["taal"],
        },
    }


def _ids(name: str, *of: object) -> Entity:
    # The schema of the field has an older `id` beside each named one, with the same value.
    value = _id(name, *of)
    return {"id": value, name: value}
