"""What is checked before the first delivery is accepted, and what people are told."""

from __future__ import annotations

import logging
import subprocess
import sys

import anyio
import pytest
import redis.asyncio
from redis.asyncio.cluster import RedisCluster

from starlette_intercom import ConfigurationError, InboxUnavailable, Intercom
from starlette_intercom.inbox.redis import RedisInbox
from starlette_intercom.inbox.redis.script import Client
from starlette_intercom.inbox.urls import inbox_from_url
from starlette_intercom.testing.conformance_model import notification_for
from tests.redis_process import RedisProcess, free_port

pytestmark = pytest.mark.anyio


async def works(inbox: RedisInbox) -> bool:
    """Take one delivery through."""
    await inbox.open()
    try:
        await inbox.accept(notification_for("a"), key="a", group="g")
        (claim,) = await inbox.claim(2, lease=30)
        await inbox.complete(claim)
        return (await inbox.stats()).done == 1
    finally:
        await inbox.close()


class TestOnAsyncio:
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    async def test_a_policy_that_throws_deliveries_away_is_refused(
        self, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
    ) -> None:
        redis_process.client().config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(ConfigurationError, match="Set it to 'noeviction'"):
            await RedisInbox(redis_process.url).open()
        assert await works(RedisInbox(redis_process.url, allow_eviction=True))
        assert "'allkeys-lru'" in caplog.text

    async def test_no_key_expires_so_that_policies_for_expiring_keys_are_harmless(
        self, redis_process: RedisProcess
    ) -> None:
        redis_process.client().config_set("maxmemory-policy", "volatile-lru")
        assert await works(RedisInbox(redis_process.url))
        assert redis_process.client().info("keyspace")["db0"]["expires"] == 0

    async def test_a_server_without_a_log_is_named(
        self, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert await works(RedisInbox(redis_process.url))
        assert not caplog.records
        redis_process.client().config_set("appendonly", "no")
        assert await works(RedisInbox(redis_process.url, prefix="again"))
        assert "appendonly yes" in caplog.text

    async def test_where_commands_of_operators_are_forbidden_it_works(
        self, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
    ) -> None:
        with redis_process.client() as client:
            client.acl_setuser("app", enabled=True, passwords=["+pw"], keys="*", categories=["+@all", "-@admin"])
            url = redis_process.url.replace("//", "//app:pw@")
            assert await works(RedisInbox(url))
            assert not caplog.records
            client.execute_command("ACL SETUSER app -info")
            assert await works(RedisInbox(url, prefix="again"))
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "INFO is forbidden" in caplog.text

    async def test_it_says_which_password_is_wrong_and_does_not_show_it(
        self, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
    ) -> None:
        redis_process.client().config_set("requirepass", "right")
        with pytest.raises(ConfigurationError, match="asks for another user or password"):
            await RedisInbox(redis_process.url).open()
        wrong = RedisInbox(redis_process.url.replace("//", "//:topsecret@"))
        with pytest.raises(ConfigurationError, match="asks for another") as caught:
            await wrong.open()
        assert "topsecret" not in f"{caught.value!r} {wrong!r} {caplog.text}"
        assert await works(RedisInbox(redis_process.url.replace("//", "//:right@")))

    async def test_a_server_that_is_away_is_unavailable(self) -> None:
        inbox = RedisInbox(f"redis://127.0.0.1:{free_port()}")
        with pytest.raises(InboxUnavailable, match="cannot be reached"):
            await inbox.open()
        await inbox.close()

    async def test_a_client_of_ones_own_is_used_and_left_open(self, shared_redis: RedisProcess) -> None:
        async with redis.asyncio.Redis(port=shared_redis.port) as client:
            assert await works(RedisInbox(client, prefix="own client"))
            assert await client.ping()

    async def test_one_hash_tag_keeps_all_keys_on_one_node_of_a_cluster(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        directory = tmp_path_factory.mktemp("cluster")
        cluster = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        with RedisProcess(directory, *cluster) as server, server.client() as operator:
            operator.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
            with anyio.fail_after(20):
                while operator.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                    await anyio.sleep(0.05)
            async with RedisCluster.from_url(server.url) as client:
                assert await works(RedisInbox(client))
            slots = {operator.execute_command("CLUSTER KEYSLOT", key) for key in operator.keys("*")}
        assert len(slots) == 1


async def test_trio_is_refused_with_a_sentence(anyio_backend: str) -> None:
    if anyio_backend == "trio":
        with pytest.raises(ConfigurationError, match="asyncio only"):
            await RedisInbox("redis://127.0.0.1").open()


@pytest.mark.parametrize("url", ["redis://:top/secret@host:6379/0", "redis://:topsecret@host:port", "topsecret"])
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisInbox(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "options",
    [{"max_unfinished": 0}, {"retention": 0.0}, {"timeout": float("inf")}, {"prefix": "a{b}"}, {"prefix": ""}],
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="must be"):
        RedisInbox("redis://127.0.0.1", **options)  # type: ignore[arg-type]


def test_a_client_that_decodes_is_refused() -> None:
    client: Client = redis.asyncio.Redis(decode_responses=True)
    with pytest.raises(ConfigurationError, match="decode_responses"):
        RedisInbox(client)


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_url_is_all_it_takes(scheme: str) -> None:
    intercom = Intercom(client_secret="made up", inbox=f"{scheme}://127.0.0.1:6379/0")
    assert isinstance(intercom.inbox, RedisInbox)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = "starlette_intercom.inbox.redis", "redis"
    for name in [name for name in sys.modules if f"{name}.".startswith((f"{ours}.", f"{theirs}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'starlette-intercom\[redis\]'"):
        inbox_from_url("redis://127.0.0.1")


def test_the_library_imports_no_extra() -> None:
    code = "import starlette_intercom, sys; print(sorted({'redis', 'taskiq'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"
