"""Is this certificate of a party of the network, and of which one? All that a relying party needs, and no more."""
