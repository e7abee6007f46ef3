"""Cash, cheques and CESU at a counter: into the wallet or for the cart, with a receipt, by whoever was named for it."""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.urls import reverse

from accounts.models import Commune, CommuneFile, User
from bookings.models import Booking
from checkout.actions import Means as OnlineMeans
from checkout.admin_counter import CashierFilter
from checkout.counter import actions as counter
from checkout.counter.actions import CASH_LIMIT, Paper, deposit_till, in_the_till, take_payment, take_top_up
from checkout.counter.models import CounterReceipt, Means, TillDeposit
from checkout.models import Order, OrderLine, Payment
from checkout.verification import verify
from checkout.vouchers.actions import enter_code
from portal.common.errors import Refused
from portal.common.formats import short_date, today
from portal.outbox.models import Email
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import AddressFactory, CommuneFactory, TermsFactory, agent_of, regie
from tests.guards import guarded
from tests.papers.reading import plain
from tests.shop import Shop, open_shop
from tests.vouchers.making import voucher
from wallet.corrections import actions as corrections
from wallet.corrections.models import Correction
from wallet.models import Account, Movement

pytestmark = pytest.mark.django_db
PAGE = "admin:checkout_tilldeposit"


@pytest.fixture
def shop() -> Shop:
    shop = open_shop()
    TermsFactory(kind="sale")
    AddressFactory(user=shop.user)
    return shop


@pytest.fixture
def operator() -> User:
    return agent_of()


def cashier_of(commune: Commune) -> User:
    """An agent who was named for the counter of a commune."""
    agent = agent_of(commune)
    agent.staff_roles.update(takes_money=True)  # type: ignore[attr-defined]
    return agent


def paper(number: str = "Q-1", means: Means = Means.CASH, cheque: str = "") -> Paper:
    return Paper(means, number, cheque)


def refused(code: str, action: Any, **arguments: Any) -> str:
    with pytest.raises(Refused) as refusal, transaction.atomic():
        action(**arguments)
    assert refusal.value.code == code
    assert list(verify()) == []
    return str(refusal.value)


class TestTopUp:
    def test_cash_enters_the_wallet(self, shop: Shop, operator: User) -> None:
        order = take_top_up(user=shop.user, amount=Decimal("30"), paper=paper(), commune=None, by=operator)
        assert shop.balance == 30 and order.status == "paid" and order.total == 30
        assert Account.objects.get(code="till:cash").balance() == -30
        receipt = CounterReceipt.objects.get()
        assert (receipt.number, receipt.by, receipt.commune) == ("Q-1", operator, None)
        words = "guichet de l’agglomération, espèces, quittance n° Q-1"
        assert f"({words} : 30,00" in plain(Email.objects.get(to=shop.user.email).body)
        movement = Movement.objects.get(key=f"order:{order.pk}:paid")
        assert (movement.kind, plain(movement.label)) == ("counter", f"Dépôt au {words}")
        assert movement.by == operator  # who took it, for the journal
        aiguilhe = CommuneFactory(name="Aiguilhe")
        cesu = take_top_up(
            user=shop.user, amount=Decimal(5), paper=paper("Q-2", Means.CESU), commune=aiguilhe, by=operator
        )
        label = plain(Movement.objects.get(key=f"order:{cesu.pk}:paid").label)
        assert label == "Dépôt au guichet d’Aiguilhe, CESU préfinancé, quittance n° Q-2"
        page = client_of(shop.user).get("/mon-compte/porte-monnaie/", {"nature": "counter"})
        assert f"Dépôt au {words}" in text(page) and label in text(page)
        assert list(verify()) == []

    def test_a_cheque_needs_its_number(self, shop: Shop, operator: User) -> None:
        data = {"user": shop.user, "amount": Decimal(30), "commune": None, "by": operator}
        refused("cheque_missing", take_top_up, paper=paper(means=Means.CHEQUE), **data)
        take_top_up(paper=paper(means=Means.CHEQUE, cheque="Crédit Agricole 1234567"), **data)
        assert Account.objects.get(code="till:cheque").balance() == -30

    @pytest.mark.parametrize("amount", ["0", "-5", "2000.01", "0.001"])
    def test_amounts_that_are_not_taken(self, shop: Shop, operator: User, amount: str) -> None:
        refused("amount", take_top_up, user=shop.user, amount=Decimal(amount), paper=paper(), commune=None, by=operator)

    def test_the_law_limits_cash(self, shop: Shop, operator: User) -> None:
        data = {"user": shop.user, "paper": paper(), "commune": None, "by": operator}
        words = refused("too_much_cash", take_top_up, amount=CASH_LIMIT + Decimal("0.01"), **data)
        assert "300,00" in words and "Rien n’a été encaissé" in words
        take_top_up(amount=CASH_LIMIT, **data)

    def test_a_number_serves_once_at_each_counter(self, shop: Shop, operator: User) -> None:
        data = {"user": shop.user, "amount": Decimal(5), "by": operator}
        take_top_up(paper=paper(), commune=None, **data)
        assert "déjà servi" in refused("receipt_number_once", take_top_up, paper=paper(), commune=None, **data)
        assert shop.balance == 5
        take_top_up(paper=paper(), commune=CommuneFactory(), **data)
        refused("number_missing", take_top_up, paper=paper(" "), commune=None, **data)


