"""Asking the policies: one protocol, two engines, and the signed bundles that carry the policies to them.

`engine` holds the protocol and the decision, `wasm` the in-process engine, `opa` the engine over an OPA server,
`bundle` and `signing` the packing, signing and checking of bundles, `default` the bundle that comes with the product.
Not for writing policies: those stand in `policies/`, and `build` compiles them.

Specification: shared `spec/policy.md`.
"""
