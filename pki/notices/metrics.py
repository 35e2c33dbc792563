"""Metrics of the certificate authority: what an operator watches and is woken for.

Counts come from the database at the moment of the question, so any of several instances tells the same. Labels are
codes, names of CAs and names of domains that are not in order; never a party's people.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.edge.pages import Sample
from pki.store.tables import certificates, crls, domain_standing, expiry_notices, outbox, webhook_deliveries

MAX_DOMAINS: Final = 200
"""Domains that are named; the counts by state cover all of them."""


async def samples(
    connection: AsyncConnection, at: datetime, days: tuple[int, ...], roots: Sequence[str] = ()
) -> list[Sample]:
    """Everything that the database tells.

    Args:
        connection: reads.
        at: moment, UTC.
        days: thresholds of expiry notices.
        roots: names of CAs whose lists live for months: `pki.notices.authorities` tells when those end.
    """
    found: list[Sample] = []
    for status, number in await _rows(
        connection, select(certificates.c.status, func.count()).group_by(certificates.c.status)
    ):
        found.append(("sluis_pki_certificates", {"status": status}, number))
    for limit in sorted(days):
        query = select(func.count()).where(
            certificates.c.status == "active",
            certificates.c.not_after > at,
            certificates.c.not_after <= at + timedelta(days=limit),
        )
        expiring = (await _rows(connection, query))[0][0]
        found.append(("sluis_pki_certificates_expiring", {"within_days": str(limit)}, expiring))
    noticed = select(expiry_notices.c.days, func.count()).group_by(expiry_notices.c.days)
    for limit, number in await _rows(connection, noticed):
        found.append(("sluis_pki_expiry_notices_total", {"days": str(limit)}, number))
    found += await _domains(connection, at)
    columns = webhook_deliveries.c
    state = case(
        (columns.delivered_at.isnot(None), "delivered"), (columns.given_up_at.isnot(None), "given_up"), else_="waiting"
    )
    for name, number in await _rows(connection, select(state, func.count()).group_by(state)):
        found.append(("sluis_pki_webhook_deliveries", {"state": name}, number))
    unshipped = select(func.count(), func.count(outbox.c.refused_at)).where(outbox.c.shipped_at.is_(None))
    both, refused = (await _rows(connection, unshipped))[0]
    found.append(("sluis_pki_audit_records_waiting", {}, both - refused))
    found.append(("sluis_pki_audit_records_refused", {}, refused))
    online = select(crls.c.issuer, crls.c.this_update, crls.c.next_update).where(crls.c.issuer.notin_(roots))
    for issuer, made, ends in await _rows(connection, online):
        found.append(("sluis_pki_crl_age_seconds", {"issuer": issuer}, (at - made).total_seconds()))
        found.append(("sluis_pki_crl_ends_in_seconds", {"issuer": issuer}, (ends - at).total_seconds()))
    return found


async def _domains(connection: AsyncConnection, at: datetime) -> list[Sample]:
    columns = domain_standing.c
    found: list[Sample] = [
        ("sluis_pki_domains", {"state": state}, number)
        for state, number in await _rows(connection, select(columns.state, func.count()).group_by(columns.state))
    ]
    bad = select(columns.name, columns.state, columns.since).where(columns.state.notin_(("secure", "unknown")))
    for name, state, since in await _rows(connection, bad.order_by(columns.name).limit(MAX_DOMAINS)):
        labels = {"domain": name, "state": state}
        found.append(("sluis_pki_domain_not_secure_seconds", labels, (at - since).total_seconds()))
    return found


async def _rows(connection: AsyncConnection, query: Any) -> list[Any]:  # noqa: ANN401  SQLAlchemy expressions
    return list(await connection.execute(query))
