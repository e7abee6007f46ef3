"""The régie's pages in the administration: what they show, to whom, at what cost; their files."""

import csv
import datetime as dt
import io
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from checkout.regie.models import Verification
from checkout.tasks import verify_ledger
from portal.common.errors import Refused, within
from portal.common.exports import as_csv, as_xlsx
from portal.common.formats import month, of, today
from tests.admin.world import client_of
from tests.factories import CommuneFactory, UserFactory, agent_of
from tests.guards import bought
from tests.regie.ledger import corrected, counted_before, dated, days_ago, last_month, posted
from wallet import actions as ledger
from wallet.closings import actions as closings
from wallet.closings.models import Closing
from wallet.models import Movement

pytestmark = pytest.mark.django_db

PAGES = ("new", "journal", "balances")
FILES = ("journal_file", "balances_file")


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:wallet_closing_{name}", args=args)


@pytest.fixture
def operator() -> User:
    return agent_of()


@pytest.fixture
def client(operator: User) -> Client:
    return client_of(operator)


def test_only_the_agglomeration_reads_them(operator: User) -> None:
    addresses = [page(name) for name in PAGES] + [page(name, "csv") for name in FILES]
    for user in (UserFactory(), agent_of(CommuneFactory())):
        assert {client_of(user).get(address).status_code for address in addresses} == {404}
        assert client_of(user).post(page("new"), {"jusqu_au": days_ago(1)}).status_code == 404
    assert {Client().get(address).status_code for address in addresses} == {302}
    assert {client_of(operator).get(address).status_code for address in addresses} == {200}
    assert client_of(operator).get(page("journal_file", "exe")).status_code == 404


def test_the_journal_tells_kinds_accounts_and_orders(client: Client) -> None:
    bought()
    text = client.get(page("journal")).content.decode()
    order = Movement.objects.get(kind="order")
    assert order.label in text and "Règlement de commande" in text and "7,90" in text
    assert reverse("admin:checkout_order_change", args=[order.key.split(":")[1]]) in text
    assert "Aucun mouvement ce jour-là" in client.get(page("journal"), {"jour": days_ago(9)}).content.decode()
    for nonsense in ("2026-99-99", "x", "0001-01-01", "9999-12-31"):
        assert client.get(page("journal"), {"jour": nonsense, "page": "x"}).status_code == 200


def test_the_journal_costs_the_same_with_forty_movements_more(client: Client) -> None:
    bought()
    client.get(page("journal"))
    with CaptureQueriesContext(connection) as before:
        client.get(page("journal"))
    for index in range(40):
        user = UserFactory()
        ledger.adjust(user=user, amount=Decimal(1), reason="Dépôt", key=f"j:{index}", by=agent_of())
    with CaptureQueriesContext(connection) as after:
        client.get(page("journal"))
    assert len(after) == len(before) <= 16


def test_the_chart_takes_closed_days_as_they_were_kept(client: Client) -> None:
    date = days_ago(1)
    posted(date, "a", revenue__agglo="12.00", till__cash="-12.00")
    before = client.get(page("journal"), {"jour": date}).context["chart"]
    client.post(page("new"), {"jusqu_au": date})
    after = client.get(page("journal"), {"jour": date}).context["chart"]
    assert [bar.amount for bar in after.bars] == [bar.amount for bar in before.bars]
    assert Decimal("12.00") in [bar.amount for bar in after.bars] and after.top == 20


def test_the_balances_sum_to_zero(client: Client) -> None:
    bought()
    answer = client.get(page("balances"))
    assert "Juste." not in answer.content.decode() and "aucun contrôle n’a eu lieu" in answer.content.decode()
    verify_ledger()
    answer = client.get(page("balances"))
    assert answer.context["total"] == 0
    rows = {row.name: row.total for row in answer.context["rows"]}
    assert rows["Porte-monnaie des familles"] == Decimal("42.10")
    assert "Juste." in answer.content.decode()


def test_days_then_their_month_are_closed_from_the_page(client: Client, operator: User) -> None:
    movement = posted(days_ago(2), "a", revenue__agglo="12.00", till__cash="-12.00")
    answer = client.get(page("new"))
    assert [row.date for row in answer.context["days"]] == [days_ago(2)] and "12,00" in answer.content.decode()
    home = client.get("/admin/").content.decode()
    assert "Journée à arrêter" in home and "Journal du jour" in home
    shown = client.get(page("new"), {"jusqu_au": days_ago(2)}).content.decode()
    assert "inclus\u00a0?" in shown and f'value="{days_ago(2)}"' in shown and not Closing.objects.exists()
    said = client.post(page("new"), {"jusqu_au": days_ago(2)}, follow=True).content.decode()
    assert "plus rien ne peut y être écrit" in said
    closing = Closing.objects.get()
    assert closing.closed_by == operator
    shown = client.get(page("change", closing.pk)).content.decode()
    assert "Caisse : espèces" in shown and "Encaissement au guichet" in shown
    assert "arrêtée" in client.get(page("journal"), {"jour": days_ago(2)}).content.decode()
    assert movement.label in client.get(page("journal"), {"jour": days_ago(2)}).content.decode()


