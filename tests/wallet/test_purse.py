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

from accounts.models import User
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings, change_booking
from checkout.models import Order
from checkout.suggestion import suggestion
from portal.common.formats import PARIS
from tests.checkout.conftest import MaxQueries
from tests.checkout.http import text
from tests.checkout.test_given_back import captured
from tests.factories import regie
from tests.papers.reading import read
from tests.shop import Shop, open_shop
from wallet.actions import wallet_of
from wallet.models import Movement, TopUpPack
from wallet.transfers import Debtor
from wallet.withdrawals.actions import ask_withdrawal

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
    for nonsense, said in (
        ({"nature": "²"}, "Cette nature de mouvement n’existe pas"),
        ({"mois": "2026-13"}, "Ce mois n’est pas dans la liste"),
        ({"mois": "<script>"}, "Ce mois n’est pas dans la liste"),
    ):
        assert len(shown(**nonsense)) == 3 and said in text(client.get(PAGE, nonsense))
    assert "pas dans la liste" not in text(client.get(PAGE, {"mois": month}))
    offered = client.get(PAGE).context["filter"].fields["mois"].choices
    assert [value for value, _words in offered] == ["", month]  # of the wallet's life, and no more


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
    assert "Aucun mouvement" in read(empty.content) and "de cette nature" in read(empty.content)


def test_a_statement_opens_and_closes_with_the_balance(shop: Shop, browse: Callable[[Shop], Client]) -> None:
    """The deposit of 50,00 € is of two months before; what was paid and given back since is of this one."""
    this_month = timezone.localdate().replace(day=1)
    empty = (this_month - dt.timedelta(days=1)).replace(day=1)
    before = (empty - dt.timedelta(days=1)).replace(day=1)
    with pgtrigger.ignore("wallet.Movement:movements_are_append_only"):
        Movement.objects.filter(kind="adjustment").update(at=dt.datetime.combine(before, dt.time(12), PARIS))
    User.objects.filter(pk=shop.user.pk).update(created_at=dt.datetime.combine(before, dt.time(9), PARIS))
    client = browse(shop)

    def paper(**query: str) -> str:
        return read(client.get(f"{PAGE}releve.pdf", query).content)

    now = paper(mois=f"{this_month:%Y-%m}")
    assert f"Période : du {this_month:%d/%m/%Y} au {timezone.localdate():%d/%m/%Y}" in now
    for words in ("Solde au début : 50,00", "Entrées : 7,90", "Sorties : −31,60", "Solde à la fin : 26,30"):
        assert words in now, words
    nothing = paper(mois=f"{empty:%Y-%m}")
    assert f"Période : du {empty:%d/%m/%Y} au " in nothing and "Aucun mouvement" in nothing
    assert "Solde au début : 50,00" in nothing and "Solde à la fin : 50,00" in nothing
    offered = [value for value, _words in client.get(PAGE).context["filter"].fields["mois"].choices]
    assert offered == [
        "",
        f"{this_month:%Y-%m}",
        f"{before:%Y-%m}",
    ]  # of the three months, those in which something moved
    everything = paper()
    assert f"du {before:%d/%m/%Y} au" in everything and "Solde au début : 0,00" in everything
    rows = list(
        csv.reader(io.StringIO(client.get(FILE, {"mois": f"{this_month:%Y-%m}"}).content.decode()), delimiter=";")
    )
    assert rows[1][2:] == ["Solde à la fin", "", "", "26,30"] and rows[-1][2:] == ["Solde au début", "", "", "50,00"]