class TestPayment:
    def test_the_cart_is_paid(self, shop: Shop, operator: User) -> None:
        shop.add()
        order = take_payment(user=shop.user, shown_total=Decimal("31.60"), paper=paper(), commune=None, by=operator)
        assert order.status == "paid" and Booking.objects.booked().count() == 4 and shop.balance == 0
        assert order.billing_address and order.terms is not None
        assert Account.objects.get(code="till:cash").balance() == Decimal("-31.60")
        assert list(verify()) == []

    def test_an_order_that_waits_for_its_card_is_paid(self, shop: Shop, operator: User) -> None:
        shop.add()
        started = shop.pay(OnlineMeans.CARD, "31.60")
        order = take_payment(user=shop.user, shown_total=Decimal("31.60"), paper=paper(), commune=None, by=operator)
        assert order == started.order and order.status == "paid"
        assert sorted(Payment.objects.values_list("provider", "status")) == [
            ("cash", "captured"),
            ("demo", "abandoned"),
        ]
        assert list(verify()) == []

    def test_another_total_takes_nothing(self, shop: Shop, operator: User) -> None:
        shop.add()
        data = {"user": shop.user, "paper": paper(), "commune": None, "by": operator}
        refused("changed", take_payment, shown_total=Decimal("23.70"), **data)
        assert not Payment.objects.exists() and not Order.objects.exists()

    def test_an_empty_cart(self, shop: Shop, operator: User) -> None:
        refused("empty", take_payment, user=shop.user, shown_total=Decimal(5), paper=paper(), commune=None, by=operator)

    def test_without_an_address(self, operator: User) -> None:
        shop = open_shop()
        TermsFactory(kind="sale")
        shop.add()
        data = {"user": shop.user, "paper": paper(), "commune": None, "by": operator}
        assert "Mes adresses" in refused("no_address", take_payment, shown_total=Decimal("31.60"), **data)

    def test_cancelling_gives_back_to_the_wallet(self, shop: Shop, operator: User) -> None:
        """A till pays nothing back by itself: what was paid in cash has no card to return to."""
        from checkout.actions import cancel_bookings

        regie(card_refunds=True)
        shop.add()
        take_payment(user=shop.user, shown_total=Decimal("31.60"), paper=paper(), commune=None, by=operator)
        ids = list(Booking.objects.booked().values_list("pk", flat=True))
        returned = cancel_bookings(ids=ids, by=shop.user, to_card=True)
        assert returned.to_card == 0 and shop.balance == Decimal("31.60")


