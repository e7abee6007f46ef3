"""« Mon porte-monnaie »: running balance, where each movement comes from, filters, a file for the spreadsheet, the nudge."""

import csv
import datetime as dt
import io
from collections.abc import Callable
from decimal import Decimal

import pgtrigger
import pikepdf
import pytest
from django.test import Client
from django.utils import timezone

from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from checkout.models import Order
from checkout.suggestion import suggestion
from tests.checkout.conftest import MaxQueries
from tests.checkout.http import text
from tests.shop import Shop, open_shop
from wallet.actions import wallet_of
from wallet.models import Movement, TopUpPack

pytestmark = pytest.mark.django_db
PAGE = "/mon-compte/porte-monnaie/"
FILE = f"{PAGE}mouvements.csv"


@pytest.fixture
def shop() -> Shop:
    shop = open_shop(credit="50")
    shop.add()
    shop.pay(Means.WALLET, "31.60")
    cancel_bookings(ids=list(Booking.objects.booked().values_list("pk", flat=True))[:1], by=shop.user)
    return shop


@pytest.fixture
def browse() -> Callable[[Shop], Client]:
    def signed_in(shop: Shop) -> Client:
        client = Client()
        client.force_login(shop.user)
        client.get("/")
        return client

    return signed_in


def test_each_movement_leads_to_its_order(shop: Shop, browse: Callable[[Shop], Client]) -> None:
    answer = browse(shop).get(PAGE)
    order = Order.objects.get()
    links = [found for _entry, _date, found in answer.context["movements"]]
    assert links == [order, order, None]  # cancelled, paid, and the deposit by hand
    assert answer.content.decode().count(f'<a href="{order.get_absolute_url()}">') == 2
    balances = [entry.balance_after for entry, _date, _order in answer.context["movements"]]
    assert balances == [Decimal("26.30"), Decimal("18.40"), Decimal("50.00")]


def test_filters(shop: Shop, browse: Callable[[Shop], Client]) -> None:
    client = browse(shop)
    month = f"{timezone.localdate():%Y-%m}"

    def shown(**query: str) -> list[str]:
        return [entry.movement.kind for entry, _date, _order in client.get(PAGE, query).context["movements"]]

    assert shown(nature="order") == ["order"]
    assert len(shown(mois=month)) == 3
    assert "Aucun mouvement ne correspond" in text(client.get(PAGE, {"nature": "expiry"}))
    for nonsense in ({"nature": "²"}, {"mois": "9999-99"}, {"mois": "<script>"}):
        assert len(shown(**nonsense)) == 3


def test_the_file_opens_in_a_spreadsheet(shop: Shop, browse: Callable[[Shop], Client]) -> None:
    with pgtrigger.ignore("wallet.Movement:movements_are_append_only"):
        Movement.objects.filter(kind="adjustment").update(label="=1+1")
    answer = browse(shop).get(FILE)
    assert answer["Content-Type"].startswith("text/csv") and answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig")), delimiter=";"))
    assert rows[0] == ["Date", "Nature", "Libellé", "Commande", "Montant", "Solde"] and len(rows) == 4
    assert rows[1][3] == Order.objects.get().number and rows[1][4:] == ["7,90", "26,30"] and rows[2][4] == "-31,60"
    assert not rows[3][2].startswith("=")
    assert len(list(csv.reader(io.StringIO(browse(shop).get(FILE, {"nature": "order"}).content.decode())))) == 2


def test_the_statement_on_paper(shop: Shop, browse: Callable[[Shop], Client]) -> None:
    answer = browse(shop).get(f"{PAGE}releve.pdf", {"nature": "order"})
    assert answer["Content-Type"] == "application/pdf"
    with pikepdf.open(io.BytesIO(answer.content)) as file:
        assert file.Root.MarkInfo.Marked and str(file.Root.Lang) == "fr"
        assert str(file.docinfo["/Title"]).startswith("Relevé du porte-monnaie")
    empty = browse(shop).get(f"{PAGE}releve.pdf", {"nature": "expiry"})
    assert empty.content.startswith(b"%PDF")


def test_nobody_reads_anothers(shop: Shop, browse: Callable[[Shop], Client]) -> None:
    other = open_shop()
    assert browse(other).get(PAGE).context["movements"] == []
    assert b"31,60" not in browse(other).get(FILE).content


@pytest.mark.parametrize("orders", [1, 8])
def test_costs(orders: int, browse: Callable[[Shop], Client], at_most: MaxQueries) -> None:
    shop = open_shop(credit="500", days=orders)
    for day in shop.days:
        shop.add(days=[day])
        shop.pay(Means.WALLET, "7.90")
    client = browse(shop)
    client.get(PAGE)
    with at_most(14):
        client.get(PAGE)


class TestSuggestion:
    def packs(self) -> list[TopUpPack]:
        return [TopUpPack.objects.create(amount=Decimal(amount)) for amount in (1, 10, 25, 50)]

    def test_a_wallet_that_runs_low(self, browse: Callable[[Shop], Client]) -> None:
        """31,60 € in three months are 10,53 € a month; 0,40 € is less than a week of it."""
        packs = self.packs()
        shop = open_shop(credit="32")
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        found = suggestion(wallet_of(shop.user), packs)
        assert found and found.monthly == Decimal("10.53") and found.pack.amount == 25
        words = text(browse(shop).get(PAGE))
        assert "environ 10,53 € par mois" in words and "le pack de 25,00 €" in words

    def test_not_while_it_holds_enough_nor_for_who_spends_nothing(self) -> None:
        packs = self.packs()
        shop = open_shop(credit="100")
        assert suggestion(wallet_of(shop.user), packs) is None
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        assert suggestion(wallet_of(shop.user), packs) is None
        assert suggestion(wallet_of(open_shop().user), packs) is None
        assert suggestion(wallet_of(shop.user), []) is None

    def test_old_orders_do_not_count(self) -> None:
        packs = self.packs()
        shop = open_shop(credit="32")
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        with pgtrigger.ignore("wallet.Movement:movements_are_append_only"):
            Movement.objects.update(at=timezone.now() - dt.timedelta(days=91))
        assert suggestion(wallet_of(shop.user), packs) is None
