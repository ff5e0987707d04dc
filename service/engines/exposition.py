"""Writes the statistics of many engines as the text that Prometheus reads.

prometheus-client makes an object and a line of each number: seconds for a thousand engines. Here the lines of
an engine are one text, which all engines share, filled with its numbers and then its labels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString as _to_text

from runtime_ext import Histogram
from trtserve.telemetry.exemplars import Exemplar

to_text: Callable[[float], str] = _to_text  # which has no types
LABELS = "\0"  # where an engine's labels go in a text


class WrittenFamily(Metric):
    """A family of metrics whose samples are already text, which write() uses as it is."""

    def __init__(
        self, name: str, meaning: str, kind: str, lines: str, with_exemplars: Callable[[], str] | None = None
    ) -> None:
        """`name` is without `_total`; `with_exemplars` makes the lines with what only OpenMetrics has."""
        super().__init__(name, meaning, kind)
        self._lines = lines
        self._with_exemplars = with_exemplars

    @property
    def samples(self) -> list[Sample]:
        """The samples as objects, read from the text: for whoever collects the registry without write()."""
        families = text_string_to_metric_families(self.text(openmetrics=False))
        return [sample for family in families for sample in family.samples]

    @samples.setter
    def samples(self, value: list[Sample]) -> None:
        """Metric's constructor sets them."""

    def text(self, *, openmetrics: bool) -> str:
        # Only the older format counts the suffix to the name of a counter.
        name = f"{self.name}_total" if self.type == "counter" and not openmetrics else self.name
        lines = self._lines if self._with_exemplars is None or not openmetrics else self._with_exemplars()
        return f"# HELP {name} {self.documentation}\n# TYPE {name} {self.type}\n{lines}"


class PlainCounter(WrittenFamily):
    """A counter whose name does not end in `_total`, as other servers have them.

    OpenMetrics has no such counters, so it is of unknown type there.
    """

    def text(self, *, openmetrics: bool) -> str:
        kind = "unknown" if openmetrics else "counter"
        return f"# HELP {self.name} {self.documentation}\n# TYPE {self.name} {kind}\n{self._lines}"


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def write(
    families: Sequence[Metric], encode: Callable[[CollectorRegistry], bytes], *, openmetrics: bool
) -> bytes:
    """The page of families some of which are text; prometheus-client's `encode` does the rest."""
    written = [family for family in families if isinstance(family, WrittenFamily)]
    rest = CollectorRegistry()
    rest.register(_Collected([family for family in families if not isinstance(family, WrittenFamily)]))
    # The rest comes last, because OpenMetrics ends with a line that prometheus-client writes.
    return "".join(family.text(openmetrics=openmetrics) for family in written).encode() + encode(rest)


class Labelled(Protocol):
    """What the numbers of one engine are labelled with."""

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> int: ...


def engine_and_id(engine: Labelled) -> Sequence[tuple[str, str]]:
    return (("engine", engine.name), ("id", str(engine.id)))


E = TypeVar("E", bound=Labelled)
K = TypeVar("K")


