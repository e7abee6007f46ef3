"""What is owed to each commune, paying it over, taking it back; the ledger, the statement and its detail agree."""

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Commune
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from checkout.regie import statements
from checkout.regie.models import Statement
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import long_date, short_date, today
from tests.admin.world import client_of
from tests.concurrency.conftest import race
from tests.factories import CommuneFactory, UserFactory, agent_of, regie
from tests.guards import guarded, sql
from tests.papers.reading import plain, read
from tests.regie.ledger import corrected, dated, days_ago, posted
from tests.shop import open_shop
from tests.vouchers.making import order_with
from tests.vouchers.making import voucher as made_voucher
from wallet import actions as ledger
from wallet.closings.actions import close_days
from wallet.models import Account, Movement

pytestmark = pytest.mark.django_db


def page(name: str, *args: object) -> str:
    return reverse(f"admin:checkout_statement_{name}", args=args)


def sold(*, days: int = 3, cancelled: int = 1) -> Commune:
    """A commune that sold `days` bookings at 7,90 € five days ago, of which some were given back two days later."""
    shop = open_shop(days=days, credit="50")
    shop.add()
    shop.pay(Means.WALLET, Decimal("7.90") * days)
    ids = list(Booking.objects.filter(made_by=shop.user).order_by("pk").values_list("pk", flat=True)[:cancelled])
    if ids:
        cancel_bookings(ids=ids, by=shop.user)
    for movement in Movement.objects.filter(entries__account__code=ledger.wallet_code(shop.user)).distinct():
        dated(movement.pk, days_ago(3 if movement.kind == "cancellation" else 5))
    commune = shop.activity.service.commune
    assert commune is not None
    return commune


def close(days: int = 1) -> None:
    close_days(until=days_ago(days), by=agent_of())


def revenue(commune: Commune | None) -> Decimal:
    return Account.objects.get(code=ledger.revenue_code(commune)).balance()


def test_a_statement_pays_over_what_was_earned_and_says_of_what() -> None:
    commune, operator = sold(), agent_of()
    corrected(days_ago(4), "v", **{f"voucher__{commune.pk}": "-2.00", f"revenue__{commune.pk}": "2.00"})
    close()
    (row,) = statements.owed(days_ago(1))
    assert (row.commune, row.first_day, row.gross, row.cancelled, row.vouchers, row.fees, row.net) == (
        commune, days_ago(5), Decimal("25.70"), Decimal("7.90"), Decimal("2.00"), Decimal("0.00"), Decimal("15.80"),
    )  # fmt: skip
    (statement,) = statements.issue(codes={row.code}, until=days_ago(1), by=operator)
    assert [(line["activity"] != "", line["sold"], line["gross"], line["returned"], line["cancelled"]) for line in statement.lines] == [
        (True, 3, Decimal("23.70"), 1, Decimal("7.90")),
        (True, 0, Decimal("2.00"), 0, Decimal("0.00")),  # « Autres mouvements »: the test's own
    ]  # fmt: skip
    assert statement.lines[0]["service"] and statement.lines[1]["activity"] == "Autres mouvements"
    assert sum(line["net"] for line in statement.lines) == statement.earned
    assert (statement.sold, statement.returned) == (3, 1)
    together = client_of(operator).get(page("change", statement.pk)).content.decode().partition("Ensemble</th>")[2]
    assert '<td data-label="Vendues">3</td>' in together and '<td data-label="Rendues">1</td>' in together
    assert revenue(commune) == 0 and Account.objects.get(code=f"voucher:{commune.pk}").balance() == 0
    assert Account.objects.get(code="remitting").balance() == Decimal("15.80")
    assert list(verify()) == [] and statements.owed(days_ago(1)) == []


def test_discounts_that_were_paid_over_are_no_difference() -> None:
    shop, operator = open_shop(days=2, credit="20"), agent_of()
    commune = shop.activity.service.commune
    made_voucher("RENTREE", amount="3", commune=commune)
    order_with(shop, "RENTREE", total="12.80")
    for movement in Movement.objects.all():
        dated(movement.pk, days_ago(5))
    close()
    (statement,) = statements.issue(codes={str(commune.pk)}, until=days_ago(1), by=operator)
    assert (statement.gross, statement.vouchers, statement.net) == (Decimal("15.80"), 3, Decimal("12.80"))
    assert list(verify()) == []
    cancel_bookings(ids=Booking.objects.values_list("pk", flat=True)[:1], by=shop.user)
    assert list(verify()) == []
    statements.cancel(statement=statement, reason="Essai", by=operator)
    assert list(verify()) == []


