"""Litestar handlers: strict parsing of what comes in, and the two faces' rendering of what goes out."""
