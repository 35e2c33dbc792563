"""The service child of `pki serve`: the HTTP application on a Unix socket, and the work that falls due.

Started by the supervisor as `python -m pki.service --config <file> --socket <path>`; never by hand.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from authz.domain.errors import SluisError
from authz.edge.background import Loop, keep_running
from authz.edge.logs import configure_logs
from authz.edge.serving import run, serve_uds
from authz.edge.settings import load_settings
from pki.app import open_authority
from pki.audit.records import itself
from pki.audit.rules import RulesRecord
from pki.audit.shipping import Shipper
from pki.audit.tally import INTERVAL, Tally
from pki.certificate_files import read_certificate
from pki.enrolment.service import Enrolment
from pki.http.application import create_application
from pki.http.confirm import confirm_handler
from pki.http.est import EstApplication
from pki.http.feed import feed_handler
from pki.http.health import SILENT, Health
from pki.http.ocsp import OcspApplication
from pki.http.peers import Peers
from pki.http.published import Published
from pki.notices.running import Notices
from pki.ocsp.responder import Responder
from pki.ocsp.rounds import Rounds
from pki.revocation.feed import CertificateFeed
from pki.settings import PkiSettings
from pki.store.database import StoreUnavailable

_LOG: Final = structlog.get_logger(__name__)
SWEEP: Final = 1.0
"""Seconds between looks at what falls due."""
RESPONDER_LOOK: Final = 60.0
"""Seconds between looks at the responder's key, which is made anew once a day."""
STOP: Final = 3.0
"""Seconds that the background work gets to end by itself."""


async def serve(settings: PkiSettings, socket: Path) -> int:
    """Serve until SIGTERM.

    Args:
        settings: checked settings.
        socket: Unix socket to listen on.
    """
    stop = asyncio.Event()
    async with open_authority(settings, pooled=True) as pki:
        await RulesRecord(settings, pki.database, pki.clock).started(itself())
        await pki.withdrawal.sweep()
        published = Published(pki)
        await published.load()
        responder = Responder(pki.database, pki.cas, pki.clock)
        rounds = Rounds(pki.database, responder, pki.clock, published.next_change)
        notices = Notices(pki, lambda: [*rounds.samples(), *published.root_crls.samples()])
        peers = Peers(pki, published)
        tally = Tally(pki)
        est = EstApplication(
            Enrolment(pki),
            peers,
            (*(read_certificate(root.certificate) for root in settings.roots()), *(ca.der for ca in pki.cas)),
            tally=tally,
            attempts_per_minute=settings.enrolment.attempts_per_minute,
        )
        sweep = Loop("sweep", pki.withdrawal.sweep, SWEEP)
        # Ahead of the requests, so that none of them waits for the key of the CA.
        key = Loop("responder_key", responder.refresh, RESPONDER_LOOK)
        work: dict[str, Callable[[], Awaitable[None]]] = {
            "watch": published.watch,
            "sweep": partial(sweep.run, stop),
            "responder key": partial(key.run, stop),
            "answers ahead": partial(rounds.run, stop),
            "counted refusals": partial(Loop("counted_refusals", tally.write, INTERVAL).run, stop),
            "end of long polls": partial(_let_go, stop, published),
            **notices.work(stop),
        }
        if settings.audit.url is not None:
            work["shipping"] = partial(Shipper(settings.audit, pki.database, pki.clock).run, stop)
        tasks = [asyncio.create_task(keep_running(name, run, stop), name=name) for name, run in work.items()]
        try:
            feed = CertificateFeed(pki.database, pki.cas, responder, pki.clock)
            ocsp = OcspApplication(responder, pki.clock)
            application = create_application(
                published,
                est,
                ocsp,
                [feed_handler(feed, published), confirm_handler(pki, peers)],
                Health(published, {sweep: SILENT}, feed),
            )
            await serve_uds(application, socket, stop=stop)
        finally:
            stop.set()
            # Each ends between two steps; one that hangs in a request is cut off.
            _, late = await asyncio.wait(tasks, timeout=STOP)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(StoreUnavailable):
                await tally.write()
    return 0


async def _let_go(stop: asyncio.Event, published: Published) -> None:
    # The server lets requests in progress end, and a long poll could take a minute.
    await stop.wait()
    published.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the child process."""
    parser = argparse.ArgumentParser(prog="pki.service")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    given = parser.parse_args(arguments)
    configure_logs("pki")
    try:
        settings = load_settings(PkiSettings, given.config)
        return run(lambda: serve(settings, given.socket))
    except SluisError as error:
        _LOG.error("stopped", why=str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
