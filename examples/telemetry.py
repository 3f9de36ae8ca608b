"""Metrics for Prometheus, through OpenTelemetry. Traces need one more argument.

    pip install 'starlette-intercom[otel]' opentelemetry-exporter-prometheus uvicorn
    INTERCOM_CLIENT_SECRET=… uvicorn --app-dir examples telemetry:app

Have Prometheus scrape http://your-host/metrics, and keep that path from the public: this app does not. What to watch:

* intercom_deliveries{state="dead"}: each is a notification that a handler failed at for good.
* intercom_deliveries_oldest_waiting_seconds: grows where handlers do not keep up.
* intercom_webhook_answer_duration_seconds: answers above 0.5 are slower than Intercom asks for.
* intercom_webhook_rejections_total: by reason; a wrong secret shows here.
* intercom_webhook_secret_uses_total: an old secret that nothing was signed with for a day can go.
"""

from contextlib import suppress

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from starlette_intercom import InboxUnavailable, Intercom, IntercomMiddleware, Notification
from starlette_intercom.otel import OpenTelemetryObserver

meter_provider = MeterProvider([PrometheusMetricReader()])
# For traces: OpenTelemetryObserver(tracer_provider=…, …), or set the global providers and give it none.
intercom = Intercom.from_env(observers=[OpenTelemetryObserver(meter_provider=meter_provider)])

meter = meter_provider.get_meter("telemetry-example")
deliveries = meter.create_gauge("intercom.deliveries", "{delivery}", "Deliveries in the inbox")
oldest_waiting = meter.create_gauge("intercom.deliveries.oldest_waiting", "s", "How long the oldest has been ready")


@intercom.on("conversation.user.created")
async def answer(notification: Notification) -> None:
    print(f"handled conversation {notification.item['id']}", flush=True)


async def metrics(request: Request) -> Response:
    with suppress(InboxUnavailable):  # then the last figures stay
        stats = await intercom.stats()
        for state in ("waiting", "running", "scheduled", "dead"):
            deliveries.set(getattr(stats, state), {"state": state})
        oldest_waiting.set(stats.oldest_waiting)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


app = Starlette(
    routes=[Route("/metrics", metrics)],
    middleware=[Middleware(IntercomMiddleware, intercom=intercom, path="/webhooks/intercom")],
)
