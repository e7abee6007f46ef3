"""The invoice of a month, and the yearly papers: their figures are those of the orders and the ledger."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Commune
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from checkout.counter.actions import Paper, take_top_up
from checkout.counter.models import Means as CounterMeans
from checkout.models import Order, OrderLine, Payment
from checkout.papers import runs, tasks, yearly
from checkout.papers.invoices import families_of, invoice
from checkout.papers.models import Document, InvoiceRun, Kind
from checkout.papers.paper import stored
from checkout.papers.verification import verify_papers
from checkout.papers.yearly import (
    certificate,
    childcare_of,
    issue_certificate,
    paid_in,
    payments_certificate,
)
from families.models import Beneficiary
from portal.common.errors import Refused
from portal.common.formats import PARIS, euros, month, today
from portal.outbox import attachments
from portal.outbox.models import Email
from services.models import OpenDay, Slot
from tests.factories import agent_of
from tests.papers.reading import plain, words
from tests.shop import Shop, open_shop
from wallet.closings import actions as closings
from wallet.models import Entry, Wallet

pytestmark = pytest.mark.django_db


def ordered(days: int = 4, *, price: str = "7.90", children: int = 1, **slot: Any) -> Shop:
    """A family that has paid for `days` dates of each child from its wallet."""
    shop = open_shop(days=days, credit="200", price=price, children=children)
    Slot.objects.filter(pk=shop.slot.pk).update(**slot)
    shop.add()
    shop.pay(Means.WALLET, Decimal(price) * days * children)
    return shop


def born(shop: Shop, date: dt.date, child: int = 0) -> None:
    Beneficiary.objects.filter(pk=shop.children[child].pk).update(birth_date=date)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a date today for the papers that ask which year or month is over."""

    def travel(date: dt.date) -> None:
        monkeypatch.setattr(yearly, "today", lambda: date)
        monkeypatch.setattr(runs, "last_to_close", lambda: date - dt.timedelta(days=1))

    return travel


def month_after(date: dt.date) -> dt.date:
    return (date.replace(day=1) + dt.timedelta(days=32)).replace(day=1)


