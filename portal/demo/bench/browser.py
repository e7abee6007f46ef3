"""A small browser: cookies, forms with their CSRF token, no redirect followed. Nothing of Django is imported here."""

import http.client
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

COUNT = "X-Bench-Count"  # asks for the number of queries
QUERIES = "X-Bench-Queries"
CPU = "X-Bench-Cpu"  # milliseconds of the worker's processor

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass
class Page:
    """An answer, and what it cost."""

    status: int
    location: str
    body: str
    begun: float
    ended: float
    cpu: float
    queries: int

    @property
    def ms(self) -> float:
        return (self.ended - self.begun) * 1000

    @property
    def token(self) -> str:
        found = TOKEN.search(self.body)
        if found is None:
            raise AssertionError(f"no form on the page: {self.body[:300]}")
        return found[1]

    def value(self, name: str) -> str:
        """The value of the hidden field of that name."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.body)
        if found is None:
            raise AssertionError(f"no field {name}: {self.body[:300]}")
        return found[1]


@dataclass
class Browser:
    """One person's browser. Each request is a connection of its own, as synchronous workers serve them."""

    port: int
    session: str = ""
    count: bool = False
    cookies: dict[str, str] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.session:
            self.cookies["sessionid"] = self.session

    def get(self, path: str, *, expect: int = 200) -> Page:
        return self._send("GET", path, None, expect)

    def post(
        self, path: str, token: str, fields: Mapping[str, str | Sequence[str]], *, expect: int | None = 302
    ) -> Page:
        body = urlencode([("csrfmiddlewaretoken", token), *fields.items()], doseq=True)
        return self._send("POST", path, body, expect)

    def _send(self, method: str, path: str, body: str | None, expect: int | None) -> Page:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if self.count:
            headers[COUNT] = "1"
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["Origin"] = f"http://127.0.0.1:{self.port}"
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        ended = time.perf_counter()
        for header in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = header.split(";", 1)[0].partition("=")
            if value in ("", '""'):
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        page = Page(
            status=answer.status,
            location=urlsplit(answer.headers.get("Location", "")).path,
            body=content.decode(),
            begun=begun,
            ended=ended,
            cpu=float(answer.headers.get(CPU, 0)),
            queries=int(answer.headers.get(QUERIES, 0)),
        )
        self.pages.append(page)
        if expect is not None and page.status != expect:
            text = re.sub(r"<[^>]+>|\s+", " ", page.body)
            raise AssertionError(f"{method} {path}: {page.status} {page.location} instead of {expect}: {text[:2000]}")
        return page