class TestWhoMay:
    def test_an_agent_who_was_named_takes_at_the_own_counter(self, shop: Shop) -> None:
        commune = shop.activity.service.commune
        cashier = cashier_of(commune)
        data = {"user": shop.user, "amount": Decimal(5), "paper": paper(), "by": cashier}
        refused("not_yours", take_top_up, commune=None, **data)
        refused("not_yours", take_top_up, commune=CommuneFactory(), **data)
        from accounts.models import CommuneFile

        CommuneFile.objects.get_or_create(user=shop.user, commune=commune, reason="request")
        take_top_up(commune=commune, **data)
        assert shop.balance == 5

    def test_an_agent_who_was_not_named_takes_nothing(self, shop: Shop) -> None:
        commune = shop.activity.service.commune
        data = {"user": shop.user, "amount": Decimal(5), "paper": paper()}
        refused("not_yours", take_top_up, commune=commune, by=agent_of(commune), **data)

    def test_another_communes_family_is_out_of_reach(self) -> None:
        elsewhere = CommuneFactory()
        cashier, stranger = cashier_of(elsewhere), open_shop().user
        data = {"user": stranger, "amount": Decimal(5), "paper": paper()}
        refused("not_yours", take_top_up, commune=elsewhere, by=cashier, **data)


class TestDeposits:
    def till(self, shop: Shop, operator: User) -> None:
        take_top_up(user=shop.user, amount=Decimal("30"), paper=paper(), commune=None, by=operator)

    def test_from_the_till_to_the_bank(self, shop: Shop, operator: User) -> None:
        self.till(shop, operator)
        deposit_till(means=Means.CASH, amount=Decimal("25"), number="B-1", by=operator)
        assert Account.objects.get(code="till:cash").balance() == -5 and in_the_till(Means.CASH) == 5
        assert Account.objects.get(code="bank").balance() == -25 and list(verify()) == []
        movement = TillDeposit.objects.get().movement
        assert movement.get_kind_display() == "Versement de la caisse à la banque"  # not a provider's

    def test_never_more_than_lies_there(self, shop: Shop, operator: User) -> None:
        self.till(shop, operator)
        for means, amount in ((Means.CASH, "30.01"), (Means.CASH, "0"), (Means.CHEQUE, "1"), (Means.CASH, "0.001")):
            refused("too_much", deposit_till, means=means, amount=Decimal(amount), number="B-1", by=operator)
        refused("number_missing", deposit_till, means=Means.CASH, amount=Decimal(1), number=" ", by=operator)
        said = refused("too_much", deposit_till, means=Means.CESU, amount=Decimal(1), number="B-1", by=operator)
        assert "en CESU préfinancé" in said
        agent = cashier_of(shop.activity.service.commune)
        refused("not_yours", deposit_till, means=Means.CASH, amount=Decimal(1), number="B-1", by=agent)

    def test_a_slip_is_written_once(self, shop: Shop, operator: User) -> None:
        self.till(shop, operator)
        deposit_till(means=Means.CASH, amount=Decimal("10"), number="B-1", by=operator)
        refused("deposit_slip_once", deposit_till, means=Means.CASH, amount=Decimal("10"), number="B-1", by=operator)
        assert in_the_till(Means.CASH) == 20

    def test_the_page(self, shop: Shop, operator: User) -> None:
        self.till(shop, operator)
        client, address = client_of(operator), "/admin/checkout/tilldeposit/verser/"
        assert "Espèces 30,00 €" in text(client.get(address))
        assert "contient 30,00 €" in text(client.post(address, {"means": "cash", "amount": "31", "number": "B-1"}))
        answer = client.post(address, {"means": "cash", "amount": "30,00", "number": "B-1"}, follow=True)
        assert "30,00 € sont sortis de la caisse" in text(answer) and "B-1" in text(answer)
        for user in (shop.user, cashier_of(shop.activity.service.commune)):
            assert client_of(user).get(address).status_code == 404

    def test_what_was_deposited_stays(self, shop: Shop, operator: User) -> None:
        self.till(shop, operator)
        deposit_till(means=Means.CASH, amount=Decimal("10"), number="B-1", by=operator)
        guarded(
            "checkout.TillDeposit:till_deposits_stay",
            lambda: TillDeposit.objects.update(number="B-2"),
            "Cannot",
            lambda: TillDeposit.objects.filter(number="B-2").exists(),
        )