def test_the_accounts_are_shown_as_the_chosen_day_makes_them(client: Client) -> None:
    posted(days_ago(3), "a", revenue__agglo="12.00", till__cash="-12.00")
    posted(days_ago(2), "b", revenue__agglo="30.00", till__cash="-30.00")

    def after(**chosen: object) -> dict[str, Decimal]:
        return {row["code"]: row["closing"] for row in client.get(page("new"), chosen).context["preview"]}

    assert after() == {}
    assert after(jusqu_au=days_ago(3))["revenue:agglo"] == 12
    assert after(jusqu_au=days_ago(2))["revenue:agglo"] == 42
    with CaptureQueriesContext(connection) as queries:
        client.get(page("new"), {"jusqu_au": days_ago(2)})
    assert len(queries) <= 20
    for nonsense in ({"jusqu_au": "demain"}, {"jusqu_au": "x"}, {"mois": "2026-01-01"}, {"mois": ""}):
        said = client.get(page("new"), nonsense, follow=True)
        assert said.redirect_chain and "n’attend pas d’être arrêtée" in said.content.decode()


@pytest.mark.parametrize("date, says", [("0001-01-01", "Le premier mouvement est du"), ("today", "n’est pas terminé")])
def test_what_may_not_be_closed_is_neither_shown_nor_closed(client: Client, date: str, says: str) -> None:
    date = str(today()) if date == "today" else date
    posted(days_ago(3), "a", revenue__agglo="12.00", till__cash="-12.00")
    for ask in (client.get, client.post):
        said = ask(page("new"), {"jusqu_au": date}, follow=True)
        assert said.redirect_chain and says in said.content.decode() and not Closing.objects.exists()


def test_the_end_of_a_month_is_offered_shown_and_closed(client: Client) -> None:
    _first, end = last_month()
    posted(end.replace(day=5), "a", revenue__agglo="12.00", till__cash="-12.00")
    assert f'value="{end}"' in client.get(page("new")).content.decode()
    shown = client.get(page("new"), {"jusqu_au": end}).content.decode()
    assert "Pour 2\u00a0journées" in shown or "Pour 2 journées" in shown
    client.post(page("new"), {"jusqu_au": end})
    assert closings.closed_until() == end and closings.open_months()[0] == end.replace(day=1)


