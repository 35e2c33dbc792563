"""The story of one consultation, told against a running lab: what `make demo` shows and the chain tests assert.

A step asks real questions over real TLS and says of each what must come of it: the answer, and the reason that the
audit log must hold for it. Telling is `deploy.lab.demo`'s work.
"""
