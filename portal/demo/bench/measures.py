"""The scenarios, what they cost, and what they are asked to cost."""

import gzip
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from portal.demo.bench.browser import Browser, Page
from portal.demo.bench.fleet import Fleet, Sample
from portal.demo.bench.tasks import buy, choice, journey, means

CLIENTS = 4
SMALL, LARGE = 4, 280
RACERS = 40


@dataclass
class Size:
    """How long to measure."""

    seconds: float = 4.0  # for each page, and each number of clients
    journeys: float = 10.0
    adds: int = 30  # of 4 lines, for each client
    carts: int = 10  # of 4 lines to be paid, for each of 4 clients
    large: int = 12  # carts of 280 lines with one client; a quarter of them for each of 4 clients
    races: int = 3


QUICK = Size(seconds=0.3, journeys=0.5, adds=3, carts=2, large=4, races=1)


@dataclass
class Row:
    """One line of the table; what was not measured stays None."""

    name: str
    queries: int | None = None
    median: float | None = None
    p95: float | None = None
    rate: float | None = None  # a second, of several clients together
    rate_alone: float | None = None  # of one client
    cpu: float | None = None
    size: float | None = None  # kB gzipped
    text: str = ""  # instead of figures, after the name
    note: str = ""  # under the table
    aims: list[tuple[str, bool]] = field(default_factory=list)
    of: str = ""  # the row that it is compared with

    def aim(self, text: str, reached: bool) -> None:
        self.aims.append((text, reached))


