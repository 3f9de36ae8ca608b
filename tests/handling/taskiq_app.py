"""What the workers load: ``taskiq worker tests.handling.taskiq_app:broker``."""

from __future__ import annotations

import os

import msgspec

from starlette_intercom.handling.taskiq import TaskiqRunner

from .taskiq_parts import Settings, build

intercom = build(msgspec.json.decode(os.environ["TASKIQ_SETTINGS"], type=Settings))
assert isinstance(intercom.runner, TaskiqRunner)
broker = intercom.runner.broker
