"""HTTP faces of the certificate authority: what is published, behind Envoy."""
