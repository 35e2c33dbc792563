"""The address book: which services there are, at which endpoints, and whether their domains are DNSSEC-secure."""