def test_the_next_statement_starts_where_this_one_ends() -> None:
    commune, operator = sold(), agent_of()
    close(4)
    (first,) = statements.issue(codes={str(commune.pk)}, until=days_ago(4), by=operator)
    assert (first.gross, first.cancelled, first.net) == (Decimal("23.70"), 0, Decimal("23.70"))
    close()
    (row,) = statements.owed(days_ago(1))
    assert (row.first_day, row.gross, row.cancelled, row.net) == (days_ago(3), 0, Decimal("7.90"), Decimal("-7.90"))
    with pytest.raises(Refused) as refusal:  # the commune owes: it counts in the next one
        statements.issue(codes={str(commune.pk)}, until=days_ago(1), by=operator)
    assert refusal.value.code == "nothing_owed"
    assert revenue(commune) == Decimal("-7.90")


def test_the_communes_part_of_the_fees_stays_with_the_regie() -> None:
    regie(remittance_percent=Decimal("1.20"))
    commune = sold(cancelled=0)
    close()
    (statement,) = statements.issue(codes={str(commune.pk)}, until=days_ago(1), by=agent_of())
    assert (statement.fees, statement.net) == (Decimal("0.28"), Decimal("23.42"))
    assert Account.objects.get(code="bank_fees").balance() == Decimal("0.28") and revenue(commune) == 0


def test_the_bank_is_debited_when_it_has_paid() -> None:
    corrected(days_ago(3), "a", revenue__agglo="12.00", clearing__demo="-12.00")
    close()
    operator = agent_of()
    (statement,) = statements.issue(codes={"agglo"}, until=days_ago(1), by=operator)
    assert statement.number == f"REV-{today().year}-{statement.pk:06d}"
    assert not Account.objects.filter(code="bank").exists()

    def refused(action: Any, **words: Any) -> str:
        with pytest.raises(Refused) as refusal, transaction.atomic():
            action(statement=statement, by=operator, **words)
        return refusal.value.code

    for day in (days_ago(1), days_ago(-1), dt.date.min):
        assert refused(statements.mark_paid, paid_on=day) == "date"
    statements.mark_paid(statement=statement, paid_on=today(), by=operator)
    statement.refresh_from_db()
    assert (statement.paid_on, statement.paid_by) == (today(), operator)
    assert Account.objects.get(code="bank").balance() == 12 and Account.objects.get(code="remitting").balance() == 0
    assert refused(statements.mark_paid, paid_on=today()) == "paid"
    assert refused(statements.cancel, reason="x") == "paid"
    assert list(verify()) == []


def test_a_payment_that_was_none_is_taken_back() -> None:
    corrected(days_ago(3), "a", revenue__agglo="12.00", clearing__demo="-12.00")
    close()
    operator = agent_of()
    (statement,) = statements.issue(codes={"agglo"}, until=days_ago(1), by=operator)

    def refused(reason: str = "Marqué par erreur") -> str:
        with pytest.raises(Refused) as refusal, transaction.atomic():
            statements.mark_unpaid(statement=statement, reason=reason, by=operator)
        return refusal.value.code

    assert refused() == "not_paid"
    for _time in range(2):  # the bank may send it back more than once
        statements.mark_paid(statement=statement, paid_on=today(), by=operator)
        assert refused(" ") == "reason_missing"
        statements.mark_unpaid(statement=statement, reason="IBAN clos", by=operator)
        statement.refresh_from_db()
        assert (statement.paid_on, statement.paid_by, statement.payment) == (None, None, None)
        assert Account.objects.get(code="bank").balance() == 0 and Account.objects.get(code="remitting").balance() == 12
        assert refused() == "not_paid"
    assert Movement.objects.filter(label=f"Virement repris, relevé {statement.number}\u00a0: IBAN clos").count() == 2
    statements.cancel(statement=statement, reason="IBAN de la commune à changer", by=operator)
    assert revenue(None) == 12 and list(verify()) == []


def test_a_cancelled_statement_is_not_paid() -> None:
    posted(days_ago(3), "a", revenue__agglo="12.00", clearing__demo="-12.00")
    close()
    (statement,) = statements.issue(codes={"agglo"}, until=days_ago(1), by=agent_of())
    statements.cancel(statement=statement, reason="Erreur", by=agent_of())
    with pytest.raises(Refused) as refusal:
        statements.mark_paid(statement=statement, paid_on=today(), by=agent_of())
    assert refusal.value.code == "cancelled" and Account.objects.get(code="remitting").balance() == 0


