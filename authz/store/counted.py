"""What repositories share whose changes are counted: the database, and the number of the last change."""

from typing import ClassVar

from authz.store.changes import Topic, current
from authz.store.database import Database


class Counted:
    """A repository of one topic.

    Args:
        database: started.
    """

    topic: ClassVar[Topic]

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """A number that grows with every change of the topic, whichever process made it."""
        async with self._database.read() as connection:
            return await current(connection, self.topic)
