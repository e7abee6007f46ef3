"""The shared cache while its server is down: as if it were empty, and a line in the log."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from portal.common.cache import TolerantRedisCache
from portal.demo import servers


@pytest.fixture
def dead() -> TolerantRedisCache:
    return TolerantRedisCache("redis://127.0.0.1:1/0", {"OPTIONS": {"socket_connect_timeout": 1}})


def test_a_cache_that_is_down_answers_as_an_empty_one(
    dead: TolerantRedisCache, caplog: pytest.LogCaptureFixture
) -> None:
    assert dead.get("key", "default") == "default"
    dead.pause.end()
    assert dead.add("key", 1) is True
    assert dead.incr("key", 2) == 2
    assert dead.delete("key") is False
    assert dead.touch("key") is False
    dead.set("key", 1)
    assert "does not answer" in caplog.text


def test_a_cache_that_is_up_remembers() -> None:
    from django.core.cache import cache

    cache.set("key", 1, timeout=60)
    assert (cache.get("key"), cache.incr("key"), cache.add("key", 5)) == (1, 2, False)
    assert cache.delete("key") is True


@pytest.fixture
def valkey() -> Iterator[servers.Valkey]:
    with servers.throwaway_folder("muet") as base, servers.Valkey(base) as valkey:
        yield valkey


def test_a_server_that_says_nothing_is_waited_for_once(valkey: servers.Valkey) -> None:
    options = {"OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 0.5}}
    cache = TolerantRedisCache(valkey.url(), options)
    cache.set("key", 1)
    assert valkey.child is not None
    os.kill(valkey.child.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert cache.get("key", "default") == "default"
        waited = time.monotonic() - begun
        for _question in range(20):  # each of them would wait as long
            assert cache.get("key", "default") == "default"
        assert time.monotonic() - begun < waited + 0.4
        cache.pause.end()
        assert cache.get("key", "default") == "default" and time.monotonic() - begun > waited + 0.4
    finally:
        os.kill(valkey.child.pid, signal.SIGCONT)
    cache.pause.end()
    assert cache.get("key") == 1