class TestInvoice:
    def test_its_figures_are_the_ledgers(self) -> None:
        shop = ordered()
        first = today().replace(day=1)
        content = invoice(shop.user, first)  # the month of the payment, whose dates come later
        rows = next(block for block in content.blocks if block.get("title") == "Porte-monnaie")
        wallet = Wallet.objects.get(user=shop.user)
        assert plain(rows["total"][-1]) == plain(f"{wallet.balance:.2f} €".replace(".", ","))
        assert len(rows["rows"]) == 1 + Entry.objects.filter(account=wallet.account_id).count()

    def test_what_is_given_in_the_month_is_counted_in_it(self) -> None:
        shop = ordered()
        by_month: dict[dt.date, Decimal] = {}
        for day in shop.days:
            first = day.date.replace(day=1)
            by_month[first] = by_month.get(first, Decimal()) + Decimal("7.90")
        for first, amount in by_month.items():
            assert invoice(shop.user, first).amount == amount
        assert sum(by_month.values()) == Decimal("31.60")

    def test_a_cancelled_date_is_not(self) -> None:
        shop = ordered(days=1)
        first = shop.days[0].date.replace(day=1)
        cancel_bookings(ids=[Booking.objects.get().pk], by=shop.user)
        assert invoice(shop.user, first).amount == 0

    def test_what_the_family_gave_is_apart_from_what_left_its_wallet(self) -> None:
        """The same euros are not summed twice: put into the wallet at the counter, then spent from it."""
        shop = open_shop(days=2)
        paper = Paper(CounterMeans.CASH, "Q-1")
        take_top_up(user=shop.user, amount=Decimal(60), paper=paper, commune=None, by=agent_of())
        shop.add()
        order = shop.pay(Means.WALLET, "15.80").order
        tables = self.tables(shop)
        given, spent = tables["Versé par la famille"], tables["Réglé avec le porte-monnaie"]
        assert given["total"][-1] == euros(Decimal(60)) and given["rows"][0][2] == "Espèces, quittance n° Q-1"
        assert spent["total"][-1] == euros(Decimal("15.80"))
        assert spent["rows"][0][1] == f"{order.number} (réservation)"
        ids = list(Booking.objects.order_by("pk").values_list("pk", flat=True))
        for pk, said in zip(ids, ("annulée en partie depuis", "annulée depuis"), strict=True):
            cancel_bookings(ids=[pk], by=shop.user)
            spent = self.tables(shop)["Réglé avec le porte-monnaie"]
            assert spent["rows"][0][1] == f"{order.number} (réservation, {said})"

    def tables(self, shop: Shop) -> dict[str, Any]:
        blocks = invoice(shop.user, today().replace(day=1)).blocks
        return {block["title"]: block for block in blocks if block["kind"] == "table"}

    def test_a_card_that_came_too_late_was_given_too(self) -> None:
        shop = open_shop(days=0)
        order = Order.objects.create(user=shop.user, kind="top_up", total=5)
        Payment.objects.create(order=order, provider="demo", amount=5, status="credited", ended_at=timezone.now())
        assert families_of(today().replace(day=1)).get() == shop.user
        (row,) = self.tables(shop)["Versé par la famille"]["rows"]
        assert row[1:] == [
            f"{order.number} (réglée trop tard, porté au porte-monnaie)", "Carte bancaire", euros(Decimal(5)),
        ]  # fmt: skip

    def test_a_month_without_a_service_says_so(self) -> None:
        shop = ordered(days=1)
        cancel_bookings(ids=[Booking.objects.get().pk], by=shop.user)
        said = str(invoice(shop.user, today().replace(day=1)).blocks)
        assert "Aucune prestation ce mois-ci : rien n’est à payer." in said and "Réglées d’avance" not in said

    def test_a_month_in_which_nothing_was_given_nor_moved_has_none(self) -> None:
        """An order that cost nothing and was cancelled: an invoice of 0,00 € would tell the family of nothing."""
        shop = ordered(days=1, price="0")
        first = shop.days[0].date.replace(day=1)
        assert families_of(first).get() == shop.user
        cancel_bookings(ids=[Booking.objects.get().pk], by=shop.user)
        assert not families_of(first).exists()

    def test_the_run_issues_each_once_and_only_where_there_is_something(self, at: Any) -> None:
        shops = [ordered(days=1) for _family in range(3)]
        nobody = open_shop(days=0)
        at(month_after(today()))
        with CaptureQueriesContext(connection) as queries:
            assert tasks.issue_invoices() == 3
        assert len(queries) <= 3 * 20 + 13
        assert tasks.issue_invoices() == 0
        assert set(Document.objects.values_list("user", flat=True)) == {shop.user.pk for shop in shops}
        assert nobody.user.pk not in Document.objects.values_list("user", flat=True)
        run = InvoiceRun.objects.get()
        assert (run.families, run.issued, run.failed) == (3, 3, 0) and run.finished_at
        paper = Document.objects.first()
        assert paper is not None and paper.kind == Kind.INVOICE and "Facture mensuelle" in words(paper)
        assert [row.number for row in Document.objects.order_by("pk")] == [1, 2, 3]

    def test_each_arrives_by_e_mail_with_its_paper(self, at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        shops = [ordered(days=1) for _family in range(3)]
        Email.objects.all().delete()
        pokes: list[int] = []
        monkeypatch.setattr(runs, "poke", lambda: pokes.append(Email.objects.count()))
        at(month_after(today()))
        tasks.issue_invoices()
        assert tasks.issue_invoices() == 0
        for shop in shops:
            paper = Document.objects.get(user=shop.user)
            letter = Email.objects.get(to=shop.user.email)
            assert (letter.key, letter.attachment) == (f"invoice:{paper.pk}", f"paper:{paper.pk}")
            assert paper.reference in letter.subject and month(today()).lower() in letter.subject
            assert f"Prestations du mois : {euros(paper.amount)}" in letter.body and "rien à payer" in letter.body
            assert attachments.read(letter).content == stored(paper)
        assert len(pokes) <= 2 and pokes[0] == 3  # a worker is not called for each of five thousand

    def test_an_invoice_whose_e_mail_fails_is_not_issued(self, at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        ordered(days=1)
        at(month_after(today()))
        monkeypatch.setattr("checkout.papers.invoices.write_email", lambda **_given: 1 / 0)
        assert tasks.issue_invoices() == 0 and not Document.objects.exists()
        assert "ZeroDivisionError" in InvoiceRun.objects.get().last_error

    def test_a_run_that_was_stopped_goes_on(self, at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        shops = [ordered(days=1) for _family in range(3)]
        at(month_after(today()))
        real, broken = runs.send_invoice, shops[1].user
        monkeypatch.setattr(
            runs, "send_invoice", lambda user, **given: 1 / 0 if user == broken else real(user=user, **given)
        )
        assert tasks.issue_invoices() == 2
        run = InvoiceRun.objects.get()
        assert run.failed == 1 and "ZeroDivisionError" in run.last_error and run.finished_at is None
        monkeypatch.setattr(runs, "send_invoice", real)
        assert tasks.issue_invoices() == 1
        run.refresh_from_db()
        assert (run.issued, run.failed) == (3, 0) and run.finished_at and run.last_error == ""

    def test_a_month_is_over_ten_minutes_after_its_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was paid in its last second may be committed after midnight: it belongs on this invoice and on no other."""
        ordered(days=1)
        first = month_after(today())
        for minutes, issued in ((0, 0), (9, 0), (10, 1)):
            moment = dt.datetime.combine(first, dt.time(0, minutes), tzinfo=PARIS)
            monkeypatch.setattr(closings, "now", lambda moment=moment: moment)
            assert tasks.issue_invoices() == issued

    def test_a_run_without_time_leaves_the_rest(self, at: Any) -> None:
        for _family in range(2):
            ordered(days=1)
        at(month_after(today()))
        assert tasks.issue_invoices(seconds=-1) == 0 and InvoiceRun.objects.get().finished_at is None
        assert tasks.issue_invoices() == 2

    def test_an_invoice_costs_the_same_with_forty_dates(self) -> None:
        small, large = ordered(days=1), ordered(days=20)
        first = today().replace(day=1)
        costs = []
        for shop in (small, large):
            with CaptureQueriesContext(connection) as queries:
                invoice(shop.user, first)
            costs.append(len(queries))
        assert costs[0] == costs[1] <= 7

    def test_an_empty_month_concerns_nobody(self) -> None:
        ordered(days=1)
        assert not families_of(dt.date(2020, 1, 1)).exists()


class TestPayments:
    def test_they_are_what_the_orders_cost_less_what_went_back(self) -> None:
        shop = ordered()
        cancel_bookings(ids=[Booking.objects.order_by("pk")[0].pk], by=shop.user)
        (row,) = paid_in(shop.user, today().replace(month=1, day=1), today())
        assert (row.paid, row.back, row.net) == (Decimal("31.60"), Decimal("7.90"), Decimal("23.70"))
        ledger = Entry.objects.filter(account__kind="revenue").aggregate(sum=Sum("amount"))["sum"]
        assert row.net == ledger == payments_certificate(shop.user, today().year).amount

    def test_the_paper_says_them_and_is_issued_once_a_day(self) -> None:
        shop = ordered()
        year = today().year
        shop.user.first_name, shop.user.last_name = "Amandine", "Roche"
        shop.user.save(update_fields=["first_name", "last_name"])
        paper = issue_certificate(kind=Kind.PAYMENTS, user=shop.user, year=year, by=shop.user)
        assert "encaissé d’Amandine Roche," in words(paper)
        assert "Total réglé : 31,60 €" in words(paper) and paper.amount == Decimal("31.60")
        assert paper == issue_certificate(kind=Kind.PAYMENTS, user=shop.user, year=year, by=shop.user)

    def test_it_is_of_the_year_once_the_year_is_over(self, at: Any) -> None:
        """Issued on 31 December at nine, and something is paid at ten: in January it is not handed out again."""
        shop = open_shop(credit="100")
        year = today().year
        issued = {"kind": Kind.PAYMENTS, "user": shop.user, "year": year, "by": shop.user}
        shop.add(days=shop.days[:1])
        shop.pay(Means.WALLET, "7.90")
        at(dt.date(year, 12, 31))
        early = issue_certificate(**issued)
        assert early.data["subtitle"] == f"Du 01/01/{year} au 31/12/{year}" and f"Année {year}" not in words(early)
        shop.add(days=shop.days[1:2])
        shop.pay(Means.WALLET, "7.90")
        at(dt.date(year + 1, 1, 15))
        paper = issue_certificate(**issued)
        assert (paper.amount, paper.edition, paper.data["subtitle"]) == (Decimal("15.80"), 2, f"Année {year}")
        ending = Document.objects.get(cancels=early)
        assert "La somme à attester est maintenant de 15,80 €, au lieu de 7,90 €" in words(ending)
        assert words(early) and early.amount == Decimal("7.90")  # it stays as it was issued
        assert issue_certificate(**issued) == paper and Document.objects.count() == 3
        assert list(verify_papers()) == []

    def test_nothing_new_but_the_years_end_is_another_paper_too(self, at: Any) -> None:
        shop, year = ordered(), today().year
        issued = {"kind": Kind.PAYMENTS, "user": shop.user, "year": year, "by": shop.user}
        at(dt.date(year, 12, 31))
        early = issue_certificate(**issued)
        at(dt.date(year + 1, 1, 1))
        paper = issue_certificate(**issued)
        assert paper.data["subtitle"] == f"Année {year}" and paper.amount == early.amount
        assert Document.objects.get(cancels=early).reason == "Remplacée par une attestation à jour"

    def test_of_two_days_both_stand_while_both_are_true(self, at: Any) -> None:
        shop, year = ordered(days=1), today().year
        paid_in_january(shop)
        issued = {"kind": Kind.PAYMENTS, "user": shop.user, "year": year, "by": shop.user}
        papers = []
        for month_of in (2, 3, 3):
            at(dt.date(year, month_of, 1))
            papers.append(issue_certificate(**issued))
        assert papers[0] != papers[1] == papers[2] and Document.objects.live().count() == 2

    def test_what_was_paid_later_on_its_last_day_ends_it(self, at: Any) -> None:
        shop, year = open_shop(credit="100"), today().year
        issued = {"kind": Kind.PAYMENTS, "user": shop.user, "year": year, "by": shop.user}
        shop.add(days=shop.days[:1])
        shop.pay(Means.WALLET, "7.90")
        first = issue_certificate(**issued)
        shop.add(days=shop.days[1:2])
        shop.pay(Means.WALLET, "7.90")
        at(dt.date(year + 1, 1, 15))
        paper = issue_certificate(**issued)  # of another period, or of the same on 31 December
        assert paper.amount == Decimal("15.80") and Document.objects.live().get() == paper
        assert "au lieu de 7,90 €" in words(Document.objects.get(cancels=first))

    def test_it_costs_the_same_with_many_papers(self, at: Any) -> None:
        costs = []
        for days in (2, 12):
            shop = ordered(days=1)
            paid_in_january(shop)
            issued = {"kind": Kind.PAYMENTS, "user": shop.user, "year": today().year, "by": shop.user}
            for day in range(days):
                at(dt.date(today().year, 2, 1 + day))
                issue_certificate(**issued)
            at(dt.date(today().year, 3, 1))
            with CaptureQueriesContext(connection) as queries:
                issue_certificate(**issued)
            costs.append(len(queries))
        assert costs[0] == costs[1] <= 30

    def test_nothing_paid_is_nothing_to_attest(self) -> None:
        shop = open_shop(days=0, credit="50")
        with pytest.raises(Refused, match="rien à attester"):
            issue_certificate(kind=Kind.PAYMENTS, user=shop.user, year=today().year, by=shop.user)
        assert not Document.objects.exists()


class TestChildcare:
    """Article 200 quater B of the Code général des impôts, BOI-IR-RICI-300."""

    def care(self, shop: Shop, at: Any, year: int | None = None) -> Decimal:
        year = year or shop.days[0].date.year
        at(dt.date(year + 1, 1, 15))
        return certificate(Kind.CHILDCARE, shop.user, year).amount

    @pytest.mark.parametrize(
        "slot, care",
        [
            ({"nature": "care"}, "31.60"),
            ({"nature": "meal", "includes_meal": True}, "0"),
            ({"nature": "both", "includes_meal": True, "meal_price": Decimal("3.70")}, "16.80"),
            ({"nature": "both", "includes_meal": True, "meal_price": Decimal("9.00")}, "0"),
            ({"nature": "other"}, "0"),
            ({"nature": ""}, "0"),
        ],
        ids=["care", "meal", "both", "a meal above the price", "other", "not declared"],
    )
    def test_meals_are_apart(self, slot: dict[str, Any], care: str, at: Any) -> None:
        shop = same_year(ordered(**slot))
        born(shop, dt.date(shop.days[0].date.year - 4, 5, 1))
        assert self.care(shop, at) == Decimal(care)

    @pytest.mark.parametrize(
        "years, day, counted",
        [(5, (1, 1), True), (6, (1, 2), True), (6, (1, 1), False), (6, (12, 31), True), (7, (6, 1), False), (0, (6, 1), True)],
    )  # fmt: skip
    def test_under_six_on_the_first_of_january(self, years: int, day: tuple[int, int], counted: bool, at: Any) -> None:
        shop = same_year(ordered(nature="care"))
        born(shop, dt.date(shop.days[0].date.year - years, *day))
        assert (self.care(shop, at) > 0) == counted

    def test_without_a_date_of_birth_a_child_is_not_counted(self, at: Any) -> None:
        shop = same_year(ordered(nature="care"))
        Beneficiary.objects.update(birth_date=None)
        assert self.care(shop, at) == 0

    def test_what_is_paid_ahead_counts_in_the_year_of_the_care(self, at: Any) -> None:
        shop = ordered(days=1, nature="care")
        born(shop, dt.date(today().year - 3, 5, 1))
        next_year = dt.date(today().year + 1, 2, 3)
        move(shop, next_year)
        assert self.care(shop, at, today().year) == 0
        assert self.care(shop, at, next_year.year) == Decimal("7.90")

    def test_what_is_given_back_and_late_surcharges_do_not_count(self, at: Any) -> None:
        shop = same_year(ordered(nature="care"))
        born(shop, dt.date(shop.days[0].date.year - 4, 5, 1))
        cancel_bookings(ids=[Booking.objects.order_by("pk")[0].pk], by=shop.user)
        with_surcharge(shop)
        assert self.care(shop, at) == Decimal("23.70") - 3

    def test_it_is_issued_when_the_year_is_over_and_reads_back(self, at: Any) -> None:
        shop = same_year(ordered(nature="both", includes_meal=True, meal_price=Decimal("3.70")))
        year = shop.days[0].date.year
        born(shop, dt.date(year - 4, 5, 1))
        at(dt.date(year, 12, 31))
        with pytest.raises(Refused, match="n’est pas finie"):
            issue_certificate(kind=Kind.CHILDCARE, user=shop.user, year=year, by=shop.user)
        at(dt.date(year + 1, 1, 1))
        paper = issue_certificate(kind=Kind.CHILDCARE, user=shop.user, year=year, by=shop.user)
        text = words(paper)
        for part in (
            "Frais de garde, sans repas ni suppléments : 16,80 €",
            "31,60 €",
            "14,80 €",
            "200 quater B",
            f"01/05/{year - 4}",
        ):
            assert part in text, part
        commune = shop.activity.service.commune
        assert commune is not None and f"{commune.postal_code} {commune.name}" in text
        assert str(shop.children[0]) in text and "CESU" in text

    def test_it_is_not_given_again_when_its_care_was_paid_back(self, at: Any) -> None:
        """An absence that is justified in January, say."""
        shop = same_year(ordered(nature="care"))
        year = shop.days[0].date.year
        issued = {"kind": Kind.CHILDCARE, "user": shop.user, "year": year, "by": shop.user}
        born(shop, dt.date(year - 4, 5, 1))
        at(dt.date(year + 1, 1, 2))
        early = issue_certificate(**issued)
        assert issue_certificate(**issued) == early
        ids = list(Booking.objects.order_by("pk").values_list("pk", flat=True))
        cancel_bookings(ids=ids[:1], by=shop.user)
        paper = issue_certificate(**issued)
        assert paper.amount == certificate(Kind.CHILDCARE, shop.user, year).amount == Decimal("23.70")
        assert paper.edition == 2 and Document.objects.get(cancels=early).amount == Decimal("-31.60")
        cancel_bookings(ids=ids[1:], by=shop.user)
        ending = issue_certificate(**issued)  # nothing is left: it is ended, and none takes its place
        assert ending.cancels == paper and not Document.objects.live().exists()
        with pytest.raises(Refused, match="rien à attester"):
            issue_certificate(**issued)
        numbers = Document.objects.order_by("kind", "number").values_list("kind", "number")
        assert list(numbers) == [("cancellation", 1), ("cancellation", 2), ("childcare", 1), ("childcare", 2)]
        assert list(verify_papers()) == []

    def test_who_gave_the_care_has_an_address(self, at: Any) -> None:
        shop = same_year(ordered(nature="care"))
        year = shop.days[0].date.year
        born(shop, dt.date(year - 4, 5, 1))
        at(dt.date(year + 1, 1, 15))
        service = shop.activity.service
        Commune.objects.filter(pk=service.commune_id).update(name="Aiguilhe", postal_code="43000")
        assert {row.provider for row in childcare_of(shop.user, year)} == {"Mairie d’Aiguilhe, 43000 Aiguilhe"}
        type(service).objects.filter(pk=service.pk).update(address="2 rue du Rocher, 43000 Aiguilhe")
        paper = issue_certificate(kind=Kind.CHILDCARE, user=shop.user, year=year, by=shop.user)
        assert "Mairie d’Aiguilhe, 2 rue du Rocher, 43000 Aiguilhe" in words(paper)

    def test_cesu_is_named(self, at: Any) -> None:
        shop = same_year(ordered(nature="care"))
        born(shop, dt.date(shop.days[0].date.year - 4, 5, 1))
        at(dt.date(shop.days[0].date.year + 1, 1, 15))
        payment = Payment.objects.get()
        year = timezone.localdate(payment.ended_at).year
        assert yearly.cesu_of(shop.user, year) == 0
        order = Order.objects.create(user=shop.user, kind="top_up", total=Decimal(20))
        from tests.guards import sql

        sql("SET LOCAL session_replication_role = replica")
        Payment.objects.create(
            order=order, provider="cesu", amount=Decimal(20), status="captured", ended_at=payment.ended_at
        )
        sql("SET LOCAL session_replication_role = origin")
        assert yearly.cesu_of(shop.user, year) == 20

    def test_it_costs_the_same_with_many_dates(self, at: Any) -> None:
        costs = []
        for days in (1, 12):
            shop = ordered(days=days, children=2, nature="care")
            with CaptureQueriesContext(connection) as queries:
                childcare_of(shop.user, shop.days[0].date.year)
            costs.append(len(queries))
        assert costs[0] == costs[1] <= 2


def move(shop: Shop, date: dt.date) -> None:
    """The dates of a family's lines are another day: what was ordered in November is for February."""
    from tests.guards import sql

    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql("SET LOCAL session_replication_role = replica")
    OrderLine.objects.filter(order__user=shop.user).update(date=date)
    sql("SET LOCAL session_replication_role = origin")
    sql("SET CONSTRAINTS ALL DEFERRED")


def paid_in_january(shop: Shop) -> None:
    """The family's orders were paid on the 2nd of this January."""
    from tests.guards import sql

    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql("SET LOCAL session_replication_role = replica")
    Order.objects.filter(user=shop.user).update(paid_at=dt.datetime(today().year, 1, 2, 12, tzinfo=PARIS))
    sql("SET LOCAL session_replication_role = origin")
    sql("SET CONSTRAINTS ALL DEFERRED")


def with_surcharge(shop: Shop) -> None:
    """Each line of the family was late, for one euro more in its price."""
    from tests.guards import sql

    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql("SET LOCAL session_replication_role = replica")
    OrderLine.objects.filter(order__user=shop.user).update(surcharge=Decimal(1))
    sql("SET LOCAL session_replication_role = origin")


def same_year(shop: Shop) -> Shop:
    """The dates are in one year, whatever day the tests run: those of New Year's Eve would be in two."""
    days = list(OpenDay.objects.filter(pk__in=[day.pk for day in shop.days]).order_by("date"))
    if days[0].date.year != days[-1].date.year:
        move(shop, days[0].date)
    return shop
