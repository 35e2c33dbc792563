"""Audit records of the certificate authority: written with the act, shipped to the audit store."""
