"""The most recently used of something, bounded in number: for what is worth keeping and may be forgotten."""

from collections import OrderedDict
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """The most recently used entries.

    Args:
        limit: entries that are kept; the least recent one leaves when there are more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: OrderedDict[_K, _V] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        """The entry, which thereby is the most recent."""
        item = self._items.get(key)
        if item is not None:
            self._items.move_to_end(key)
        return item

    def put(self, key: _K, item: _V) -> None:
        """Remember."""
        self._items[key] = item
        if len(self._items) > self._limit:
            self._items.popitem(last=False)

    def discard(self, key: _K) -> None:
        """Forget the entry, if there is one."""
        self._items.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)
