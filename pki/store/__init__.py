"""The register of the CA in a database: SQLite for one machine, PostgreSQL for several; the same code for both."""
