"""The platform behind a real socket, one thread per connection, in the process of the tests."""

from typing import Self

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test.testcases import LiveServerThread


class LiveServer:
    """pytest-django's `live_server` without the flush of the database that it brings along (see conftest.py)."""

    def __enter__(self) -> Self:
        self.thread = LiveServerThread("127.0.0.1", static_handler=StaticFilesHandler)
        self.thread.daemon = True
        self.thread.start()
        self.thread.is_ready.wait()
        if self.thread.error:
            raise self.thread.error
        return self

    def __exit__(self, *_error: object) -> None:
        self.thread.terminate()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.thread.port}"
