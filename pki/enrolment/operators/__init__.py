"""Operators who prove themselves with a key of their own, and what two of them together put their names to."""
