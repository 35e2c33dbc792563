"""The command line of the certificate authority; `pki.cli.main` is where it starts."""
