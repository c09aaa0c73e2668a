"""Tells a network that is down from links that are dead: the last hosts that were asked, and a probe of known ones.

A dead link is replaced by a spare and never asked for again, so what an outage does must not be taken for that.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from toolkit.errors import ToolkitError

LAST = 200
"""URLs that are looked back on (our choice)."""
FEW = 20
"""Hosts that must be lost before their share counts (our choice): a class may live on two or three that are gone."""

VERY_LAST = 5
"""URLs at a shard's end that may be all that an outage has met (our choice)."""


class Outage(ToolkitError):
    """The network is down, or not there: the stage stops as it is."""


class Breaker:
    """Watches which hosts answer, and stops the stage when most of the last ones do not."""

    def __init__(self, max_unreachable: float, probe: Sequence[str], reaches: Callable[[str], Awaitable[str]]) -> None:
        """``reaches`` says why a URL of ``probe`` cannot be reached, or nothing."""
        self._most, self._probe, self._reaches = max_unreachable, tuple(probe), reaches
        self._last: deque[tuple[str, bool]] = deque(maxlen=LAST)

    async def begin(self) -> None:
        """Raise `Outage` when no known host can be reached."""
        if self._probe and (reason := await self._unknown()):
            raise Outage(f"no known host can be reached ({reason}); {_advice('probe=')}")

    def note(self, host: str, lost: bool) -> bool:
        """Keep whether a host was lost; returns whether most of the last hosts are, too many for it to be chance."""
        self._last.append((host, lost))
        hosts, lost_ones = self._counts()
        return lost_ones >= FEW and lost_ones > self._most * hosts

    async def stop(self) -> None:
        """Raise `Outage`: most of the last hosts are lost."""
        hosts, lost = self._counts()
        known = (
            "known hosts are not asked" if not self._probe else await self._unknown() or "known hosts can be reached"
        )
        raise Outage(
            f"{lost} of the last {hosts} hosts cannot be resolved or connected to ({known}); "
            f"{_advice('max_unreachable=1')}"
        )

    async def end(self) -> None:
        """After a shard: raise `Outage` when most of its hosts are lost, or the very last, and all known ones."""
        hosts, lost_ones = self._counts()
        if lost_ones > self._most * hosts or all(lost for _, lost in list(self._last)[-VERY_LAST:]):
            await self.begin()

    def _counts(self) -> tuple[int, int]:
        """Hosts among the last URLs, and how many of them none of those reached."""
        hosts = {host for host, _ in self._last}
        return len(hosts), len(hosts - {host for host, lost in self._last if not lost})

    async def _unknown(self) -> str:
        """Why none of the known hosts is reached; empty when one is."""
        reasons = []
        for url in self._probe:
            reason = await self._reaches(url)
            if not reason:
                return ""
            reasons.append(f"{url}: {reason}")
        return ", ".join(reasons)


def _advice(option: str) -> str:
    return f"mend the network and start again: no spare was used for this shard (--set {option} goes on all the same)"
