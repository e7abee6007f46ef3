"""The shared cache while its server is down: as if it were empty, and a line in the log."""

import pytest

from portal.common.cache import TolerantRedisCache


@pytest.fixture
def dead() -> TolerantRedisCache:
    return TolerantRedisCache("redis://127.0.0.1:1/0", {"OPTIONS": {"socket_connect_timeout": 1}})


def test_a_cache_that_is_down_answers_as_an_empty_one(
    dead: TolerantRedisCache, caplog: pytest.LogCaptureFixture
) -> None:
    assert dead.get("key", "default") == "default"
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
