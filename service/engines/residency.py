"""Which engines are resident: the policy alone, without input and output.

Each device has a budget of bytes. A load reserves what its engine needs before it begins, so that the sum of
what is held never exceeds a budget. Room for it comes from engines that are idle: the one that was unused for
longest goes first. One that is pinned, has work, or was loaded a short time ago stays.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from runtime_ext import BESIDE
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
    measured_after: int | None = None  # the use that measured() was told; None: not measured since the load

    def may_go(self, now: float) -> bool:
        """True if it may be evicted, unless it has work."""
        return not self.pinned and self.stays_until is not None and self.stays_until <= now


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
        self._taken: dict[str, int] = {}  # by device: the sum of _held, because every load asks for it
        self._last: dict[int, Bytes] = {}  # what engines held when they were resident last

    # -- asking

    def resident(self) -> dict[str, int]:
        """Bytes that are held, by device."""
        taken = {device: size for device, size in self._taken.items() if size}
        return dict.fromkeys(self.budgets, 0) | taken

    def holds(self, id: int) -> bool:
        return id in self._held

    def loaded_ids(self) -> list[int]:
        """The engines whose load is over."""
        return [id for id, held in self._held.items() if held.stays_until is not None]

    def evictable(self) -> list[int]:
        """The engines that may be evicted now, unless they have work."""
        now = self._clock()
        return [id for id, held in self._held.items() if held.may_go(now)]

    def is_measured(self, id: int, after: int) -> bool:
        """Whether measured() was told what the engine takes after this use."""
        return id not in self._held or self._held[id].measured_after == after

    def held(self, id: int) -> Bytes:
        """What an engine that is resident, or is being loaded, holds."""
        return self._held[id].memory

    def last(self, id: int) -> Bytes | None:
        """What an engine held when it was measured last; None: it never was."""
        return self._last.get(id)

    def fits(self, needs: Bytes, own: int | None = None) -> bool:
        """Whether there is room for this now; what the engine `own` holds counts as free."""
        return not self._short(needs, self._without(own))

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
        others = self._without(own)
        short = self._short(needs, others)
        if not short:
            return Choice(fits=True)
        pinned = self._sum(each.memory for id, each in self._held.items() if each.pinned and id != own)
        never = self._short(needs, pinned)
        if never or not may_evict:
            refusal = self._refusal(name, needs, never or short, others, pinned)
            raise DoesNotFit(refusal, retry_after=RETRY_AFTER_S)
        return Choice(evict=self._victims(short, idle))

    def check_together(self, name: str, needs: Bytes, others: Collection[int]) -> None:
        """Raise DoesNotFit, which names the engine, if it and these others can never be resident together.

        It needs this; one of the others that was never measured counts as nothing.
        """
        needs = self._sum([needs, *(self._last.get(id, {}) for id in others)])
        pinned = self._sum(each.memory for id, each in self._held.items() if each.pinned and id not in others)
        if never := self._short(needs, pinned):
            raise DoesNotFit(self._refusal(name, needs, never, pinned, pinned), retry_after=RETRY_AFTER_S)

    def _victims(self, short: dict[str, int], idle: Mapping[int, float]) -> list[int]:
        """The idle engines that were unused for longest and together free what is short; none if they
        cannot."""
        now = self._clock()
        victims: list[int] = []
        for id in sorted(idle, key=lambda id: -idle[id]):
            held = self._held.get(id)
            if held is None or not held.may_go(now):
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

    def _without(self, own: int | None) -> dict[str, int]:
        """What is held, by device, without what the engine `own` holds."""
        if own not in self._held:
            return self._taken
        mine = self._held[own].memory
        return {device: size - mine.get(device, 0) for device, size in self._taken.items()}

    @staticmethod
    def _sum(held: Iterable[Bytes]) -> dict[str, int]:
        total: dict[str, int] = {}
        for memory in held:
            for device, size in memory.items():
                total[device] = total.get(device, 0) + size
        return total

    def told(self, id: int, free: Bytes) -> str:
        """What an engine that is being loaded needs, and what its devices have: "3.1 GiB on cuda:0, which …".

        `free` is what the devices themselves have now.
        """
        others = self._without(id)
        pinned = self._sum(each.memory for other, each in self._held.items() if each.pinned and other != id)
        parts = []
        for device, size in self._held[id].memory.items():
            part = f"{shown_bytes(size)} on {device}"
            if device in free:
                part += f", which has {shown_bytes(free[device])} free"
            if device in self.budgets:
                part += f", and whose {self._budget(device, others, pinned)}"
            parts.append(part)
        return listed(parts)

    def _budget(self, device: str, held: Bytes, pinned: Bytes) -> str:
        budget = self.budgets[device]
        free = max(0, budget - held.get(device, 0))
        return (
            f"budget of {shown_bytes(budget)} has {shown_bytes(free)} free; pinned engines hold "
            f"{shown_bytes(pinned.get(device, 0))} of it"
        )

    def _refusal(self, name: str, needs: Bytes, short: Bytes, held: Bytes, pinned: Bytes) -> str:
        parts = [
            f"{shown_bytes(needs[device])} on {device}, whose {self._budget(device, held, pinned)}"
            for device in short
        ]
        return (
            f"Engine {name} needs {listed(parts)}: unload or unpin engines, or raise --memory-budget "
            "(TRTSERVE_MEMORY_BUDGET)."
        )

    # -- changing

    def hold(self, id: int, memory: Bytes, *, pinned: bool) -> None:
        """Reserve this for an engine that is about to be loaded; choose() said that it fits."""
        assert id not in self._held, "an engine is loaded once at a time"
        self._held[id] = Held({}, pinned)
        self._change(id, memory)

    def loaded(self, id: int, memory: Bytes, seconds: float) -> None:
        """The engine's load is over, after so many seconds, and took this memory."""
        self._held[id].stays_until = self._clock() + self.stay_s(seconds)
        self._change(id, memory)
        self._last[id] = memory

    def exchange(self, id: int, other: int) -> None:
        """Two engines that hold memory change their IDs."""
        self._held[id], self._held[other] = self._held[other], self._held[id]
        self._last[id], self._last[other] = self._last[other], self._last[id]

    def measured(self, id: int, memory: Bytes, after: int | None = None) -> None:
        """A loaded engine takes this memory now, after a use: a number that differs for each."""
        if id in self._held:
            self._change(id, memory)
            self._held[id].measured_after = after
            self._last[id] = memory

    def pin(self, id: int, pinned: bool) -> None:
        if id in self._held:
            self._held[id].pinned = pinned

    def release(self, id: int) -> None:
        """The engine holds nothing any more."""
        if id in self._held:
            self._change(id, {})
            del self._held[id]
        if id & BESIDE:
            self._last.pop(id, None)  # the next one there has other options

    def _change(self, id: int, memory: Bytes) -> None:
        """An engine holds this from now on, and nothing else."""
        for sign, of in ((-1, self._held[id].memory), (1, memory)):
            for device, size in of.items():
                self._taken[device] = self._taken.get(device, 0) + sign * size
        self._held[id].memory = memory

    def forget(self, id: int) -> None:
        """The engine is gone for good."""
        self.release(id)
        self._last.pop(id, None)

    @staticmethod
    def stay_s(seconds: float) -> float:
        """How long an engine stays whose load took so long."""
        return min(LONGEST_STAY_S, STAY_FACTOR * seconds)