class TestGuards:
    def payment(self, shop: Shop, status: str = "credited") -> Payment:
        from django.utils import timezone

        order = Order.objects.create(user=shop.user, kind="top_up", total=Decimal(5))
        return Payment.objects.create(
            order=order, provider="cash", amount=Decimal(5), status=status, ended_at=timezone.now()
        )

    def test_no_money_at_the_counter_without_a_receipt(self, shop: Shop) -> None:
        def fault() -> None:
            self.payment(shop)
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

        guarded(
            "checkout.Payment:counter_payment_has_its_receipt",
            fault,
            "without a receipt",
            lambda: Payment.objects.filter(provider="cash").exists(),
        )

    def test_a_receipt_stays_as_it_was_given(self, shop: Shop, operator: User) -> None:
        take_top_up(user=shop.user, amount=Decimal(5), paper=paper(), commune=None, by=operator)
        for fault, seen in (
            (lambda: CounterReceipt.objects.update(number="Q-2"), lambda: CounterReceipt.objects.filter(number="Q-2")),
            (
                lambda: CounterReceipt.objects.all()._raw_delete("default"),
                lambda: CounterReceipt.objects.all()[:0] if CounterReceipt.objects.exists() else Order.objects.all(),
            ),
        ):
            guarded("checkout.CounterReceipt:counter_receipts_stay", fault, "Cannot", lambda seen=seen: seen().exists())

    def test_a_receipt_has_a_number(self, shop: Shop, operator: User) -> None:
        with pytest.raises(IntegrityError, match="counter_receipt_has_a_number"), transaction.atomic():
            CounterReceipt.objects.create(payment=self.payment(shop), number="", by=operator)


