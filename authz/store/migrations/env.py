"""Run by Alembic: applies the migrations on the connection that `authz.store.migrate` hands over.

The connection is already inside a transaction that holds the lock, so nothing is begun or committed here.
"""

from alembic import context

from authz.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
