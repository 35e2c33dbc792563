"""The authorization server of Sluis: tokens, policies, address book and audit store."""