def test_the_agglomerations_own_services_are_paid_over_too() -> None:
    posted(days_ago(3), "a", revenue__agglo="12.00", clearing__demo="-12.00")
    close()
    (statement,) = statements.issue(codes={"agglo"}, until=days_ago(1), by=agent_of())
    assert statement.commune is None and statement.net == 12 and statement.holder == "Agglomération"


def test_what_the_agglomeration_bears_stays_owed_once_the_communes_are_paid() -> None:
    """It earns nothing, so that it never has a statement: what it bore before the communes' counts for ever."""
    commune, operator = CommuneFactory(), agent_of()

    def bore(days: int, amount: str, paid: str) -> None:
        accounts = {f"revenue__{commune.pk}": "10.00", "voucher__agglo": f"-{amount}", "clearing__demo": f"-{paid}"}
        corrected(days_ago(days), f"v{days}", **accounts)

    bore(5, "4.00", "6.00")
    close(3)
    assert {row.code: row.net for row in statements.owed(days_ago(3))} == {str(commune.pk): 10, "agglo": -4}
    statements.issue(codes={str(commune.pk)}, until=days_ago(3), by=operator)
    assert {row.code: row.net for row in statements.owed(days_ago(3))} == {"agglo": -4}
    bore(2, "1.00", "9.00")
    close()
    found = {row.code: (row.first_day, row.net) for row in statements.owed(days_ago(1))}
    assert found == {str(commune.pk): (days_ago(2), 10), "agglo": (days_ago(5), -5)}


def test_open_days_are_not_paid_over() -> None:
    commune, operator = sold(), agent_of()
    close(4)
    with pytest.raises(Refused) as refusal:
        statements.issue(codes={str(commune.pk)}, until=days_ago(1), by=operator)
    assert refusal.value.code == "not_closed" and not Statement.objects.exists()


def test_a_statement_is_taken_back_by_a_movement_and_its_period_owed_again() -> None:
    commune, operator = sold(), agent_of()
    close()
    (first,) = statements.issue(codes={str(commune.pk)}, until=days_ago(1), by=operator)
    for reason, code in ((" ", "reason_missing"), ("Compte bancaire changé", "")):
        if code:
            with pytest.raises(Refused) as refusal:
                statements.cancel(statement=first, reason=reason, by=operator)
            assert refusal.value.code == code
        else:
            statements.cancel(statement=first, reason=reason, by=operator)
    assert revenue(commune) == first.net and Account.objects.get(code="remitting").balance() == 0
    with pytest.raises(Refused) as refusal:
        statements.cancel(statement=first, reason="Encore", by=operator)
    assert refusal.value.code == "already_cancelled"
    (second,) = statements.issue(codes={str(commune.pk)}, until=days_ago(1), by=operator)
    assert (second.net, second.period) == (first.net, first.period) and list(verify()) == []
    statements.cancel(statement=second, reason="Encore", by=operator)


def test_only_the_newest_is_taken_back() -> None:
    operator = agent_of()
    for days, key in ((5, "a"), (3, "b")):
        posted(days_ago(days), key, revenue__agglo="12.00", clearing__demo="-12.00")
    close(4)
    (first,) = statements.issue(codes={"agglo"}, until=days_ago(4), by=operator)
    close()
    statements.issue(codes={"agglo"}, until=days_ago(1), by=operator)
    with pytest.raises(Refused) as refusal:
        statements.cancel(statement=first, reason="Erreur", by=operator)
    assert refusal.value.code == "not_newest"


