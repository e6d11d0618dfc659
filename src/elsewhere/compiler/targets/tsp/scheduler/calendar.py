"""When a unit, a port, a bank or a stream's diagonal is taken: sorted, disjoint intervals of cycles."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Calendar:
    """Intervals [start, end) in which something is busy."""

    __slots__ = ("ends", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def next_free(self, time: int, length: int) -> int:
        """The earliest cycle from `time` on at which `length` cycles are free."""
        ends, starts = self.ends, self.starts
        if not ends or time >= ends[-1]:
            return time
        i = bisect_right(ends, time)
        while i < len(starts) and starts[i] < time + length:
            time = ends[i]
            i += 1
        return time

    def is_free(self, time: int, length: int) -> bool:
        ends = self.ends
        if not ends or time >= ends[-1]:
            return True
        i = bisect_right(ends, time)
        return i >= len(self.starts) or self.starts[i] >= time + length

    def add(self, time: int, length: int) -> None:
        """Takes [time, time + length); neighbours that touch become one interval."""
        starts, ends = self.starts, self.ends
        end = time + length
        if not ends or time > ends[-1]:
            starts.append(time)
            ends.append(end)
            return
        i = bisect_left(ends, time)
        assert i >= len(starts) or starts[i] >= end or ends[i] <= time, "the interval is taken"
        joins_left = i < len(ends) and ends[i] == time
        right = i + 1 if joins_left else i
        joins_right = right < len(starts) and starts[right] == end
        if joins_left and joins_right:
            ends[i] = ends[right]
            del starts[right], ends[right]
        elif joins_left:
            ends[i] = end
        elif joins_right:
            starts[right] = time
        else:
            starts.insert(i, time)
            ends.insert(i, end)

    @property
    def busy(self) -> int:
        """Cycles taken in all."""
        return sum(self.ends) - sum(self.starts)
