"""Items about what a workspace publishes: articles, snippets, audiences, imports, and how it was received."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from .kinds import WORKSPACE, Item, ItemMaker
from .people import ADMIN_ID, contact
from .times import iso_z

ARTICLE_URL: Final = "https://help.example.com/en/articles/9134477-paying-by-invoice"


def article(now: int, *, published: bool) -> Item:
    """Return an article."""
    return {
        "id": "9134477",
        "type": "article",
        "workspace_id": WORKSPACE,
        "parent_id": None,
        "parent_type": None,
        "parent_ids": [],
        "statistics": {
            "type": "article_statistics",
            "views": 0,
            "conversations": 0,
            "reactions": 0,
            "happy_reaction_percentage": 0,
            "neutral_reaction_percentage": 0,
            "sad_reaction_percentage": 0,
        },
        "tags": {"type": "tag.list", "tags": []},
        "content_id": "11820093",
        "title": "Paying by invoice",
        "description": "For teams that cannot pay by card",
        "body": "<p>Choose <b>invoice</b> under Billing, then Payment.</p>",
        "body_markdown": None,
        "author_id": ADMIN_ID,
        "state": "published" if published else "draft",
        "created_at": iso_z(now),
        "updated_at": iso_z(now),
        "url": ARTICLE_URL if published else None,
    }


def audience(now: int) -> Item:
    """Return an audience."""
    return {
        "type": "audience",
        "id": "4402",
        "name": "Bicycle shops",
        "predicates": [
            {"attribute": "company.industry", "type": "string", "comparison": "eq", "value": "retail"},
        ],
        "role_predicates": [
            {"attribute": "role", "type": "role", "comparison": "eq", "value": "user"},
        ],
        "created_at": now,
        "updated_at": now,
    }


def audience_membership(now: int) -> Item:
    """Return an audience's id and the article that joined or left it."""
    return {
        "type": "audience_membership",
        "audience_id": "4402",
        "content": {"type": "article_content", "id": "11820093"},
    }


def import_source(now: int) -> Item:
    """Return a source from which content is imported; its id is an integer."""
    return {
        "type": "content_import_source",
        "id": 57,
        "last_synced_at": now,
        "status": "active",
        "url": "https://docs.example.com",
        "sync_behavior": "automatic",
        "created_at": now,
        "updated_at": now,
        "audience_ids": [4402],
    }


def snippet(now: int) -> Item:
    """Return a content snippet."""
    return {
        "type": "content_snippet",
        "id": "60718",
        "title": "Paying by invoice",
        "locale": "en",
        "json_blocks": [{"type": "paragraph", "text": "Choose invoice under Billing, then Payment."}],
        "body_markdown": "Choose invoice under Billing, then Payment.",
        "ai_chatbot_availability": True,
        "ai_copilot_availability": True,
        "ai_sales_agent_availability": False,
        "audience_ids": [],
        "created_at": now,
        "updated_at": now,
    }


def deleted(now: int, *, kind: str, id: str | int) -> Item:
    """Return what is left of a thing."""
    return {"type": kind, "id": id, "deleted": True}


def content_stat(now: int, *, content: str, stat: str, **more: Any) -> Item:
    """Return what a contact did with a piece of content; ``more`` are the keys that its kind adds."""
    return {
        "type": f"content_stat.{content}",
        "created_at": iso_z(now),
        "content_stat": {
            "id": 88120437,
            "content_type": content,
            "content_id": 30155,
            "stat_type": stat,
            "ruleset_id": 41877,
            "content_title": "Welcome aboard",
            "ruleset_version_id": 52906,
            "receipt_id": 70011,
            "tags": {"type": "list", "has_more": False, "data": [], "total_count": 0},
            **more,
        },
        "contact": contact(now),
    }


def survey(now: int) -> Item:
    """Return a finished survey with its answers."""
    answer = {
        "answered_at": iso_z(now),
        "question_id": "20931",
        "question_text": "What do you sell?",
        "response": "Bicycles",
    }
    return content_stat(now, content="survey", stat="completion", answers=[answer])


IN_A_SERIES: Final[dict[str, Any]] = {"series_id": 3306, "series_title": "First month", "node_id": 12}

ITEMS: Final[dict[str, ItemMaker]] = {
    "article.created": partial(article, published=False),
    "article.deleted": partial(article, published=False),
    "article.published": partial(article, published=True),
    "article.unpublished": partial(article, published=False),
    "article.updated": partial(article, published=True),
    "audience.created": audience,
    "audience.deleted": partial(deleted, kind="audience", id="4402"),
    "audience.member_added": audience_membership,
    "audience.member_removed": audience_membership,
    "audience.updated": audience,
    "content_import_source.created": import_source,
    "content_import_source.deleted": partial(deleted, kind="content_import_source", id=57),
    "content_import_source.updated": import_source,
    "content_snippet.created": snippet,
    "content_snippet.deleted": partial(deleted, kind="content_snippet", id="60718"),
    "content_snippet.updated": snippet,
    "content_stat.banner": partial(content_stat, content="banner", stat="click"),
    "content_stat.carousel": partial(content_stat, content="carousel", stat="button_tap"),
    "content_stat.chat": partial(content_stat, content="chat", stat="open"),
    "content_stat.checklist": partial(content_stat, content="checklist", stat="receipt"),
    "content_stat.custom_bot": partial(content_stat, content="custom_bot", stat="completion"),
    "content_stat.email": partial(content_stat, content="email", stat="open", **IN_A_SERIES),
    "content_stat.news_item": partial(content_stat, content="news_item", stat="reaction"),
    "content_stat.post": partial(content_stat, content="post", stat="click"),
    "content_stat.push": partial(content_stat, content="push", stat="push_failure"),
    "content_stat.series": partial(content_stat, content="series", stat="series_completion", **IN_A_SERIES),
    "content_stat.series.webhook": partial(content_stat, content="series.webhook", stat="receipt", **IN_A_SERIES),
    "content_stat.sms": partial(content_stat, content="sms", stat="keyword_reply"),
    "content_stat.survey": survey,
    "content_stat.tooltip_group": partial(content_stat, content="tooltip_group", stat="receipt"),
    "content_stat.tour": partial(content_stat, content="tour", stat="completion"),
}