def test_a_day_that_was_closed_by_another_rule_says_so(
    client: Client, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = days_ago(3)
    posted(day, "a", revenue__agglo="65.50", till__cash="-65.50")
    corrected(day, "b", till__cash="-1000.00", bank="1000.00")
    posted(days_ago(2), "c", revenue__agglo="12.00", till__cash="-12.00")
    with monkeypatch.context() as earlier:
        earlier.setattr(closings, "BY_DAY", counted_before())
        closings.close_days(until=day, by=operator)
    closings.close_days(until=days_ago(2), by=operator)
    shown = client.get(page("journal"), {"jour": day})
    assert (shown.context["receipts"], shown.context["summed_otherwise"]) == (Decimal("1065.50"), Decimal("65.50"))
    assert "Arrêtée à 1\u202f065,50\u00a0€ encaissés" in shown.content.decode()
    for other in (days_ago(2), today()):
        assert "Arrêtée à" not in client.get(page("journal"), {"jour": other}).content.decode()


def test_the_journal_says_why_it_shows_today(client: Client) -> None:
    for asked, says in (
        ("abc", "ne peut pas être lue"),
        (str(today() + dt.timedelta(days=1)), "est à venir"),
        ("0001-01-01", "est trop ancien"),
    ):
        shown = client.get(page("journal"), {"jour": asked})
        assert shown.context["date"] == today()
        assert says in shown.content.decode() and "Voici le journal d’aujourd’hui" in shown.content.decode()
        refused = client.get(page("journal_file", "csv"), {"jour": asked}, follow=True)
        assert refused.redirect_chain and f"{says}" in refused.content.decode()
        assert "Aucun fichier n’a été préparé" in refused.content.decode()
    for good in ({}, {"jour": ""}, {"jour": today()}):
        assert "Voici le journal d’aujourd’hui" not in client.get(page("journal"), good).content.decode()


def test_the_balances_are_not_called_right_after_a_check_that_found_something(client: Client) -> None:
    bought()
    checked: dict[str, Any] = {"started_at": timezone.now(), "ended_at": timezone.now(), "entries": 2}
    Verification.objects.create(**checked, count=2, differences=["a", "b"])
    text = client.get(page("balances")).content.decode()
    assert "a trouvé 2 différences" in text and "Juste." not in text
    assert reverse("admin:checkout_verification_report") in text
    Verification.objects.create(**checked, count=0, differences=[])
    assert "Juste." in client.get(page("balances")).content.decode()


def test_a_balance_on_the_other_side_of_zero_is_explained(client: Client) -> None:
    posted(days_ago(1), "a", clearing__demo="25.00", revenue__agglo="-25.00")
    rows = {row.account.code: row.meaning for row in client.get(page("balances")).context["rows"] if row.account}
    assert rows["clearing:demo"].startswith("Positif : dû au prestataire")
    assert rows["revenue:agglo"].startswith("Négatif : rendu aux familles")
    posted(days_ago(1), "b", clearing__demo="-50.00", till__cash="-1480.00", revenue__agglo="1530.00")
    rows = {row.account.code: row.meaning for row in client.get(page("balances")).context["rows"] if row.account}
    assert rows["clearing:demo"].startswith("Négatif") and rows["revenue:agglo"].startswith("Ce que la régie doit")
    report = client.get(reverse("admin:checkout_verification_report")).content.decode()
    assert "−1\u202f480,00" in report and "Négatif : ce qui se trouve dans la caisse du guichet." in report


def test_a_month_is_seen_before_it_is_closed(client: Client, operator: User) -> None:
    first, _end = last_month()
    posted(first, "a", revenue__agglo="12.00", till__cash="-12.00")
    closings.close_days(until=closings.last_to_close(), by=operator)
    name = month(first).lower()
    offered = client.get(page("new")).content.decode()
    assert f"Toutes les journées <strong>{of(name)}</strong>" in offered and f"Voir {name}" in offered
    shown = client.get(page("new"), {"mois": first})
    assert f"Arrêter {name}" in shown.content.decode()
    assert {row["code"]: row["closing"] for row in shown.context["preview"]}["revenue:agglo"] == 12
    client.post(page("new"), {"mois": first})
    assert Closing.objects.filter(kind="month", first_day=first).exists()


@pytest.mark.parametrize(
    "posted_values", [{}, {"jusqu_au": "demain"}, {"jusqu_au": "2999-01-01"}, {"mois": "2026-01-01"}]
)
def test_what_cannot_be_closed_is_said_on_the_page(client: Client, posted_values: dict[str, str]) -> None:
    said = client.post(page("new"), posted_values, follow=True)
    assert said.status_code == 200 and "Rien n’a été arrêté" in said.content.decode()
    assert not Closing.objects.exists()


@pytest.mark.parametrize("name", ["journal_file", "balances_file"])
def test_the_files_read_back(client: Client, name: str) -> None:
    bought()
    raw = client.get(page(name, "csv"))
    assert raw.headers["Content-Type"] == "text/csv; charset=utf-8" and raw.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(raw.content.decode("utf-8-sig")), delimiter=";"))
    sheet = openpyxl.load_workbook(io.BytesIO(client.get(page(name, "xlsx")).content)).active
    assert sheet is not None and sheet.max_row == len(rows) > 2
    assert [cell.value for cell in sheet[1]] == rows[0]
    if name == "journal_file":
        column = rows[0].index("Débit")
        *entries, total = rows[1:]
        debits = sum(Decimal(row[column].replace(",", ".")) for row in entries if row[column])
        assert debits == sum(Decimal(str(row[column].value)) for row in list(sheet.rows)[1:-1] if row[column].value)
        assert debits == Decimal("57.90")
        assert (total[0], total[column], total[column + 1]) == ("Total", "57,90", "57,90")
        assert Decimal(str(sheet.cell(len(rows), column + 1).value)) == debits
        assert isinstance(sheet.cell(2, 2).value, dt.time) and sheet.cell(2, 2).number_format == "hh:mm:ss"
        assert f"{sheet.cell(2, 2).value:%H:%M:%S}" == rows[1][1]
    else:
        assert rows[-1][:3] == ["Total", "", "0,00"] and "aucun contrôle" in rows[-1][3]
        assert {row[4] for row in rows[1:]} == {f"{today():%d/%m/%Y}"} and all(row[5] for row in rows[1:])


