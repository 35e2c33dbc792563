"""The certificate authority of Sluis, and everything about certificates and DNSSEC."""
