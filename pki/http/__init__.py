"""HTTP faces of the certificate authority, behind Envoy: what is published, OCSP, and enrolment (EST)."""
