"""Deelnemers: who takes part, with which credentials, and how a certificate becomes a deelnemer."""