def test_a_closing_is_taken_along(client: Client) -> None:
    posted(days_ago(2), "a", revenue__agglo="12.00", till__cash="-12.00")
    client.post(page("new"), {"jusqu_au": days_ago(2)})
    closing = Closing.objects.get()
    text = client.get(page("file", closing.pk, "csv")).content.decode("utf-8-sig")
    assert "Caisse : espèces;till:cash;0,00;12,00;0,00;" in text and "-12,00" in text
    rows = list(csv.reader(io.StringIO(text), delimiter=";"))
    assert rows[-1][:6] == ["Total", "", "0,00", "12,00", "12,00", "0,00"]
    of_it = [f"{days_ago(2):%d/%m/%Y}"] * 2 + [f"{today():%d/%m/%Y}", str(closing.closed_by)]
    assert rows[0][6:] == ["Du", "Au", "Arrêté le", "Par"] and all(row[6:] == of_it for row in rows[1:])
    assert client.get(page("file", closing.pk + 1, "csv")).status_code == 404


@pytest.mark.parametrize(
    "name, sheet",
    [
        ("releve-REV-2026-000001-2026-10-31", "releve-REV-2026-000001"),
        ("releve-REV-2026-000001-2026-10-31-annule", "releve-REV-2026-000001"),
        ("arrete-2026-10-01-2026-10-31", "arrete-2026-10-01-2026-10-31"),
        ("journal-2026-11-22", "journal-2026-11-22"),
        ("x" * 40, "x" * 31),
        ("x" * 21 + "2026-10-31", "x" * 21 + "2026-10-31"),
        ("x" * 22 + "2026-10-31", "x" * 22),
    ],
)
def test_no_sheet_is_named_by_a_piece_of_a_date(name: str, sheet: str) -> None:
    assert openpyxl.load_workbook(io.BytesIO(as_xlsx(name, ["a"], [["b"]]).content)).sheetnames == [sheet]


@pytest.mark.parametrize("evil", ["=1+1", "+33", "-2", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
def test_no_cell_is_a_formula(evil: str) -> None:
    text = as_csv("x", ["a"], [[evil]]).content.decode("utf-8-sig")
    assert next(iter(csv.reader(io.StringIO(text.split("\r\n", 1)[1]), delimiter=";")))[0][0] == "'"
    sheet = openpyxl.load_workbook(io.BytesIO(as_xlsx("x", ["a"], [[evil]]).content)).active
    assert sheet is not None and sheet["A2"].data_type == "s"


def test_a_sheet_has_a_name_and_amounts_are_written_by_the_rules_of_its_format() -> None:
    """Grouped and pointed as the format itself says, in American: a space there is a letter, not what groups thousands."""
    raw = as_xlsx("journal-2026-11-22: d’un nom [bien] trop/long", ["a"], [[Decimal(1_234_567)]]).content
    sheet = openpyxl.load_workbook(io.BytesIO(raw)).active
    assert sheet is not None and sheet["A2"].number_format == '#,##0.00"\u00a0€"'
    assert (
        sheet.title
        == "journal-2026-11-22- d’un nom [bien] trop/long".translate(dict.fromkeys(map(ord, "[]/"), "-"))[:31]
    )


def test_amounts_of_a_file_are_numbers() -> None:
    assert "-3,50" in as_csv("x", ["a"], [[Decimal("-3.5")]]).content.decode("utf-8-sig")


def test_a_payback_leads_to_its_order(client: Client) -> None:
    from bookings.models import Booking
    from checkout.actions import cancel_bookings
    from checkout.models import Order

    shop = bought()
    cancel_bookings(ids=[Booking.objects.get().pk], by=shop.user)
    movement = Movement.objects.get(kind="cancellation")
    dated(movement.pk, days_ago(1))
    text = client.get(page("journal"), {"jour": days_ago(1)}).content.decode()
    assert reverse("admin:checkout_order_change", args=[Order.objects.get().pk]) in text


def test_a_closing_says_its_dates_as_people_do() -> None:
    """« 1er septembre », « 6 h 25 »: Django's own formats write « 1 septembre » and « 06:25 »."""
    date, at = dt.date(2026, 9, 1), dt.datetime(2026, 9, 2, 4, 25, tzinfo=dt.UTC)
    closing = Closing(kind="day", first_day=date, last_day=date, closed_at=at)
    table: Any = admin.site._registry[Closing]
    assert table.since(closing) == table.until(closing) == "mardi 1er septembre 2026"
    assert table.when(closing) == "mercredi 2 septembre 2026 à 6\u00a0h\u00a025"


@pytest.mark.parametrize("most", [160, 300])
def test_what_is_too_long_is_refused_and_never_cut(most: int) -> None:
    assert within(f"  {'x' * most}\n", most) == "x" * most
    with pytest.raises(Refused, match=rf"{most + 1} caractères, et {most} au plus.*Rien n’a changé") as refusal:
        within("x" * (most + 1), most)
    assert refusal.value.code == "too_long"
