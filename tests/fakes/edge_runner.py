"""Runs Envoy before the echo service, from a JSON description: `python -m tests.fakes.edge_runner FILE`.

A program of its own, because what is tested is the supervision of processes.
"""

import json
import sys
from pathlib import Path

from authz.edge.envoy import ClientCertificate, DownstreamTls, EdgeLimits, Listener, service_front
from authz.edge.logs import configure_logs
from authz.edge.secrets import OwnCertificate, PeerValidation
from authz.edge.supervise import Front, Service, run_folder, run_service


def main(file: Path) -> int:
    configure_logs("edge-test")
    given = json.loads(file.read_text())
    with run_folder(Path(given["run"])) as folder:
        tls = DownstreamTls(folder.secrets, client=ClientCertificate(given.get("client", "required")))
        listeners = [Listener("tls", "127.0.0.1", given["tls_port"], tls)]
        if "strict_port" in given:
            # What one address gets at the end of its second and the beginning of the next leaves one for another.
            strict, limits = DownstreamTls(folder.secrets), EdgeLimits(max_strangers=7, max_strangers_each=3)
            listeners.append(Listener("strict", "127.0.0.1", given["strict_port"], strict, limits))
        if "plain_port" in given:
            listeners.append(Listener("plain", "127.0.0.1", given["plain_port"], None))
        front = Front(
            service_front(sender="edge-test", admin=folder.admin, service=folder.service, listeners=listeners),
            [
                OwnCertificate(Path(given["certificate"]), Path(given["key"])),
                PeerValidation((Path(given["ca"]),), Path(given["crls"])),
            ],
            concurrency=1,
        )
        echo = Service("echo", "tests.fakes.echo_service", ["--socket", str(folder.service)])
        return run_service("edge-test", folder, front, echo)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
