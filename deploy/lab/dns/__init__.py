"""The lab's DNS: a signed private root, `nl.` and participants' zones, served like a resolver would.

    python -m deploy.lab.dns --config zones.json --port 0 --anchor-out anchor.txt

writes the private root's DS lines (the trust anchor) to `anchor.txt`, prints `dns: 127.0.0.1:<port>` once it answers
on UDP and TCP, and runs until SIGTERM or SIGINT. Keys and signatures are made anew at each start, in well under a
second; on SIGHUP the configuration is read again and signed with the keys of before, so that a domain can break, or be
repaired, below the same anchor. Configuration (JSON):

    {"zones": [
      {"name": "ciz.nl", "records": {"register": ["127.0.0.1"], "www": {"CNAME": ["register.ciz.nl."]}}},
      {"name": "unsigned.nl", "state": "unsigned", "records": {"@": ["127.0.0.1"]}},
      {"name": "bogus.nl",    "state": "wrong-ds", "records": {"register": ["127.0.0.1"]}},
      {"name": "old.nl",      "state": "expired",  "records": {"register": ["127.0.0.1"]}}
    ]}

* `records`: owner relative to the zone (`@` is the zone itself, `*` a wildcard) to a list of A addresses, or to an
  object of record type to values in presentation form.
* `state`: `secure` (default); `unsigned` (no DNSSEC, no DS in the parent); `no-ds` (signed, but the parent has no DS);
  `wrong-ds` (the parent's DS is of another key); `expired` (all signatures have expired).
* `algorithm`: 13 (default), 8, 14, 15 or 16. `denial`: `nsec` (default), `nsec3` or `nsec3-opt-out`.

The root and every top-level domain that a zone needs are added by themselves; write one out to set its knobs. From
Python: `build_zones(parse_config(text), now)` and `Server(Responder(zones))`.
"""

from deploy.lab.dns.config import ZoneSpec, ZoneState, parse_config
from deploy.lab.dns.responder import Responder
from deploy.lab.dns.server import Server
from deploy.lab.dns.signing import BuiltZone, ZoneKey, anchor_lines, build_zones

__all__ = [
    "BuiltZone",
    "Responder",
    "Server",
    "ZoneKey",
    "ZoneSpec",
    "ZoneState",
    "anchor_lines",
    "build_zones",
    "parse_config",
]
