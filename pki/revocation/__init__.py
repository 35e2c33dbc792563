"""Withdrawing certificates, and telling the world: CRLs and the feed."""
