"""The append-only audit log: what is written, how it is proven, searched, exported and verified.

Specification: shared `spec/audit.md`; NEN 7513; RFC 9162 (Merkle tree), C2SP signed-note and tlog-checkpoint. Where the
log is kept is the work of `authz.store`, behind the protocols of `authz.audit.log`.
"""
