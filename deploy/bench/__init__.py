"""`make bench`: how many tokens and enforced requests a second, and at what latency, with the whole path on.

Nothing is measured against a figure of another day: the yardstick, Envoy alone with mTLS before the same resource
server, is measured in the same run on the same machine. Results are written below `.bench/`.
"""
