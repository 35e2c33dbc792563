"""`pki doctor`: a participant's whole installation, looked at from the participant's own machine.

Each module looks at one thing and gives findings; nothing here changes anything. The modules are independent of the
issuing side of `pki`.
"""
