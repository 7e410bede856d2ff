"""Which numbers were met before, in little memory and without a pause."""

from __future__ import annotations

from array import array

_SLOTS = 1 << 9
# Fuller tables have long runs of taken places.
_ROOM = _SLOTS * 5 // 8
# The bits below choose the table, these the place in it.
_SHIFT = 40
_MASK = (1 << 64) - 1
# A table as deep as that is emptied instead: such numbers are not spread evenly.
_DEEPEST = 20


class _Table:
    """Some of the numbers: those that end with the same `depth` bits."""

    __slots__ = ("depth", "left", "slots")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.left = _ROOM
        self.slots: array[int] = array("Q", bytes(8 * _SLOTS))

    def adds(self, number: int) -> bool:
        slots, at = self.slots, number >> _SHIFT & _SLOTS - 1
        while found := slots[at]:
            if found == number:
                return False
            at = at + 1 & _SLOTS - 1
        slots[at] = number
        self.left -= 1
        return True


class Seen:
    """A set of 64-bit numbers that are spread evenly, such as hashes; of others some are forgotten.

    Some 20 bytes for each, where a `set` takes 64 to 100. It grows by dividing one full table at a
    time, so nobody waits while all of it is moved.
    """

    def __init__(self) -> None:
        self._tables = [_Table(0)]

    def adds(self, number: int) -> bool:
        """Whether it is new; it is known from now on."""
        number = number & _MASK or 1
        table = self._tables[number & len(self._tables) - 1]
        if not table.adds(number):
            return False
        if table.left <= 0:
            self._divide(table, number)
        return True

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        return 8 * len(self._tables) + 8 * _SLOTS * len(set(map(id, self._tables)))

    def _divide(self, full: _Table, number: int) -> None:
        if full.depth == _DEEPEST:
            full.slots, full.left = _Table(0).slots, _ROOM
            return
        step = 1 << full.depth
        if step == len(self._tables):
            self._tables *= 2
        halves = _Table(full.depth + 1), _Table(full.depth + 1)
        for one in filter(None, full.slots):
            halves[one & step != 0].adds(one)
        for place in range(number & step - 1, len(self._tables), step):
            self._tables[place] = halves[place & step != 0]
