"""The words of the field as frozen types: identifiers, scopes, claims, audit records, reasons and errors.

Imports nothing of ours and only the standard library, so that every part of the product (and an auditor's own tool)
can rely on it. Nothing here reads a clock, a file or a network.
"""
