"""The example that Prometheus scrapes."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient

from starlette_intercom.testing import sample, signed
from tests.examples.conftest import Load
from tests.factories import SECRET

pytest.importorskip("opentelemetry.exporter.prometheus")


def test_prometheus_finds_what_happened(load: Load) -> None:
    example = load("telemetry")
    try:
        with TestClient(example.app) as client:
            request = signed(sample("conversation.user.created"), SECRET)
            for secret in (SECRET, "another"):
                headers = signed(request.body, secret).headers
                client.post("/webhooks/intercom", content=request.body, headers=headers)
            for _ in range(1000):
                answer = client.get("/metrics")
                if "intercom_handler_runs_total" in answer.text:
                    break
                time.sleep(0.005)
        lines = [line for line in answer.text.splitlines() if line.startswith("intercom_")]
    finally:
        example.meter_provider.shutdown()
    assert answer.headers["content-type"].startswith("text/plain")
    for start in (
        'intercom_webhook_answer_duration_seconds_bucket{le="0.5",',
        "intercom_webhook_notifications_total{",
        "intercom_webhook_rejections_total{",
        "intercom_webhook_secret_uses_total{",
        "intercom_delivery_wait_seconds_count{",
        "intercom_handler_duration_seconds_count{",
        "intercom_handler_runs_total{",
        "intercom_deliveries{",
        "intercom_deliveries_oldest_waiting_seconds{",
    ):
        assert any(line.startswith(start) for line in lines), start
    rejected = next(line for line in lines if line.startswith("intercom_webhook_rejections_total{"))
    assert 'reason="the signature does not match"' in rejected
    dead = next(line for line in lines if line.startswith("intercom_deliveries{") and 'state="dead"' in line)
    assert dead.endswith(" 0.0")
