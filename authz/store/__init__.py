"""Where authz keeps everything: tables, migrations, one writer with group commit, and the repositories.

Implements protocols that the inner packages define (`authz.audit.log`, `authz.participants.model`, ...) and is imported
by the composition root only. The only place with SQLAlchemy, SQLModel and differences between databases.
"""
