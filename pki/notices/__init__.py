"""Notices: a certificate will expire, a participant's domain changed its DNSSEC standing, an anchor changed.

Specification: shared `spec/pki.md`, "Issuing" (expiry notices at 60, 30, 14, 7 and 1 days: audit event, metric,
webhook) and `spec/dnssec.md` (standing on a schedule, default hourly). Each notice is one transaction: what was
noticed, its audit record and its webhook delivery are there together or not at all, and only one of several processes
gives it.
"""
