"""Checks of everything that is about to be signed: our own for each kind, and pkilint as the second opinion."""
