"""How often somebody may try; the same for every service (`authz.edge.rate`)."""

from authz.edge.rate import MAX_KEYS, RateLimiter, network_of

__all__ = ["MAX_KEYS", "RateLimiter", "network_of"]
