"""Envoy in front of a service: its configuration, its supervision and the hand-over of the client certificate.

Used by the authorization server, the certificate authority and the trust agent. Nothing here knows what a service
does; it knows how a request reaches it and which part of it may be believed.
"""
