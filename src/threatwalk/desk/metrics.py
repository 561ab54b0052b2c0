"""What there is to watch, read from our database alone: queue, lookups, quota, breakers, analyses, model.

Workers tell nothing by themselves: what they do is in the database already, so one small process that reads it can watch
any number of them, and a worker that dies takes no figure with it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from threatwalk import settings
from threatwalk.archive.ledger import Ledger
from threatwalk.desk.queue import OPEN, Queue
from threatwalk.errors import UnavailableError
from threatwalk.gate import breaker, quota
from threatwalk.gate.nights import night_of, nights
from threatwalk.gate.shapes import drift, shapes
from threatwalk.sources import catalog

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

_TIMEOUT_S = 10
_BREAKER = {"closed": 0, "half-open": 1, "open": 2}


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure now. `labels` tell several of one name apart."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        labels = ",".join(f'{name}="{value}"' for name, value in self.labels)
        return f"{self.name}{{{labels}}} {self.value:g}" if labels else f"{self.name} {self.value:g}"


UNITS = {
    "threatwalk.queue.depth": ("1", "Indicators that wait or are being analysed, by state"),
    "threatwalk.queue.age": ("s", "Age of the oldest indicator that is not done"),
    "threatwalk.analyses": ("1", "Analyses of this night, noon to noon UTC"),
    "threatwalk.lookups": ("1", "Lookups of this night that left, by source and outcome"),
    "threatwalk.lookup.time": ("s", "Mean time of a lookup this night, by source"),
    "threatwalk.drift": (
        "1",
        "Things in which this night is unlike the nights before (sources health), by source",
    ),
    "threatwalk.quota.left": ("1", "Requests that a source still allows, by span"),
    "threatwalk.breaker": ("1", "0 closed, 1 half-open, 2 open, by source"),
    "threatwalk.model.version": ("1", "The version that is champion"),
}


def metrics(engine: sa.Engine, now: datetime) -> Iterator[Metric]:
    """Every figure of this installation at `now` (aware UTC).

    Raises:
        StoreError: the database cannot be used.
    """
    yield from _queue(Queue(engine), now)
    forms = shapes(engine)
    for source, by_night in nights(engine).items():
        one = by_night.get(night_of(now))
        if one is None:
            continue
        for outcome in ("found", "empty", "failed"):
            labels = ("source", source), ("outcome", outcome)
            yield Metric("threatwalk.lookups", getattr(one, outcome), labels)
        if one.latency_s is not None:
            yield Metric("threatwalk.lookup.time", one.latency_s, (("source", source),))
        unlike = drift(night_of(now), by_night, forms.get(source, {}))
        yield Metric("threatwalk.drift", len(unlike), (("source", source),))
    yield from _quota(engine, now)
    for source, health in breaker.states(engine).items():
        yield Metric("threatwalk.breaker", _BREAKER[health.breaker(now)], (("source", source),))
    moves = [move for move in Ledger(engine).moves() if move.done]
    if moves:
        yield Metric("threatwalk.model.version", moves[-1].to_version, (("policy", moves[-1].policy),))


def _queue(queue: Queue, now: datetime) -> Iterator[Metric]:
    counts = queue.counts()
    for state in OPEN:
        yield Metric("threatwalk.queue.depth", counts.get(state, 0), (("state", state.value),))
    oldest = queue.oldest()
    yield Metric("threatwalk.queue.age", (now - oldest).total_seconds() if oldest else 0.0)
    noon = datetime.fromisoformat(night_of(now)).replace(tzinfo=UTC) + timedelta(hours=12)
    for state, count in sorted(queue.finished_since(noon).items()):
        yield Metric("threatwalk.analyses", count, (("state", state.value),))


def _quota(engine: sa.Engine, now: datetime) -> Iterator[Metric]:
    ledger = quota.Ledger(engine)
    for f in catalog.CATALOG:
        override = settings.quota(f.name)
        allowed = quota.parse(override) if override else f.quota
        limits = {"day": allowed.per_day, "month": allowed.per_month}
        used = dict(zip(limits, ledger.used(f.name, now=now), strict=True))
        for span, limit in limits.items():
            if limit is not None:
                yield Metric(
                    "threatwalk.quota.left", max(0, limit - used[span]), (("source", f.name), ("span", span))
                )


def export(
    read: Callable[[], Sequence[Metric]], *, every_s: float | None, wait: Callable[[float], object]
) -> None:
    """Send what `read` gives to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names, by OTLP over HTTP.

    Once where `every_s` is None, else again and again until `wait` raises.

    Raises:
        UnavailableError: the collector did not take it (the first time; later ones are tried again).
    """
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.metrics import Observation  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    reader, exporter = InMemoryMetricReader(), OTLPMetricExporter(timeout=_TIMEOUT_S)
    provider = MeterProvider(
        [reader], Resource.create({"service.name": "threatwalk"}), shutdown_on_exit=False
    )
    now: list[Metric] = []

    def observed(name: str) -> "Callable[[CallbackOptions], Iterable[Observation]]":
        return lambda _: [Observation(one.value, dict(one.labels)) for one in now if one.name == name]

    meter = provider.get_meter("threatwalk")
    for name, (unit, said) in UNITS.items():
        meter.create_observable_gauge(name, [observed(name)], unit=unit, description=said)
    first = True
    try:
        while True:
            now[:] = read()
            data = reader.get_metrics_data()
            if data is not None and exporter.export(data) is not MetricExportResult.SUCCESS and first:
                raise UnavailableError(
                    "the collector of OTEL_EXPORTER_OTLP_ENDPOINT did not take the metrics"
                )
            first = False
            if every_s is None:
                return
            wait(every_s)
    finally:
        exporter.shutdown()
        provider.shutdown()
