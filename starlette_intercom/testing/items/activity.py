"""Items about things that happened: events, calls, requests, jobs, questions to a person, and the ping."""

from __future__ import annotations

from functools import partial
from typing import Final

from .conversations import CONVERSATION_ID, CUSTOMER, FIN, QUESTION
from .kinds import WORKSPACE, Item, ItemMaker
from .people import ADMIN_ID, CONTACT_ID
from .tickets import TEAM_ID
from .times import iso_z

CALL_URL: Final = "https://api.intercom.io/calls/93021"


def api_request(now: int) -> Item:
    """Return a request that was made to Intercom's API; it has no id of its own."""
    return {
        "type": "api.request.completed",
        "request_id": "00041kq2v8ajm0r7d5tg",
        "timestamp": now,
        "request": {
            "method": "GET",
            "path": "/contacts",
            "ip_address": "192.0.2.44",
            "user_agent": "python-httpx/0.28.1",
        },
        "authentication": {
            "method": "oauth",
            "token_id": "5be0c2f4_91d7_4a36_8c05_e2b7f1a90d63",
            "oauth_client_id": "9c14f3a8-2b60-4d1e-a7f5-38c0d2e96b71",
            "app_package_code": "bicycle-crm-x2f1",
        },
        "response": {"status": 200},
        "admin": {"id": str(ADMIN_ID), "email": "ines@example.com"},
    }


def call(now: int, *, ended: bool, recorded: bool = False, transcribed: bool = False) -> Item:
    """Return a phone call of five minutes."""
    return {
        "type": "call",
        "id": "93021",
        "conversation_id": CONVERSATION_ID,
        "admin_id": str(ADMIN_ID),
        "contact_id": CONTACT_ID,
        "state": "completed" if ended else "in_progress",
        "initiated_at": now - 310,
        "answered_at": now - 300,
        "ended_at": now if ended else None,
        "created_at": now - 310,
        "updated_at": now,
        "recording_url": f"{CALL_URL}/recording" if recorded else None,
        "transcription_url": f"{CALL_URL}/transcript" if transcribed else None,
        "call_type": "phone",
        "direction": "inbound",
        "ended_reason": "completed" if ended else None,
        "phone": "+31201234567",
        "fin_recording_url": None,
        "fin_transcription_url": None,
    }


def connector_execution(now: int) -> Item:
    """Return how a data connector's request went."""
    return {
        "type": "data_connector.execution",
        "id": "55120938",
        "app_id": WORKSPACE,
        "action_id": "70188",
        "action_name": "Look up an order",
        "success": True,
        "http_status": 200,
        "error_type": None,
        "execution_time_ms": 184,
        "completed_at": iso_z(now),
        "source_type": "workflow",
        "source_id": "31044",
        "conversation_id": CONVERSATION_ID,
        "user_id": CONTACT_ID,
        "admin_id": str(ADMIN_ID),
    }


def event(now: int) -> Item:
    """Return a data event."""
    return {
        "type": "event",
        "event_name": "placed-order",
        "id": "b0d0c6aa-6d0e-11f0-9d3c-0242ac120002",
        "intercom_user_id": CONTACT_ID,
        "user_id": "user-12345",
        "email": "noor@example.com",
        "metadata": {"order_number": "A-20417", "price": {"amount": 34999, "currency": "eur"}},
        "created_at": now,
        "ext_metadata": {},
    }


def job(now: int) -> Item:
    """Return a job that has run, and where its result is."""
    return {
        "type": "job",
        "id": "48213",
        "status": "success",
        "url": "https://api.intercom.io/jobs/status/48213",
        "resource_type": "ticket",
        "resource_id": "70021586",
        "resource_url": "https://api.intercom.io/tickets/70021586",
    }


def ping(now: int) -> Item:
    """Return a ping."""
    return {"type": "ping", "message": "All is well at this end"}


def question_to_a_person(now: int) -> Item:
    """Return the step of a procedure at which a person has to decide; it has no id but ``step_id``."""

    def message(id: str, author: Item, body: str, at: int) -> Item:
        return {
            "type": "conversation_part",
            "id": id,
            "part_type": "comment",
            "body": body,
            "created_at": at,
            "author": {key: author[key] for key in ("type", "id", "name", "email")},
        }

    return {
        "type": "procedure.hitl_notification",
        "app_id": WORKSPACE,
        "conversation_id": CONVERSATION_ID,
        "step_id": "c70e53b2-4e9c-4c59-9f0d-2f6f3b9a8812",
        "procedure_name": "Pay by invoice",
        "hitl_question": "May this customer pay by invoice?",
        "attributes_to_collect": [
            {
                "type": "data_attribute",
                "identifier": "workflow_local_variables.1f0a2f8e-5b7d-4a57-8a60-0c9d6b6f4a11",
                "name": "Invoice allowed",
                "label": "Invoice allowed",
                "data_type": "boolean",
            },
            {
                "type": "data_attribute",
                "identifier": "workflow_local_variables.a4d7c1b0-7a52-49a3-bf0e-3f1f5f0f9c22",
                "name": "Days to pay",
                "label": "Days to pay",
                "data_type": "list",
                "options": [
                    {"id": "0b9f3c62-9d5e-4f0b-9a3a-6f5a2f1d7e33", "label": "14 days"},
                    {"id": "5e2c8d71-3b1f-4c68-8d47-9a0b1c2d3e44", "label": "30 days"},
                ],
            },
        ],
        "callback_url": f"https://api.intercom.io/procedures/{CONVERSATION_ID}/collect_agent_input",
        "expires_at": now + 86_400,
        "priority": "not_priority",
        "assign_to": {"type": "team", "id": TEAM_ID, "name": "Billing"},
        "conversation_url": (
            f"https://app.intercom.com/a/inbox/{WORKSPACE}/inbox/shared/all/conversation/{CONVERSATION_ID}"
        ),
        "recent_messages": [
            message("38114902760", CUSTOMER, QUESTION, now - 60),
            message("38114902763", FIN, "<p>I am asking the team.</p>", now - 30),
        ],
    }


ITEMS: Final[dict[str, ItemMaker]] = {
    "api.request.completed": api_request,
    "call.ended": partial(call, ended=True),
    "call.recording_available": partial(call, ended=True, recorded=True),
    "call.started": partial(call, ended=False),
    "call.transcription_available": partial(call, ended=True, recorded=True, transcribed=True),
    "data_connector.execution.completed": connector_execution,
    "event.created": event,
    "job.completed": job,
    "ping": ping,
    "procedure.hitl_notification.created": question_to_a_person,
}
