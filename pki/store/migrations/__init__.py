"""Migrations of the register, oldest first; each is forward-compatible for one release."""
