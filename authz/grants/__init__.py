"""The grant types of the token endpoint, as numbered steps over a domain request."""
