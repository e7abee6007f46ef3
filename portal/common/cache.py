"""The shared cache: it counts log-in failures, so every process must see the same one."""

import logging
from collections.abc import Callable
from typing import Any

import redis
from django.core.cache.backends.redis import RedisCache

from portal.common.pauses import Pause

logger = logging.getLogger(__name__)


def _tolerant(method: Callable[..., Any], otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: "TolerantRedisCache", *args: Any, **kwargs: Any) -> Any:
        if self.pause.lasts:
            return otherwise(*args, **kwargs)
        try:
            return method(self, *args, **kwargs)
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            self.pause.begin()
            logger.error("The cache at Redis does not answer; going on without it.")
            return otherwise(*args, **kwargs)

    return call


class TolerantRedisCache(RedisCache):
    """Django's Redis cache which answers as an empty one while the server is down, and says so in the log.

    Parents can still sign in and pay during an outage of Redis; only the counting of failed log-ins pauses.
    """

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        # A page asks the cache several times: it waits for a silent server once (socket_timeout).
        self.pause = Pause()

    get = _tolerant(RedisCache.get, lambda key, default=None, version=None: default)
    set = _tolerant(RedisCache.set, lambda *args, **kwargs: None)
    add = _tolerant(RedisCache.add, lambda *args, **kwargs: True)
    incr = _tolerant(RedisCache.incr, lambda key, delta=1, version=None: delta)
    touch = _tolerant(RedisCache.touch, lambda *args, **kwargs: False)
    delete = _tolerant(RedisCache.delete, lambda *args, **kwargs: False)
