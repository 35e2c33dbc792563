"""Keys behind a `Signer`, and the exact bytes that they sign."""
