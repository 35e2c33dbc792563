"""Claims become signed tokens: keys and their rotation, JWKS, revocations and their feed."""
