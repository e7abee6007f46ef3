"""What one client does: pages to read, carts to fill and to pay, whole journeys. Nothing of Django is imported here.

A job is a dictionary: `port`, then what its task needs. `prepare` is not measured, `run` is.
"""

import time
from collections.abc import Sequence
from typing import Any

from portal.demo.bench.browser import Browser, Page

Row = tuple[str, float, float, float, int]


def sample(label: str, page: Page) -> Row:
    return label, page.begun, page.ended, page.cpu, page.status


def choice(slot: str, people: Sequence[str], dates: Sequence[str]) -> dict[str, str | Sequence[str]]:
    return {"slot": slot, "people": people, "dates": dates}


def buy(browser: Browser, *, after: str = "pay") -> Page:
    """From the cart to the paid order, page by page as a browser goes; up to the payment's page with after="payment"."""
    browser.get("/panier/")
    browser.get("/commande/recapitulatif/")
    terms = browser.get("/commande/conditions/")
    browser.post("/commande/conditions/", terms.token, {"accept": "on", "terms": terms.value("terms")})
    payment = browser.get("/commande/paiement/")
    if after == "payment":
        return payment
    paid = browser.post("/commande/paiement/", payment.token, means(payment))
    return browser.get(paid.location)


def means(payment: Page) -> dict[str, str | Sequence[str]]:
    return {"cart": payment.value("cart"), "total": payment.value("total"), "means": "wallet"}


def journey(browser: Browser, plan: dict[str, Any], people: Sequence[str], dates: Sequence[str]) -> None:
    """The whole way of a parent: service, activity, add, cart, five steps, order."""
    browser.get(plan["service"])
    activity = browser.get(plan["activity"])
    browser.post(plan["activity"], activity.token, choice(plan["slot"], people, dates))
    buy(browser)


class Task:
    """A client with one job."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.browser = Browser(job["port"], job.get("session", ""))

    def prepare(self) -> None:
        """What is done before the clock starts."""

    def run(self) -> list[Row]:
        raise NotImplementedError


class Read(Task):
    """Read one page for some seconds, at least a few times. Job: path, seconds."""

    LEAST = 5

    def prepare(self) -> None:
        for _time in range(3):
            self.browser.get(self.job["path"])

    def run(self) -> list[Row]:
        rows: list[Row] = []
        end = time.perf_counter() + self.job["seconds"]
        while time.perf_counter() < end or len(rows) < self.LEAST:
            rows.append(sample("read", self.browser.get(self.job["path"])))
            self.browser.pages.clear()
        return rows


class Add(Task):
    """Add to the cart, once for each of the job's `choices`: (session, people, dates)."""

    def prepare(self) -> None:
        self.ready = []
        browsers: dict[str, tuple[Browser, str]] = {}
        for session, people, dates in self.job["choices"]:
            if session not in browsers:
                browser = Browser(self.job["port"], session)
                browsers[session] = browser, browser.get(self.job["activity"]).token
            self.ready.append((*browsers[session], people, dates))

    def run(self) -> list[Row]:
        return [
            sample("add", browser.post(self.job["activity"], token, choice(self.job["slot"], people, dates)))
            for browser, token, people, dates in self.ready
        ]


class Pay(Task):
    """Pay carts filled beforehand, one for each of the job's `choices`."""

    def prepare(self) -> None:
        self.ready = []
        for session, people, dates in self.job["choices"]:
            browser = Browser(self.job["port"], session)
            token = browser.get(self.job["activity"]).token
            browser.post(self.job["activity"], token, choice(self.job["slot"], people, dates))
            self.ready.append((browser, buy(browser, after="payment")))

    def run(self) -> list[Row]:
        return [
            sample("pay", browser.post("/commande/paiement/", payment.token, means(payment)))
            for browser, payment in self.ready
        ]


class Journeys(Task):
    """Whole journeys for some seconds; one sample is a journey. Job: plan, session, people, dates (of each), seconds."""

    def run(self) -> list[Row]:
        rows: list[Row] = []
        end = time.perf_counter() + self.job["seconds"]
        for dates in self.job["dates"]:
            if rows and time.perf_counter() >= end:
                break
            journey(self.browser, self.job["plan"], self.job["people"], dates)
            pages = self.browser.pages
            rows.append(("journey", pages[0].begun, pages[-1].ended, sum(page.cpu for page in pages), 200))
            pages.clear()
        return rows


class Race(Task):
    """One place on a day that too many want: whoever gets it goes on to pay it. Job: activity, slot, people, date."""

    def prepare(self) -> None:
        self.token = self.browser.get(self.job["activity"]).token

    def run(self) -> list[Row]:
        wish = choice(self.job["slot"], self.job["people"], [self.job["date"]])
        added = self.browser.post(self.job["activity"], self.token, wish, expect=None)
        if added.status == 409 and "complète" in added.body:
            return [sample("full", added)]
        if added.status != 302:
            raise AssertionError(f"neither a place nor a full day: {added.status} {added.body}")
        paid = buy(self.browser)
        return [sample("added", added), sample("paid", self.browser.pages[-2]), sample("order", paid)]


TASKS: dict[str, type[Task]] = {"read": Read, "add": Add, "pay": Pay, "journeys": Journeys, "race": Race}
