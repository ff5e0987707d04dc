"""Which engines are resident: the policy alone, without input and output.

Each device has a budget of bytes. A load reserves what its engine needs before it begins, so that the sum of
what is held never exceeds a budget. Room for it comes from engines that are idle: the one that was unused for
longest goes first. One that is pinned, has work, or was loaded a short time ago stays.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from trtserve.errors import Unavailable
from trtserve.text import listed, shown_bytes

STAY_FACTOR = 10.0  # an engine stays for as many times what its load took: a place loads a tenth of the time
LONGEST_STAY_S = 30.0
RETRY_AFTER_S = 10.0

Bytes = Mapping[str, int]
"""By device: "cpu", "cuda:0"."""


class DoesNotFit(Unavailable):
    """There is no room for an engine, whatever is evicted."""


@dataclass
class Held:
    """What one engine holds, from the beginning of its load."""

    memory: Bytes
    pinned: bool
    stays_until: float | None = None  # by the policy's clock; None: it is not loaded yet


@dataclass(frozen=True)
class Choice:
    """How an engine finds room: now, after evicting `evict`, or not yet."""

    fits: bool = False
    evict: list[int] = field(default_factory=list)  # by engine ID; empty where it must wait


class Residency:
    """Belongs to the event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is in seconds; only differences matter."""
        self._clock = clock
        self.budgets: dict[str, int] = {}  # bytes; a device without one has no limit
        self._held: dict[int, Held] = {}
        self._last: dict[int, Bytes] = {}  # what engines held when they were resident last

    # -- asking

    def resident(self) -> dict[str, int]:
        """Bytes that are held, by device."""
        return dict.fromkeys(self.budgets, 0) | self._sum(self._held.values())

    def holds(self, id: int) -> bool:
        return id in self._held

    def last(self, id: int) -> Bytes | None:
        """What an engine held when it was measured last; None: it never was."""
        return self._last.get(id)

    def choose(
        self,
        name: str,
        needs: Bytes,
        idle: Mapping[int, float],
        *,
        own: int | None = None,
        may_evict: bool = True,
    ) -> Choice:
        """How an engine that needs this finds room. `idle`: engines without work, and for how many seconds.

        What the engine `own` holds counts as free. Raises DoesNotFit, which names the engine, if there would
        be no room even without all others that are not pinned, or, without `may_evict`, if there is none now.
        """
        others = [held for id, held in self._held.items() if id != own]
        short = self._short(needs, self._sum(others))
        if not short:
            return Choice(fits=True)
        pinned = self._sum(each for each in others if each.pinned)
        never = self._short(needs, pinned)
        if never or not may_evict:
            refusal = self._refusal(name, needs, never or short, self._sum(others), pinned)
            raise DoesNotFit(refusal, retry_after=RETRY_AFTER_S)
        return Choice(evict=self._victims(short, idle))

    def _victims(self, short: dict[str, int], idle: Mapping[int, float]) -> list[int]:
        """The idle engines that were unused for longest and together free what is short; none if they
        cannot."""
        now = self._clock()
        victims: list[int] = []
        for id in sorted(idle, key=lambda id: -idle[id]):
            held = self._held.get(id)
            if held is None or held.pinned or held.stays_until is None or held.stays_until > now:
                continue
            if not any(held.memory.get(device, 0) > 0 and lack > 0 for device, lack in short.items()):
                continue
            victims.append(id)
            short = {device: lack - held.memory.get(device, 0) for device, lack in short.items()}
            if all(lack <= 0 for lack in short.values()):
                return self._needed(victims, short)
        return []

    def _needed(self, victims: list[int], spare: dict[str, int]) -> list[int]:
        """Without those that the others make unnecessary; `spare`: what they free too much, negative."""
        for id in victims[:-1]:
            memory = self._held[id].memory
            left = {device: lack + memory.get(device, 0) for device, lack in spare.items()}
            if all(lack <= 0 for lack in left.values()):
                victims = [other for other in victims if other != id]
                spare = left
        return victims

    def _short(self, needs: Bytes, held: Bytes) -> dict[str, int]:
        """What the budgets lack, by device, if this is held and that is needed."""
        lacks = {
            device: size - max(0, self.budgets[device] - held.get(device, 0))
            for device, size in needs.items()
            if size > 0 and device in self.budgets
        }
        return {device: lack for device, lack in lacks.items() if lack > 0}

    @staticmethod
    def _sum(held: Iterable[Held]) -> dict[str, int]:
        total: dict[str, int] = {}
        for each in held:
            for device, size in each.memory.items():
                total[device] = total.get(device, 0) + size
        return total

    def _refusal(self, name: str, needs: Bytes, short: Bytes, held: Bytes, pinned: Bytes) -> str:
        parts = []
        for device in short:
            budget = self.budgets[device]
            free = max(0, budget - held.get(device, 0))
            parts.append(
                f"{shown_bytes(needs[device])} on {device}, whose budget of {shown_bytes(budget)} has "
                f"{shown_bytes(free)} free; pinned engines hold {shown_bytes(pinned.get(device, 0))} of it"
            )
        return (
            f"Engine {name} needs {listed(parts)}: unload or unpin engines, or raise --memory-budget "
            "(TRTSERVE_MEMORY_BUDGET)."
        )

    # -- changing

    def hold(self, id: int, memory: Bytes, *, pinned: bool) -> None:
        """Reserve this for an engine that is about to be loaded; choose() said that it fits."""
        assert id not in self._held, "an engine is loaded once at a time"
        self._held[id] = Held(memory, pinned)

    def loaded(self, id: int, memory: Bytes, seconds: float) -> None:
        """The engine's load is over, after so many seconds, and took this memory."""
        held = self._held[id]
        self._held[id] = Held(memory, held.pinned, self._clock() + self.stay_s(seconds))
        self._last[id] = memory

    def measured(self, id: int, memory: Bytes) -> None:
        """A loaded engine takes this memory now."""
        if id in self._held:
            self._held[id].memory = self._last[id] = memory

    def pin(self, id: int, pinned: bool) -> None:
        if id in self._held:
            self._held[id].pinned = pinned

    def release(self, id: int) -> None:
        """The engine holds nothing any more."""
        self._held.pop(id, None)

    def forget(self, id: int) -> None:
        """The engine is gone for good."""
        self.release(id)
        self._last.pop(id, None)

    @staticmethod
    def stay_s(seconds: float) -> float:
        """How long an engine stays whose load took so long."""
        return min(LONGEST_STAY_S, STAY_FACTOR * seconds)