class TestCounting:
    def test_what_was_counted_is_what_the_till_holds_once_another_agrees(self, shop: Shop, operator: User) -> None:
        """A hundred was typed for ten: the family's wallet is corrected, and the drawer."""
        second = agent_of()
        take_top_up(user=shop.user, amount=Decimal(100), paper=Paper(Means.CASH, "Q-1"), commune=None, by=operator)
        client = client_of(operator)
        page = reverse("admin:checkout_tilldeposit_count")
        shown = {"booked_cash": "100.00", "booked_cheque": "0.00", "booked_cesu": "0.00"}
        asked = {"means": "cash", "counted": "10,00", "reason": "Q-1 : 100 tapés au lieu de 10", **shown}
        assert "100,00" in text(client.get(page))
        for wrong, words in (
            ({"counted": "-1"}, "zéro ou plus"),
            ({"counted": "1e1"}, "en euros et centimes"),
            ({"counted": "100"}, "Le compte y est"),
            ({"reason": " "}, "Écrivez le motif"),
            ({"means": ""}, "Choisissez espèces"),
        ):
            assert words in text(client.post(page, asked | wrong))
        assert "Correction de −90,00" in text(client.post(page, asked, follow=True))
        assert "attend déjà d’être décidée" in text(client.post(page, asked))
        row = Correction.objects.get()
        assert (row.kind, row.amount, in_the_till(Means.CASH)) == ("till", Decimal(-90), 100)
        with pytest.raises(Refused, match="une autre personne"):
            corrections.approve(correction=row, by=operator)
        said = "Comptés dans la caisse : 10,00 € ; les comptes disaient alors 100,00 €. Ils disent maintenant 100,00 €."
        assert said in text(client_of(second).get(reverse("admin:wallet_correction_change", args=[row.pk])))
        answer = client_of(second).post(reverse("admin:wallet_correction_approve", args=[row.pk]), follow=True)
        assert "la caisse est corrigée" in text(answer) and "Caisse" in text(answer)
        assert in_the_till(Means.CASH) == 10 and list(verify()) == []
        mistake = corrections.propose(user=shop.user, amount=Decimal(-90), reason="Q-1", by=operator)
        corrections.approve(correction=mistake, by=second)
        assert Account.objects.get(code="adjustment").balance() == 0 and list(verify()) == []
        with pytest.raises(Refused, match="en comptant de nouveau"):
            corrections.propose_reversal(movement=Movement.objects.get(key=row.key), reason="x", by=operator)

    def test_nothing_is_taken_out_that_went_to_the_bank(self, shop: Shop, operator: User) -> None:
        take_top_up(user=shop.user, amount=Decimal(100), paper=Paper(Means.CASH, "Q-1"), commune=None, by=operator)
        row = corrections.propose_till(
            means="cash", counted=Decimal(10), booked=Decimal(100), reason="Compté", by=operator
        )
        deposit_till(means=Means.CASH, amount=Decimal(60), number="B-1", by=operator)
        with pytest.raises(Refused) as refusal:
            corrections.approve(correction=row, by=agent_of())
        assert refusal.value.code == "till_is_short" and in_the_till(Means.CASH) == 40 and list(verify()) == []

    def test_a_mairie_corrects_no_till(self, shop: Shop) -> None:
        mairie = agent_of(CommuneFactory())
        assert client_of(mairie).get(reverse("admin:checkout_tilldeposit_count")).status_code in {403, 404}
        with pytest.raises(Refused, match="Seule l’agglomération"):
            corrections.propose_till(means="cash", counted=Decimal(10), booked=Decimal(0), reason="x", by=mairie)

    def test_what_was_taken_in_since_the_page_was_opened_is_no_error(self, shop: Shop, operator: User) -> None:
        """The count agreed with its page; five euros that came meanwhile would have left the books."""
        take_top_up(user=shop.user, amount=Decimal(100), paper=Paper(Means.CASH, "Q-1"), commune=None, by=operator)
        client, page = client_of(operator), reverse("admin:checkout_tilldeposit_count")
        shown = re.findall(r'name="(booked_\w+)" value="([\d.]+)"', client.get(page).content.decode())
        assert dict(shown)["booked_cash"] == "100.00"
        take_top_up(user=shop.user, amount=Decimal(5), paper=Paper(Means.CASH, "Q-2"), commune=None, by=operator)
        asked = {"means": "cash", "counted": "100,00", "reason": "Compté", **dict(shown)}
        answer = client.post(page, asked)
        assert "contient maintenant 105,00 €" in text(answer) and not Correction.objects.exists()
        assert 'name="booked_cash" value="105.00"' in answer.content.decode()

    def test_a_deposit_that_was_typed_wrong_is_taken_back_by_two(self, shop: Shop, operator: User) -> None:
        """Ninety for nine: it is in the till again, and leaves it as it was."""
        take_top_up(user=shop.user, amount=Decimal(100), paper=Paper(Means.CASH, "Q-1"), commune=None, by=operator)
        wrong = deposit_till(means=Means.CASH, amount=Decimal(90), number="b-1", by=operator)
        page = reverse("admin:checkout_tilldeposit_change", args=[wrong.pk])
        ask = reverse("admin:wallet_correction_reverse", args=[wrong.movement_id])
        client = client_of(operator)
        assert ask in client.get(page).content.decode()
        client.post(ask, {"motif": "9 et non 90"})
        row = Correction.objects.get()
        assert in_the_till(Means.CASH) == 10
        corrections.approve(correction=row, by=agent_of())
        assert in_the_till(Means.CASH) == 100 and list(verify()) == []
        assert Account.objects.get(code="bank").balance() == 0
        shown = client.get(page)
        assert "de nouveau dans la caisse" in text(shown) and ask not in shown.content.decode()
        assert "sous le même numéro de bordereau" not in text(shown)
        right = deposit_till(
            means=Means.CASH, amount=Decimal(9), number="B-1", by=operator
        )  # what the bank's slip says
        assert in_the_till(Means.CASH) == 91 and list(verify()) == []
        assert (right.edition, right.movement.key) == (2, "till_deposit:cash:2:B-1")
        rows = text(client.get(reverse(f"{PAGE}_changelist")))
        assert f"90,00 € b-1 contre-passé le {short_date(today())}" in rows
        assert "9,00 € B-1 versé" in rows and "sous le même numéro" in text(
            client.get(reverse(f"{PAGE}_change", args=[right.pk]))
        )
        refused("deposit_slip_once", deposit_till, means=Means.CASH, amount=Decimal(9), number="b-1", by=operator)
        with pytest.raises(Refused, match="déjà été contre-passé"):
            corrections.propose_reversal(movement=wrong.movement, reason="x", by=operator)

    def test_a_number_is_the_same_in_another_case(self, shop: Shop, operator: User) -> None:
        facts = {"user": shop.user, "amount": Decimal(10), "commune": None, "by": operator}
        take_top_up(paper=Paper(Means.CASH, "Q-2026-001"), **facts)
        with pytest.raises(Refused, match="a déjà servi"):
            take_top_up(paper=Paper(Means.CASH, " q-2026-001 "), **facts)
        deposit_till(means=Means.CASH, amount=Decimal(1), number="B-1", by=operator)
        with pytest.raises(Refused, match="déjà enregistré"):
            deposit_till(means=Means.CASH, amount=Decimal(1), number="b-1", by=operator)

    @pytest.mark.parametrize("before", ["q-7", "Q-7 \u00a0A", "q-7  a"])
    def test_a_number_of_before_one_spelling_is_not_taken_twice(
        self, shop: Shop, operator: User, monkeypatch: Any, before: str
    ) -> None:
        taken = {"user": shop.user, "amount": Decimal(100), "commune": None, "by": operator, "paper": paper(before)}
        brought = {"means": Means.CASH, "amount": Decimal(40), "number": before, "by": operator}
        with monkeypatch.context() as earlier:
            earlier.setattr(counter, "legible", str.strip)  # rows stand as they were typed
            earlier.setattr(counter, "spelled", str.strip)
            take_top_up(**taken)
            first = deposit_till(**brought)
        assert (CounterReceipt.objects.get().number, first.number) == (before, before)
        for typed in (before, counter.spelled(before)):
            refused("receipt_number_once", take_top_up, **taken | {"paper": paper(typed)})
            refused("deposit_slip_once", deposit_till, **brought | {"number": typed})
        assert shop.balance == 100 and in_the_till(Means.CASH) == 60
        take_top_up(**taken | {"commune": CommuneFactory()})  # another counter's receipt book
        back = corrections.propose_reversal(movement=first.movement, reason="9, non 40", by=operator)
        corrections.approve(correction=back, by=agent_of())
        assert deposit_till(**brought).edition == 2 and list(verify()) == []

    def test_a_number_that_grows_in_capitals_is_said(self, shop: Shop, operator: User) -> None:
        taken = {"user": shop.user, "amount": Decimal(10), "commune": None, "by": operator}
        assert "30 caractères" in refused("number_long", take_top_up, paper=paper("ß" * 16), **taken)
        take_top_up(paper=paper("ß" * 15), **taken)
        brought = {"means": Means.CASH, "amount": Decimal(1), "by": operator}
        assert "40 caractères" in refused("number_long", deposit_till, number="ß" * 21, **brought)
        assert deposit_till(number="ß" * 20, **brought).number == "ß" * 20