def quantile(values: Sequence[float], part: float) -> float:
    """The nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def rate(clients: Sequence[Sequence[Sample]]) -> float:
    """Requests a second of clients that ran together."""
    samples = [sample for client in clients for sample in client]
    return len(samples) / (max(row.ended for row in samples) - min(row.begun for row in samples))


def filled(row: Row, alone: Sequence[Sample], together: Sequence[Sequence[Sample]]) -> Row:
    times = [sample.ms for sample in alone]
    row.median, row.p95 = statistics.median(times), quantile(times, 0.95)
    row.cpu = statistics.median(sample.cpu for sample in alone)
    row.rate, row.rate_alone = rate(together), rate([alone])
    return row


def zipped(page: Page) -> float:
    return len(gzip.compress(page.body.encode(), 6)) / 1000


class Measures:
    """Runs the scenarios in the order of the table."""

    def __init__(
        self,
        port: int,
        plan: dict[str, Any],
        fleet: Fleet,
        size: Size,
        say: Callable[[str], None],
        spent: Callable[[], float],
    ) -> None:
        """`spent` tells the seconds of processor that site, database and clients have taken so far."""
        self.port, self.plan, self.fleet, self.size, self.say, self.spent = port, plan, fleet, size, say, spent
        self.buyers = list(plan["buyers"])
        self.rows: list[Row] = []

    def run(self) -> list[Row]:
        self.page("Page de référence (30 lignes, sans requête)", "/bench/reference/", "")
        self.page("Accueil", "/", self.plan["lookers"]["2"])
        for row in self.pages():
            if row.name.startswith("Calendrier"):
                self.aim_calendar(row)
        adds = [self.add(SMALL), self.add(LARGE)]
        pays = [self.pay(SMALL), self.pay(LARGE)]
        together = ((adds[1].median or 0) + (pays[1].median or 0)) / 1000
        pays[1].aim(f"280 lignes ajoutées et payées en moins de 0,3 s : {together:.2f} s", together < 0.3)
        ratio = (pays[1].median or 0) / (pays[0].median or 1)
        pays[1].aim(f"5 fois le temps de 4 lignes au plus : {ratio:.1f}", ratio <= 5)
        self.journeys()
        self.races()
        return self.rows

    # --- pages

    def pages(self, suffix: str = "") -> list[Row]:
        """What a family reads of its bookings and of those it could make."""
        plan, looker = self.plan, self.plan["lookers"]
        year = f"?annee={plan['next_year']}"
        wanted = [
            (f"Calendrier de l’année, cantine, {children} enfants", plan["activity"] + year, looker[children])
            for children in ("2", "6")
        ]
        wanted += [
            (
                f"Calendrier de {plan['every_day_count']} jours ouverts, 6 enfants",
                plan["every_day"] + year,
                looker["6"],
            ),
            ("Mes réservations", "/mon-compte/reservations/", plan["reader"]),
        ]
        rows = []
        for name, path, session in wanted:
            row = self.page(name + suffix, path, session)
            row.of = name
            rows.append(row)
        return rows

    def page(self, name: str, path: str, session: str) -> Row:
        self.say(name)
        counting = Browser(self.port, session, count=True)
        counting.get(path)
        page = counting.get(path)
        job = {"port": self.port, "session": session, "path": path, "seconds": self.size.seconds}
        row = Row(name, queries=page.queries, size=zipped(page))
        self.rows.append(
            filled(row, self.fleet.run("read", [job])[0], self.fleet.run("read", [job for _client in range(CLIENTS)]))
        )
        return row

    def aim_calendar(self, row: Row) -> None:
        row.aim("moins de 30 ms", (row.median or 0) < 30)
        row.aim("moins de 40 ko", (row.size or 0) < 40)
        row.aim("14 requêtes au plus", (row.queries or 0) <= 14)

    # --- cart and payment

    def take(self, count: int) -> list[dict[str, Any]]:
        """Buyers that nobody has used yet."""
        taken, self.buyers = self.buyers[:count], self.buyers[count:]
        if len(taken) < count:
            raise AssertionError("too few buyers were loaded")
        return taken

    def dates(self, lines: int, number: int = 0) -> list[str]:
        """Dates for a purchase of so many lines for two children, the `number`-th of them."""
        days = lines // 2
        found: list[str] = self.plan["dates"][number * days : (number + 1) * days]
        if len(found) < days:
            raise AssertionError(f"only {len(self.plan['dates'])} open days")
        return found

    def job(self, choices: Sequence[Any]) -> dict[str, Any]:
        return {
            "port": self.port,
            "activity": self.plan["activity"],
            "slot": self.plan["slot"],
            "choices": list(choices),
        }

    def carts(self, lines: int, count: int) -> list[Any]:
        """One cart each of so many buyers."""
        return [(buyer["session"], buyer["children"], self.dates(lines)) for buyer in self.take(count)]

    def shared(self, choices: Sequence[Any]) -> list[dict[str, Any]]:
        return [self.job(choices[index::CLIENTS]) for index in range(CLIENTS)]

    def add(self, lines: int) -> Row:
        name = f"Ajout au panier de {lines} lignes"
        self.say(name)
        buyer = self.take(1)[0]
        counting = Browser(self.port, buyer["session"], count=True)
        token = counting.get(self.plan["activity"]).token
        added = counting.post(
            self.plan["activity"], token, choice(self.plan["slot"], buyer["children"], self.dates(lines))
        )
        row = Row(name, queries=added.queries)
        row.aim("15 requêtes au plus", added.queries <= 15)
        if lines == SMALL:
            alone, *others = [
                self.job([(person["session"], person["children"], self.dates(lines, n)) for n in range(self.size.adds)])
                for person in self.take(1 + CLIENTS)
            ]
        else:
            alone = self.job(self.carts(lines, self.size.large))
            others = self.shared(self.carts(lines, self.size.large))
        self.rows.append(filled(row, self.fleet.run("add", [alone])[0], self.fleet.run("add", others)))
        return row

    def pay(self, lines: int) -> Row:
        name = f"Paiement de {lines} lignes par porte-monnaie"
        self.say(name)
        buyer = self.take(1)[0]
        counting = Browser(self.port, buyer["session"], count=True)
        token = counting.get(self.plan["activity"]).token
        counting.post(self.plan["activity"], token, choice(self.plan["slot"], buyer["children"], self.dates(lines)))
        payment = buy(counting, after="payment")
        paid = counting.post("/commande/paiement/", payment.token, means(payment))
        row = Row(name, queries=paid.queries)
        most = 20 if lines == SMALL else 25
        row.aim(f"{most} requêtes au plus", paid.queries <= most)
        count = self.size.carts * 2 if lines == SMALL else self.size.large
        alone = self.fleet.run("pay", [self.job(self.carts(lines, count))])[0]
        count = self.size.carts * CLIENTS if lines == SMALL else self.size.large
        self.rows.append(filled(row, alone, self.fleet.run("pay", self.shared(self.carts(lines, count)))))
        return row

    # --- whole journeys

    def journeys(self) -> None:
        name = "Parcours entier, 4 lignes"
        self.say(name)
        counting, alone, *others = self.take(2 + CLIENTS)
        browser = Browser(self.port, counting["session"], count=True)
        browser.get("/")  # the session's one write a minute is not the journey's
        browser.pages.clear()
        journey(browser, self.plan, counting["children"], self.dates(SMALL))
        queries = sum(page.queries for page in browser.pages)
        row = Row(f"{name} ({len(browser.pages)} requêtes HTTP)", queries=queries, size=None)
        jobs = [
            {
                "port": self.port,
                "session": person["session"],
                "plan": {name: self.plan[name] for name in ("service", "activity", "slot")},
                "people": person["children"],
                "dates": [self.dates(SMALL, n) for n in range(len(self.plan["dates"]) // 2)],
                "seconds": self.size.journeys,
            }
            for person in (alone, *others)
        ]
        alone_rows = self.fleet.run("journeys", jobs[:1])[0]
        before = self.spent()
        together = self.fleet.run("journeys", jobs[1:])
        cost = (self.spent() - before) / sum(len(client) for client in together)
        filled(row, alone_rows, together)
        # What other programs take lowers the rate, not the cost: it says what the machine could do.
        row.note = (
            f"Une commande coûte {cost * 1000:.0f} ms de processeur (site, PostgreSQL et client) : seules, "
            f"{os.cpu_count()} unités de calcul en feraient {(os.cpu_count() or 1) / cost:.0f} par seconde."
        )
        row.aim("20 commandes/s au moins", (row.rate or 0) >= 20)
        row.aim("80 requêtes SQL au plus", queries <= 80)
        self.rows.append(row)

    def races(self) -> None:
        """40 people press « Ajouter au panier » at once for 20 places; the winners go on to pay."""
        self.say("40 clients pour 20 places")
        race = self.plan["race"]
        racers = self.take(RACERS)
        seconds, sold = [], []
        for _key, date in race["days"][: self.size.races]:
            jobs = [
                {
                    "port": self.port,
                    "session": person["session"],
                    "activity": race["activity"],
                    "slot": race["slot"],
                    "people": person["children"][:1],
                    "date": date,
                }
                for person in racers
            ]
            clients = self.fleet.run("race", jobs)
            rows = [sample for client in clients for sample in client]
            paid = [sample for sample in rows if sample.label == "paid"]
            sold.append(len(paid))
            seconds.append(max(sample.ended for sample in paid) - min(sample.begun for sample in rows))
        middle = statistics.median(seconds)
        row = Row(f"40 clients pour {race['places']} places")
        row.text = (
            f"{' / '.join(str(count) for count in sold)} vendues, la dernière payée après {middle:.2f} s"
            f" (de {min(seconds):.2f} à {max(seconds):.2f} s)"
        )
        row.aim("20 vendues exactement", set(sold) == {race["places"]})
        row.aim("moins de 1,5 s", middle < 1.5)
        self.rows.append(row)
