"""What Prometheus may read: requests, seconds, queues, restarts and tokens of one server."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from autottt.server.lanes import Lane

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)


class Metrics:
    """The counters of one server; queues are read from its lanes when they are asked for."""

    def __init__(self, lanes: Iterable[Lane]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "autottt_requests",
            "Requests by model and status",
            ["model", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "autottt_request_seconds",
            "Seconds from request to answer",
            ["model"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.strategies = Counter(
            "autottt_answers",
            "Answers by the strategy that gave them",
            ["strategy"],
            registry=self._registry,
        )
        self.tokens = Counter(
            "autottt_tokens", "Tokens read and written for answers", registry=self._registry
        )
        self._registry.register(_Lanes(tuple(lanes)))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Lanes(Collector):
    def __init__(self, lanes: tuple[Lane, ...]) -> None:
        self._lanes = lanes

    def collect(self) -> Iterable[Metric]:
        for name, what in (
            ("waiting", "Jobs that wait"),
            ("running", "Jobs that run"),
            ("up", "Workers that are ready"),
            ("restarts", "Workers that were started again"),
        ):
            family = GaugeMetricFamily(f"autottt_lane_{name}", what, labels=["lane"])
            for lane in self._lanes:
                family.add_metric([lane.name], getattr(lane, name))
            yield family