class EngineFamilies(Generic[E]):
    """Makes families from what is known of all engines, with the labels `engine` and `id`, or with others."""

    def __init__(
        self, engines: Sequence[E], labels: Callable[[E], Sequence[tuple[str, str]]] = engine_and_id
    ) -> None:
        self._engines = engines
        self._labels = [
            ",".join(f'{label}="{_escaped(value)}"' for label, value in labels(engine)) for engine in engines
        ]

    def gauge(self, name: str, meaning: str, value: Callable[[E], float | None]) -> Metric:
        """One number for each engine that has one."""
        return WrittenFamily(name, meaning, "gauge", self._numbers(name, value))

    def counter(self, name: str, meaning: str, value: Callable[[E], float | None]) -> Metric:
        """One number for each engine that has one. `name` is without `_total`."""
        return WrittenFamily(name, meaning, "counter", self._numbers(f"{name}_total", value))

    def gauges(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str],
        values: Callable[[E], Mapping[tuple[str, ...], int]],
    ) -> Metric:
        """A number for each engine and each tuple of values of more labels."""

        def written(key: tuple[str, ...]) -> str:
            own = [(label, f'{label}="{_escaped(value)}"') for label, value in zip(labels, key, strict=True)]
            return ",".join(
                text for _, text in sorted([("engine", LABELS), *own])
            )  # as prometheus-client does

        return WrittenFamily(name, meaning, "gauge", self._by_key(name, written, values))

    def counters(
        self, name: str, meaning: str, label: str, values: Callable[[E], Mapping[str, int]]
    ) -> Metric:
        """A number for each engine and each value of one more label. `name` is without `_total`."""

        def written(key: str) -> str:
            return f'{LABELS},{label}="{_escaped(key)}"'

        return WrittenFamily(name, meaning, "counter", self._by_key(f"{name}_total", written, values))

    def plain_counter(self, name: str, meaning: str, value: Callable[[E], float | None]) -> Metric:
        """One number for each engine that has one."""
        return PlainCounter(name, meaning, "counter", self._numbers(name, value))

    def plain_counters(
        self, name: str, meaning: str, label: str, values: Callable[[E], Mapping[str, int]]
    ) -> Metric:
        """A number for each engine and each value of one more label."""

        def written(key: str) -> str:
            return f'{LABELS},{label}="{_escaped(key)}"'

        return PlainCounter(name, meaning, "counter", self._by_key(name, written, values))

    def histogram(
        self,
        name: str,
        meaning: str,
        of: Callable[[E], Histogram],
        exemplars: Callable[[E], Mapping[int, Exemplar]] | None = None,
    ) -> Metric:
        """One histogram for each engine; all have the same bounds. `exemplars`: by bucket."""
        parts = []
        text = _histogram_text(name, of(self._engines[0]).bounds) if self._engines else ""
        filled, known = "", None
        for engine, labels in self._each():
            histogram = of(engine)
            numbers = (counts, total) = histogram.counts, histogram.sum
            if numbers != known:  # those of idle engines are often the same
                known = numbers
                below = [*accumulate(counts)]  # Prometheus' buckets are cumulative
                filled = text % (*below, below[-1], to_text(total))
            parts.append(filled.replace(LABELS, labels))
        if exemplars is None:
            return WrittenFamily(name, meaning, "histogram", "".join(parts))

        def with_exemplars() -> str:
            each = zip(parts, self._engines, strict=True)
            return "".join([_with_exemplars(part, exemplars(engine)) for part, engine in each])

        return WrittenFamily(name, meaning, "histogram", "".join(parts), with_exemplars)

    def _numbers(self, sample: str, value: Callable[[E], float | None]) -> str:
        lines = []
        for engine, labels in self._each():
            number = value(engine)
            if number is not None:
                shown = f"{number}.0" if isinstance(number, int) else to_text(number)
                lines.append(f"{sample}{{{labels}}} {shown}\n")
        return "".join(lines)

    def _by_key(
        self, sample: str, written: Callable[[K], str], values: Callable[[E], Mapping[K, int]]
    ) -> str:
        """A line for each engine and each key of its values; `written` makes all labels of a key."""
        parts = []
        text, keys = "", None
        filled, known = "", None
        for engine, labels in self._each():
            numbers = values(engine)
            if numbers != known:  # those of idle engines are often the same
                if list(numbers) != keys:
                    keys = list(numbers)
                    text = "".join(f"{sample}{{{written(key)}}} %d.0\n" for key in keys)
                known, filled = numbers, text % tuple(numbers.values())
            parts.append(filled.replace(LABELS, labels))
        return "".join(parts)

    def _each(self) -> Iterator[tuple[E, str]]:
        return zip(self._engines, self._labels, strict=True)


def _histogram_text(name: str, bounds: Iterable[float]) -> str:
    lines = [f'{name}_bucket{{{LABELS},le="{bound}"}} %d.0\n' for bound in (*bounds, "+Inf")]
    return "".join([*lines, f"{name}_count{{{LABELS}}} %d.0\n", f"{name}_sum{{{LABELS}}} %s\n"])


def _with_exemplars(part: str, exemplars: Mapping[int, Exemplar]) -> str:
    """The lines of a histogram, whose first are its buckets, with exemplars behind them."""
    if not exemplars:
        return part
    lines = part.splitlines()
    for bucket, (trace_id, seconds, at) in exemplars.items():
        lines[bucket] += f' # {{trace_id="{trace_id:032x}"}} {to_text(seconds)} {at:.3f}'
    return "\n".join([*lines, ""])


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
