"""The OCSP responder."""