def test_a_statement_that_is_cut_says_so(
    shop: Shop, browse: Callable[[Shop], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkout.views.wallet.MOST_ON_PAPER", 2)
    paper = read(browse(shop).get(f"{PAGE}releve.pdf").content)
    assert "Seuls les 2 derniers mouvements" in paper
    assert "Solde au début : 50,00" in paper and "Solde à la fin : 26,30" in paper


@pytest.mark.parametrize("amount", ["99999999999999", "0,001", "0,5", "501", "12,345"])
def test_a_wrong_custom_amount_is_told_once(shop: Shop, browse: Callable[[Shop], Client], amount: str) -> None:
    answer = browse(shop).post(PAGE, {"pack": "custom", "amount": amount})
    assert answer.status_code == 422 and len(answer.context["form"].errors["amount"]) == 1


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
        assert "sera bientôt vide" in words

    def test_an_empty_wallet_is_empty(self, browse: Callable[[Shop], Client]) -> None:
        self.packs()
        shop = open_shop(credit="31.60")
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        words = text(browse(shop).get(PAGE))
        assert "Votre porte-monnaie est vide" in words and "bientôt vide" not in words

    def test_not_to_who_has_just_asked_for_the_rest_back(self, browse: Callable[[Shop], Client]) -> None:
        self.packs()
        shop = open_shop(credit="32")
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        client = browse(shop)
        assert "sera bientôt vide" in text(client.get(PAGE))
        debtor = Debtor("Régie du Velay", "DE89370400440532013000")
        iban = "FR7630006000011234567890189"
        ask_withdrawal(user=shop.user, amount=shop.balance, holder=str(shop.user), iban=iban, debtor=debtor)
        words = text(client.get(PAGE))
        assert "0,40 €" in words and "par mois" not in words

    def test_not_while_it_holds_enough_nor_for_who_spends_nothing(self) -> None:
        packs = self.packs()
        shop = open_shop(credit="100")
        assert suggestion(wallet_of(shop.user), packs) is None
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        assert suggestion(wallet_of(shop.user), packs) is None
        assert suggestion(wallet_of(open_shop().user), packs) is None
        assert suggestion(wallet_of(shop.user), []) is None

    def test_what_waits_beside_a_card_is_not_spent(self) -> None:
        packs = self.packs()
        shop = open_shop(credit="20")
        shop.add()
        started = shop.pay(Means.BOTH, "31.60")
        assert wallet_of(shop.user).balance == 0 and suggestion(wallet_of(shop.user), packs) is None
        captured(started.order)
        found = suggestion(wallet_of(shop.user), packs)
        assert found and found.monthly == Decimal("6.67")

    def test_what_only_passes_through_on_its_way_to_the_card_is_not_given_back(self) -> None:
        """10 € from the wallet and 21,60 € from the card come back where they came from; then 15,80 € are spent."""
        packs = self.packs()
        shop = open_shop(credit="16", days=6)
        shop.add(days=shop.days[:4])
        captured(shop.pay(Means.BOTH, "31.60").order)
        ids = list(Booking.objects.booked().values_list("pk", flat=True))
        regie(card_refunds=True)
        cancel_bookings(ids=ids, by=shop.user, to_card=True)
        assert shop.balance == 16 and suggestion(wallet_of(shop.user), packs) is None
        shop.add(days=shop.days[4:])
        shop.pay(Means.WALLET, "15.80")
        found = suggestion(wallet_of(shop.user), packs)
        assert found and found.monthly == Decimal("5.27")

    def test_a_card_order_given_back_to_the_wallet_is_not_less_spent(self) -> None:
        """Twice 31,60 € by card, cancelled to the wallet; what the wallet then pays counts as what it is."""
        packs = self.packs()
        shop = open_shop(days=4)
        for _time in range(2):
            shop.add()
            captured(shop.pay(Means.CARD, "31.60").order)
            cancel_bookings(ids=list(Booking.objects.booked().values_list("pk", flat=True)), by=shop.user)
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        cancel_bookings(ids=[Booking.objects.booked().earliest("pk").pk], by=shop.user)
        with_money = wallet_of(shop.user)
        with_money.balance = Decimal(0)
        found = suggestion(with_money, packs)
        assert found and found.monthly == Decimal("7.90")  # 31,60 € less the 7,90 € of the date given back

    def move(self, shop: Shop, number: int) -> None:
        """The only booked date becomes another of the shop's days, at the same price."""
        change_booking(
            booking=Booking.objects.booked().select_related("open_day__activity", "slot", "beneficiary").get(),
            slot=shop.slot,
            date=shop.days[number].date,
            shown_difference=Decimal(0),
            by=shop.user,
        )

    def suggested(self, shop: Shop) -> Decimal | None:
        """The mean of a month, were the wallet empty."""
        empty = wallet_of(shop.user)
        empty.balance = Decimal(0)
        found = suggestion(empty, list(TopUpPack.objects.all()))
        return found.monthly if found else None

    def test_a_date_that_was_only_changed_is_not_spent_from_the_wallet(self) -> None:
        """Paid by card and moved twice: nothing came from the wallet, whoever cancels it in the end."""
        self.packs()
        shop = open_shop(days=3)
        shop.add(days=shop.days[:1])
        captured(shop.pay(Means.CARD, "7.90").order)
        for number in (1, 2):
            self.move(shop, number)
            assert self.suggested(shop) is None
        cancel_bookings(ids=[Booking.objects.booked().get().pk], by=shop.user)
        assert self.suggested(shop) is None

    def test_what_the_wallet_paid_stays_spent_once_when_its_date_is_changed(self) -> None:
        self.packs()
        shop = open_shop(days=3, credit="20")
        shop.add(days=shop.days[:1])
        shop.pay(Means.WALLET, "7.90")
        for number in (1, 2):
            self.move(shop, number)
            assert self.suggested(shop) == Decimal("2.63")
        cancel_bookings(ids=[Booking.objects.booked().get().pk], by=shop.user)
        assert shop.balance == 20 and self.suggested(shop) is None

    def test_an_order_of_long_ago_is_not_spent_again_when_its_date_moves(self) -> None:
        self.packs()
        shop = open_shop(days=2, credit="20")
        shop.add(days=shop.days[:1])
        shop.pay(Means.WALLET, "7.90")
        Order.objects.update(paid_at=timezone.now() - dt.timedelta(days=100))
        self.move(shop, 1)
        assert self.suggested(shop) is None

    def test_old_orders_do_not_count(self) -> None:
        packs = self.packs()
        shop = open_shop(credit="32")
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        long_ago = timezone.now() - dt.timedelta(days=91)
        with pgtrigger.ignore("wallet.Movement:movements_are_append_only"):
            Movement.objects.update(at=long_ago)
        Order.objects.update(paid_at=long_ago)
        assert suggestion(wallet_of(shop.user), packs) is None
