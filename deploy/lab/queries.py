"""The consultations that the demo, the bench and the tests send to the Indicatieregister, and their near misses.

`indication` asks for what the published template QIR-0001-ZKi asks for: the same fields under the same two filters, in
our own wording. Each near miss differs from it in one thing only, so that a refusal can have one cause only.
"""

import json
import os
from pathlib import Path
from typing import Any, Final

WHERE: Final = """{
  wlzindicatieID: {eq: $wlzIndicatieID}
  initieelVerantwoordelijkZorgkantoor: {eq: $initieelVerantwoordelijkZorgkantoor}
}"""
WHERE_INSIDE_OR: Final = """{
  wlzindicatieID: {eq: $wlzIndicatieID}
  or: [
    {initieelVerantwoordelijkZorgkantoor: {eq: $initieelVerantwoordelijkZorgkantoor}}
    {initieelVerantwoordelijkZorgkantoor: {neq: $initieelVerantwoordelijkZorgkantoor}}
  ]
}"""
"""Names the required filter, and asks for everything all the same."""

_PERSON: Final = """
  voornamen roepnaam voorletters geslachtsnaam voorvoegselGeslachtsnaam partnernaam voorvoegselPartnernaam
  naamGebruik geslacht geboorteDatum geboortedatumGebruik
"""
_CONTACT: Final = """
  contactGegevens {
    contactGegevensID
    adres {
      adresID adresSoort straatnaam huisnummer huisnummerToevoeging postcode plaatsnaam landCode
      aanduidingWoonadres ingangsdatum einddatum
    }
    email { emailID emailadres ingangsdatum einddatum }
    telefoon { telefoonID telefoonnummer landnummer ingangsdatum einddatum }
  }
"""
_SELECTION: Final = f"""
  wlzindicatieID bsn besluitnummer soortWlzindicatie afgiftedatum ingangsdatum einddatum meerzorg
  initieelVerantwoordelijkZorgkantoor vervaldatum commentaar
  grondslag {{ grondslagID %(ground)s volgorde }}
  geindiceerdZorgzwaartepakket {{
    geindiceerdZorgzwaartepakketID zzpCode ingangsdatum einddatum voorkeurClient instellingVoorkeur
    financiering commentaar
  }}
  beperking {{
    beperkingID categorie duur commentaar
    beperkingScore {{ beperkingScoreID beperkingVraag beperkingScore commentaar }}
  }}
  stoornis {{
    stoornisID grondslag diagnoseCodelijst diagnoseSubCodelijst ziektebeeldStoornis prognose commentaar
  }}
  stoornisScore {{ stoornisScoreID stoornisVraag stoornisScore commentaar }}
  wzd {{ wzdID wzdVerklaring ingangsdatum einddatum }}
  client {{
    clientID bsn geheimeClient burgerlijkeStaat leefeenheid agbcodeHuisarts communicatieVorm taal commentaar
    {_PERSON}
    {_CONTACT}
    contactPersoon {{
      contactPersoonID relatieNummer volgorde soortRelatie rol relatie ingangsdatum einddatum
      {_PERSON}
      {_CONTACT}
    }}
    %(client)s
  }}
"""


def indication(*, where: str = WHERE, ground: str = "grondslag", client: str = "") -> str:
    """The query for one indication.

    Args:
        where: the filter.
        ground: the field in the place of `grondslag.grondslag`, for example an alias for another one.
        client: fields of the care client beyond the template's.
    """
    selection = _SELECTION % {"ground": ground, "client": client}
    declared = "$wlzIndicatieID: UUID!, $initieelVerantwoordelijkZorgkantoor: String!"
    return f"query WlzIndicatie({declared}) {{\nwlzIndicatie(where: {where}) {{{selection}}}\n}}"


def variables(indication_id: str, uzovi: str) -> dict[str, str]:
    """The variables of the published template."""
    return {"wlzIndicatieID": indication_id, "initieelVerantwoordelijkZorgkantoor": uzovi}


def body(query: str, values: dict[str, Any]) -> bytes:
    """A GraphQL request over HTTP."""
    return json.dumps({"query": query, "variables": values}).encode()


def published_or_own() -> tuple[str, str]:
    """QIR-0001-ZKi as it was published, where the published data is at hand, else our equivalent of it.

    Returns:
        The query, and what to call it in a report.
    """
    beside = Path(__file__).parents[3] / "shared" / "vectors"
    folder = Path(os.environ.get("SLUIS_VECTORS") or beside)
    try:
        return (folder / "iwlz" / "QIR-0001-ZKi.graphql").read_text(encoding="utf-8"), "the published QIR-0001-ZKi"
    except FileNotFoundError:
        return indication(), "our equivalent of QIR-0001-ZKi (the published one is not at hand)"
