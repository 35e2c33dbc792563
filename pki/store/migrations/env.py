"""Runs the migrations on the connection, and in the transaction, that `pki.store.migrate` hands over."""

from alembic import context

from pki.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