class TestPages:
    TAKE = "/admin/checkout/counterreceipt/encaisser/"

    def test_find_a_family_and_take_its_cart(self, shop: Shop, operator: User) -> None:
        assert reverse("admin:checkout_counterreceipt_take") == self.TAKE
        shop.add()
        client = client_of(operator)
        for words in (shop.user.last_name.upper(), shop.user.email, shop.children[0].first_name):
            assert shop.user.email in text(client.get(self.TAKE, {"q": words})), words
        assert "Aucune famille" in text(client.get(self.TAKE, {"q": "personne de ce nom"}))
        address = f"{self.TAKE}?usager={shop.user.pk}"
        page = text(client.get(address))
        assert "Panier : 4 produits, 31,60 €" in page and "Porte-monnaie : 0,00 €" in page
        data = {"what": "cart", "shown": "31.60", "means": "cheque", "number": "Q-7"}
        assert "Écrivez la banque" in text(client.post(address, data))
        for unsure in ({"what": ""}, {"amount": "50"}):  # a deposit never orders the family's cart
            answer = client.post(address, data | {"cheque": "La Banque postale 99"} | unsure)
            assert answer.status_code == 200 and not Order.objects.exists()
        answer = client.post(address, data | {"cheque": "La Banque postale 99"}, follow=True)
        assert "31,60 € encaissés" in text(answer) and Order.objects.get().status == "paid"
        assert "Q-7" in text(client.get("/admin/checkout/counterreceipt/"))

    @pytest.mark.parametrize(
        "changes, words",
        [
            ({"amount": ""}, "Écrivez le montant déposé"),
            ({"amount": "abc"}, "en chiffres"),
            ({"amount": "301"}, "limite l’encaissement à 300,00"),
            ({"cheque": "CA 123"}, "choisissez « Chèque », ou effacez-le"),
            ({"amount": "1e9"}, "en chiffres"),
            ({"amount": "99999999999"}, "Le montant va de 0,01"),
            ({"number": ""}, "numéro de la quittance"),
            ({"number": "9" * 200}, "Le numéro de la quittance a 30 caractères au plus."),
            ({"cheque": "9" * 200}, "en 80 caractères au plus"),
            ({"means": ""}, "Choisissez espèces"),
            ({"what": "cart"}, ""),
        ],
    )
    def test_what_is_missing_is_said(self, shop: Shop, operator: User, changes: dict[str, str], words: str) -> None:
        data = {"what": "top_up", "amount": "30,00", "means": "cash", "number": "Q-1"} | changes
        answer = client_of(operator).post(f"{self.TAKE}?usager={shop.user.pk}", data)
        assert answer.status_code == 200 and words in text(answer)
        assert not Payment.objects.exists()

    def test_a_receipt_leads_to_what_it_made_and_says_what_to_do_about_a_mistake(
        self, shop: Shop, operator: User
    ) -> None:
        order = take_top_up(user=shop.user, amount=Decimal("30"), paper=paper(), commune=None, by=operator)
        receipt, movement = CounterReceipt.objects.get(), Movement.objects.get(key=f"order:{order.pk}:paid")
        address = reverse("admin:checkout_counterreceipt_change", args=[receipt.pk])
        page = client_of(operator).get(address)
        html = page.content.decode()
        for target in (
            reverse("admin:checkout_order_change", args=[order.pk]),
            reverse("admin:wallet_movement_change", args=[movement.pk]),
            reverse("admin:wallet_correction_changelist"),
        ):
            assert f'href="{target}"' in html and client_of(operator).get(target).status_code == 200
        assert "comptez-la et proposez de la corriger" in text(page)
        assert "son numéro de quittance reste pris" in text(page) and "dans le porte-monnaie de la famille" in text(
            page
        )

    def test_an_agent_is_sent_to_the_agglomeration_instead(self, shop: Shop) -> None:
        commune = shop.activity.service.commune
        agent = cashier_of(commune)
        CommuneFile.objects.get_or_create(user=shop.user, commune=commune, reason="request")
        take_top_up(user=shop.user, amount=Decimal("5"), paper=paper(), commune=commune, by=agent)
        receipt = CounterReceipt.objects.get()
        page = client_of(agent).get(reverse("admin:checkout_counterreceipt_change", args=[receipt.pk]))
        assert (
            page.status_code == 200 and "Prévenez la régie" in text(page) and receipt.payment.order.number in text(page)
        )
        html = page.content.decode()
        assert "dites-le à l’agglomération, qui la corrige" in text(page) and "proposez de la" not in text(page)
        assert "/admin/wallet/" not in html and "/admin/checkout/order/" not in html.partition("wrong-entry")[0]

    def test_a_cart_that_changed_is_shown_anew_and_then_taken(self, shop: Shop, operator: User) -> None:
        shop.add()
        client, address = client_of(operator), f"{self.TAKE}?usager={shop.user.pk}"
        data = {"what": "cart", "amount": "", "means": "cash", "number": "Q-1", "shown": "7.90"}
        page = client.post(address, data)
        assert "a changé depuis que cette page est ouverte" in text(page) and not Payment.objects.exists()
        (shown,) = re.findall(r'name="shown" value="([^"]+)"', page.content.decode())
        client.post(address, data | {"shown": shown.replace(",", ".")})
        assert Order.objects.get().status == "paid"

    def test_amounts_are_read_as_our_pages_write_them(self, shop: Shop, operator: User) -> None:
        data = {
            "what": "top_up",
            "amount": "1\u202f250,50\u00a0€",
            "means": "cheque",
            "cheque": "CA 7",
            "number": "Q-1",
        }
        client_of(operator).post(f"{self.TAKE}?usager={shop.user.pk}", data)
        assert shop.balance == Decimal("1250.50")

    def test_the_list_offers_those_who_took_money_alone(self, shop: Shop, operator: User) -> None:
        """Not every account: with all families in it the page would grow with the town."""
        commune = shop.activity.service.commune
        assert commune is not None
        agent, other, idle = (cashier_of(commune) for _each in range(3))
        CommuneFile.objects.get_or_create(user=shop.user, commune=commune, reason="request")
        for number, by, where in (("Q-1", operator, None), ("Q-2", agent, commune), ("Q-3", other, commune)):
            take_top_up(user=shop.user, amount=Decimal("30"), paper=paper(number), commune=where, by=by)
        address = reverse("admin:checkout_counterreceipt_changelist")
        for reader, offered in ((operator, {operator, agent, other}), (agent, {agent, other})):
            page = client_of(reader).get(address)
            chosen = next(spec for spec in page.context["cl"].filter_specs if isinstance(spec, CashierFilter))
            assert {pk for pk, _name in chosen.lookup_choices} == {user.pk for user in offered}
            assert idle.pk not in {pk for pk, _name in chosen.lookup_choices}

    def test_the_list_says_what_was_taken(self, shop: Shop, operator: User) -> None:
        for number, amount in (("Q-1", 30), ("Q-2", 12)):
            take_top_up(user=shop.user, amount=Decimal(amount), paper=paper(number), commune=None, by=operator)
        take_top_up(
            user=shop.user, amount=Decimal(9), paper=paper("Q-3", Means.CHEQUE, "CA 1"), commune=None, by=operator
        )
        client, address = client_of(operator), "/admin/checkout/counterreceipt/"
        words = text(client.get(address))
        assert (
            "Espèces, quittances de cette liste 42,00 €" in words
            and "Chèque, quittances de cette liste 9,00 €" in words
        )
        assert "42,00" not in text(client.get(address, {"moyen": "cheque"}))

    def test_a_voucher_of_the_cart_is_shown(self, shop: Shop, operator: User) -> None:
        voucher(percent=50)
        shop.add()
        enter_code(user=shop.user, code="RENTREE10")
        assert "Bon RENTREE10 : −" in text(client_of(operator).get(f"{self.TAKE}?usager={shop.user.pk}"))

    def test_a_payment_is_called_by_its_means(self, shop: Shop, operator: User) -> None:
        order = take_top_up(user=shop.user, amount=Decimal("30"), paper=paper(), commune=None, by=operator)
        payment = order.payments.get()
        assert str(payment) == "Espèces, 30,00\u00a0€"
        page = client_of(operator).get(reverse("admin:checkout_payment_change", args=[payment.pk]))
        assert "Espèces, 30,00" in text(page)
        assert "Espèces" in text(client_of(operator).get(reverse("admin:checkout_payment_changelist")))

    def test_a_cashier_sees_the_own_counter_and_no_balance(self, shop: Shop) -> None:
        commune = shop.activity.service.commune
        CommuneFile.objects.get_or_create(user=shop.user, commune=commune, reason="request")
        client = client_of(cashier_of(commune))
        address = f"{self.TAKE}?usager={shop.user.pk}"
        page = text(client.get(address))
        assert "Porte-monnaie" not in page and "Agglomération" not in page.partition("Guichet")[2][:40]
        client.post(
            address,
            {"what": "top_up", "amount": "5", "means": "cash", "number": "A-1", "counter": commune.pk},
        )
        assert shop.balance == 5
        assert "A-1" in text(client.get("/admin/checkout/counterreceipt/"))
        other = client_of(cashier_of(CommuneFactory()))
        assert "A-1" not in text(other.get("/admin/checkout/counterreceipt/"))
        assert other.get(address).status_code == 404

    def test_who_was_not_named_finds_nothing(self, shop: Shop) -> None:
        commune = shop.activity.service.commune
        for user in (shop.user, agent_of(commune)):
            assert client_of(user).get(self.TAKE).status_code == 404
            assert client_of(user).post(f"{self.TAKE}?usager={shop.user.pk}").status_code == 404

    def test_lines_of_a_deposit(self, shop: Shop, operator: User) -> None:
        take_top_up(user=shop.user, amount=Decimal(5), paper=paper(), commune=None, by=operator)
        assert OrderLine.objects.get().kind == "credit"
        client = client_of(shop.user)
        assert "Espèces 5,00 €" in text(client.get(Order.objects.get().get_absolute_url()))
