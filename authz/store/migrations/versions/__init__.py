"""Alembic migrations of the authz database, shipped in the package and run at start (`authz.store.migrate`)."""