class TestGuards:
    def issued(self) -> Statement:
        posted(days_ago(3), "a", revenue__agglo="12.00", clearing__demo="-12.00")
        close()
        (statement,) = statements.issue(codes={"agglo"}, until=days_ago(1), by=agent_of())
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        sql("SET CONSTRAINTS ALL DEFERRED")
        return statement

    def test_what_was_issued_stays(self) -> None:
        self.issued()
        guarded(
            "checkout.Statement:statement_is_frozen",
            lambda: Statement.objects.update(rows=[]),
            "Cannot update",
            lambda: Statement.objects.filter(rows=[]).exists(),
        )
        guarded(
            "checkout.Statement:statements_are_kept",
            lambda: Statement.objects.all()._raw_delete("default"),
            "Cannot delete",
            lambda: not Statement.objects.exists(),
        )

    def test_what_is_marked_paid_left_the_bank(self) -> None:
        statement = self.issued()
        trigger = "checkout.Statement:paid_statement_left_the_bank"
        guarded(
            trigger,
            lambda: Statement.objects.update(
                paid_on=today(), paid_by=statement.issued_by, payment=statement.movement_id
            ),
            "the bank has not paid it",
            lambda: Statement.objects.filter(paid_on=today()).exists(),
        )
        statements.mark_paid(statement=statement, paid_on=today(), by=agent_of())
        guarded(
            trigger,
            lambda: Statement.objects.update(paid_on=days_ago(-3)),
            "the bank has not paid it",
            lambda: Statement.objects.filter(paid_on=days_ago(-3)).exists(),
        )
        guarded(
            trigger,
            lambda: Statement.objects.update(paid_on=None, paid_by=None, payment=None),
            "is not reversed",
            lambda: Statement.objects.filter(paid_on=None).exists(),
        )
        for half in ({"paid_by": None}, {"payment": None}):
            with (
                pytest.raises(Exception, match="paid_statement_is_signed_and_stays"),
                transaction.atomic(),
            ):
                Statement.objects.update(**half)

    def test_a_payment_that_was_taken_back_pays_nothing(self) -> None:
        statement = self.issued()
        statements.mark_paid(statement=statement, paid_on=today(), by=agent_of())
        payment = Statement.objects.get().payment_id
        statements.mark_unpaid(statement=statement, reason="Erreur", by=agent_of())
        guarded(
            "checkout.Statement:paid_statement_left_the_bank",
            lambda: Statement.objects.update(paid_on=today(), paid_by=statement.issued_by, payment=payment),
            "the bank has not paid it",
            lambda: Statement.objects.filter(paid_on=today()).exists(),
        )

    def test_a_day_is_paid_over_once(self) -> None:
        statement = self.issued()
        entries = {"revenue:agglo": Decimal(-12), "remitting": Decimal(12)}
        movement = ledger.post(kind=Movement.Kind.REMITTANCE, key="x", label="x", amounts=entries, by=None)
        copy = Statement.objects.get(pk=statement.pk)
        copy.pk, copy.movement_id = None, movement
        with pytest.raises(Exception, match="paid_over_once"), transaction.atomic():
            copy.save()
        with transaction.atomic():
            sql("ALTER TABLE checkout_statement DROP CONSTRAINT paid_over_once")  # the fault with the guard off
            copy.save()
            assert Statement.objects.count() == 2
            transaction.set_rollback(True)

    @pytest.mark.parametrize(
        "change, says",
        [
            ({"net": Decimal("11.00"), "gross": Decimal("11.00")}, "pays something else"),
            ({"period": (0, -2)}, "not closed"),  # so many days ago,
        ],
    )
    def test_a_statement_says_what_was_paid_for_closed_days(self, change: dict[str, Any], says: str) -> None:
        from django.db.backends.postgresql.psycopg_any import DateRange

        statement = self.issued()
        entries = {"revenue:agglo": Decimal(-12), "remitting": Decimal(12)}
        movement = ledger.post(kind=Movement.Kind.REMITTANCE, key="x", label="x", amounts=entries, by=None)
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        copy = Statement.objects.get(pk=statement.pk)
        copy.pk, copy.movement_id, copy.period = None, movement, DateRange(dt.date(2020, 1, 1), dt.date(2020, 2, 1))
        for name, value in change.items():
            setattr(copy, name, DateRange(*map(days_ago, value)) if name == "period" else value)
        guarded(
            "checkout.Statement:states_what_is_closed",
            lambda: Statement.objects.bulk_create([copy]),
            says,
            lambda: Statement.objects.count() == 2,
        )

    def test_it_is_cancelled_by_a_movement(self) -> None:
        statement = self.issued()

        def cross_out() -> None:
            Statement.objects.update(cancelled_at=statement.issued_at, cancelled_by=statement.issued_by, reason="x")
            sql("SET CONSTRAINTS ALL IMMEDIATE")

        guarded(
            "checkout.Statement:cancelled_statement_is_paid_back",
            cross_out,
            "cancelled once, by a movement",
            lambda: Statement.objects.exclude(cancelled_at=None).exists(),
        )


