"""What a browser says against a page: its console, its policy, the network; axe-core and the width of the page."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response

AXE = Axe().axe_script
# Colours that are still changing (Django's administration lets them slide) are waited for. No preload: axe would read
# the style sheets by writing styles into the page, which its policy rightly refuses.
FIND_VIOLATIONS = """async () => {
    await new Promise((drawn) => requestAnimationFrame(drawn));
    await Promise.allSettled(document.getAnimations().map((animation) => animation.finished));
    const {violations} = await axe.run(document, {resultTypes: ["violations"], preload: false});
    return violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id} : ${node.html} ${node.failureSummary}`));
}"""
# What the page is made of: the kinds of elements in it, not their number.
INGREDIENTS = """() => [...new Set([...document.body.querySelectorAll("*")].map(
    (element) => `${element.tagName}.${element.getAttribute("class")}`))].sort().join(" ")"""
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")


@dataclass
class Faults:
    """Everything that no page of the platform may do, whatever the test is about."""

    found: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._console)
        context.on("weberror", lambda error: self.found.append(f"exception : {error.error}"))
        context.on("response", self._response)
        context.on("requestfailed", self._failed)

    def _console(self, message: ConsoleMessage) -> None:
        # An answer of 4xx is no fault of the page it answers; those of its files are seen below.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.found.append(f"console : {message.text} ({message.location.get('url')})")

    def _response(self, response: Response) -> None:
        is_page = response.request.resource_type == "document"
        if response.status >= (500 if is_page else 400):
            self.found.append(f"{response.status} : {response.request.method} {response.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the person went elsewhere meanwhile
            self.found.append(f"{request.failure} : {request.url}")

    def assert_none(self) -> None:
        assert not self.found, "\n".join(dict.fromkeys(self.found))


@dataclass
class Looks:
    """Looks at each kind of page once, as four readers see it: on a screen and on a phone, light and dark."""

    seen: set[str] = field(default_factory=set)
    found: dict[str, list[str]] = field(default_factory=dict)  # the fault, and where it was seen

    def at(self, page: Page) -> None:
        path = re.sub(r"[0-9A-Za-z_-]*\d[\w:-]*", "…", urlsplit(page.url).path)
        key = f"{path} {page.evaluate(INGREDIENTS)}"
        if key in self.seen:
            return
        self.seen.add(key)
        before = page.viewport_size
        page.evaluate(AXE)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                for fault in self._violations(page):
                    self.found.setdefault(fault, []).append(f"{path} ({width} px, {scheme})")
        page.emulate_media(color_scheme="light")
        assert before is not None
        page.set_viewport_size(before)

    def _violations(self, page: Page) -> Iterator[str]:
        yield from page.evaluate(FIND_VIOLATIONS)
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if overflow > 0:
            yield f"the page is {overflow} px wider than its window"

    def assert_fine(self) -> None:
        lines = [f"{fault}\n    {', '.join(places[:6])}" for fault, places in self.found.items()]
        assert not lines, f"{len(lines)} faults:\n" + "\n".join(lines)