class TestPages:
    def test_paying_over_from_the_page(self) -> None:
        commune, operator = sold(), agent_of()
        client = client_of(operator)
        assert "Aucune journée n’est arrêtée" in client.get(page("new")).content.decode()
        close()
        text = client.get(page("new")).content.decode()
        assert commune.name in text and "15,80" in text
        values = {"jusqu_au": days_ago(1), "a": [str(commune.pk)]}
        said = client.post(page("new"), {"jusqu_au": days_ago(1)}, follow=True).content.decode()
        assert "Cochez au moins une commune" in said and not Statement.objects.exists()
        said = client.post(page("new"), values, follow=True).content.decode()
        assert "1 relevé est émis" in said and "15,80" in said
        statement = Statement.objects.get()
        assert "Par service et par activité" in client.get(page("change", statement.pk)).content.decode()
        file = client.get(page("file", statement.pk, "csv"))
        assert f'filename="releve-{statement.number}-{days_ago(1)}.csv"' in file["Content-Disposition"]
        text = file.content.decode("utf-8-sig")
        assert "Ensemble;;;3;23,70;1;7,90;15,80" in text and "Net à reverser" in text
        assert client.get(page("file", statement.pk, "exe")).status_code == 404
        paper = client.get(page("file", statement.pk, "pdf"))
        shown = plain(read(paper.content))
        for words in ("Relevé de reversement", statement.number, commune.name, "à virer", "15,80"):
            assert words in shown
        assert "Relevé de reversement à virer" in client.get("/admin/").content.decode()
        rows = {state: client.get(page("changelist"), {"etat": state}).context["cl"].result_count
                for state in ("a-virer", "vire", "annule")}  # fmt: skip
        assert rows == {"a-virer": 1, "vire": 0, "annule": 0}
        assert "À virer" in client.get(page("change", statement.pk)).content.decode()
        said = client.post(page("paid", statement.pk), {"le": "demain"}, follow=True).content.decode()
        assert "Écrivez le jour du virement" in said
        said = client.post(page("cancel", statement.pk), {"motif": ""}, follow=True).content.decode()
        assert "Écrivez le motif" in said
        said = client.post(page("cancel", statement.pk), {"motif": "Mauvais compte"}, follow=True).content.decode()
        assert "de nouveau due" in said and "Mauvais compte" in said
        client.post(page("new"), values)
        second = Statement.objects.unpaid().get()
        assert client.get(page("paid", second.pk)).status_code == 302
        said = client.post(page("paid", second.pk), {"le": today()}, follow=True).content.decode()
        assert (
            "le compte de dépôt de fonds est débité" in said
            and "Viré le" in said
            and page("cancel", second.pk) not in said
        )
        assert not Statement.objects.unpaid().exists()
        said = client.post(page("unpaid", second.pk), {"motif": ""}, follow=True).content.decode()
        assert "Écrivez le motif" in said
        said = client.post(page("unpaid", second.pk), {"motif": "IBAN clos"}, follow=True).content.decode()
        assert "Un virement a été constaté" in said and "IBAN clos" in said
        assert "Virement repris" in said and page("unpaid", second.pk) not in said and page("paid", second.pk) in said
        told = client.get(page("history", second.pk)).content.decode()
        assert "Reversement viré" in told and "IBAN clos" in told

    def test_each_file_says_whose_it_is_and_whether_it_counts(self) -> None:
        commune = sold()
        close()
        (row,) = statements.issue(codes={str(commune.pk)}, until=days_ago(1), by=agent_of())
        client = client_of(agent_of(commune))

        def lines() -> list[str]:
            found = client.get(page("file", row.pk, "csv")).content.decode("utf-8-sig").splitlines()
            sheet = openpyxl.load_workbook(io.BytesIO(client.get(page("file", row.pk, "xlsx")).content)).active
            assert sheet is not None and sheet.max_row == len(found)
            assert [line[-1].value for line in sheet.rows] == [line.split(";")[-1] for line in found]
            assert found[0].endswith("Reste;Relevé;À qui;Du;Au;État")
            return found[1:]

        of = f";{row.number};{commune.name};{short_date(row.period.lower)};{short_date(row.last_day)};"
        assert all(line.endswith(f"{of}à virer") for line in lines())
        shown = plain(read(client.get(page("file", row.pk, "pdf")).content))
        assert "Vendues Recettes Rendues Annulations Reste" in shown and "Ensemble 3 23,70 € 1 7,90 € 15,80 €" in shown
        assert f"{commune.postal_code} {commune.name.upper()}" in shown and "TVA" not in shown
        statements.cancel(statement=row, reason="Mauvais taux", by=agent_of())
        said = f"annulé le {long_date(today())} : Mauvais taux"
        assert all(plain(line).endswith(f"{of}{plain(said)}") for line in lines())
        assert "-annule.csv" in client.get(page("file", row.pk, "csv"))["Content-Disposition"]
        shown = plain(read(client.get(page("file", row.pk, "pdf")).content))
        assert "Relevé de reversement annulé" in shown and f"Relevé {said}" in shown
        assert "Rien n’est à virer" in shown and "Net à reverser" not in shown
        assert shown.count("Mauvais taux") == 1 and "Période" not in shown  # the title's line says which it is
        assert "Net à reverser" not in client.get(page("change", row.pk)).content.decode()

    @pytest.mark.parametrize(
        "asked, words",
        [
            ("abc", "ne peut pas être lue"),
            ("2026-02-30", "ne peut pas être lue"),
            ("0001-01-01", "est trop ancien"),
            ("tomorrow", "est à venir"),
            ("2030-12-31", "est à venir"),
        ],
    )
    def test_a_date_that_is_none_or_to_come_is_said(self, asked: str, words: str) -> None:
        asked = str(days_ago(-1)) if asked == "tomorrow" else asked
        commune = sold()
        close()
        client = client_of(agent_of())
        for answer in (
            client.get(page("new"), {"jusqu_au": asked}),
            client.post(page("new"), {"jusqu_au": asked, "a": [str(commune.pk)]}),
        ):
            said = answer.content.decode()
            told = [
                sentence for sentence in ("ne peut pas être lue", "est à venir", "est trop ancien") if sentence in said
            ]
            assert told == [words], said
            assert "Rien n’a été reversé. Voici ce qui est dû jusqu’au" in said and not Statement.objects.exists()
            assert answer.context["until"] < today()

    def test_a_commune_reads_its_own_and_decides_nothing(self) -> None:
        commune = sold()
        close()
        (statement,) = statements.issue(codes={str(commune.pk)}, until=days_ago(1), by=agent_of())
        theirs, others = client_of(agent_of(commune)), client_of(agent_of(CommuneFactory()))
        assert "15,80" in theirs.get(page("change", statement.pk)).content.decode()
        assert theirs.get(page("file", statement.pk, "xlsx")).status_code == 200
        assert theirs.get(page("new")).status_code == 403
        assert theirs.post(page("cancel", statement.pk), {"motif": "x"}).status_code == 403
        assert theirs.post(page("paid", statement.pk), {"le": today()}).status_code == 403
        assert theirs.post(page("unpaid", statement.pk), {"motif": "x"}).status_code == 403
        assert theirs.get(page("file", statement.pk, "pdf")).content.startswith(b"%PDF")
        for address in (
            page("change", statement.pk),
            page("file", statement.pk, "csv"),
            page("cancel", statement.pk),
            page("paid", statement.pk),
            page("unpaid", statement.pk),
        ):
            assert others.get(address).status_code == 404
            assert others.post(address, {"motif": "x"}).status_code in (403, 404)
        assert client_of(UserFactory()).get(page("new")).status_code == 404
        assert Statement.objects.get().cancelled_at is None

    def test_what_is_owed_costs_the_same_for_ten_communes(self) -> None:
        client, communes = client_of(agent_of()), [CommuneFactory() for _index in range(10)]
        posted(days_ago(3), "a", revenue__agglo="12.00", clearing__demo="-12.00")
        close(2)
        client.get(page("new"))
        with CaptureQueriesContext(connection) as before:
            client.get(page("new"))
        for index, commune in enumerate(communes):
            posted(days_ago(1), f"b{index}", **{f"revenue__{commune.pk}": "5.00", "clearing__demo": "-5.00"})
        close(1)
        with CaptureQueriesContext(connection) as after:
            assert len(client.get(page("new"), {"jusqu_au": days_ago(1)}).context["rows"]) == 11
        assert len(after) <= len(before) <= 16


@pytest.mark.django_db(transaction=True)
def test_of_two_that_pay_over_at_once_one_does() -> None:
    posted(days_ago(3), "a", revenue__agglo="12.00", clearing__demo="-12.00")
    close()
    operator = agent_of()
    outcomes = race([lambda: statements.issue(codes={"agglo"}, until=days_ago(1), by=operator)] * 4)
    assert sorted(type(each).__name__ for each in outcomes) == ["Refused", "Refused", "Refused", "list"]
    assert Statement.objects.count() == 1 and Account.objects.get(code="remitting").balance() == 12
