"""Paybox's module by itself, in front of a server that speaks its protocol: what it sends, believes, asks, pays back.

What the platform makes of it, whatever the network does, is in tests/faults.
"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.utils import timezone

from checkout.providers import paybox
from checkout.providers.base import (
    Arrival,
    Departure,
    Forged,
    Impossible,
    Known,
    Message,
    Outcome,
    Payer,
    Request,
    Unreachable,
)
from tests.faults.bank import NOBODY, call
from tests.faults.paybox import PAGE, PAID, PayboxBank, sign

REFERENCE, AMOUNT = "ABCDEFGHJKLMNPQRST23", Decimal("31.60")
MANUAL = (  # printf 'PBX_SITE=…&PBX_TOTAL=…&PBX_HASH=…' | openssl dgst -sha512 -mac HMAC -macopt hexkey:0123…
    "9B5CC0F159EC468660BF0D465AD754DEDF048CDCFEBEBDCCCA08C6539C5F0A0A"
    "8908A4FE194991314E9D821C43064586CE057E83CE9A66BE588E2A640770C69A"
)
PAYER = Payer("Élodie", "d’Orgeval & <Fils>", "12, rue de l’Hôtel-de-Ville", "43000", "Le Puy-en-Velay")


@pytest.fixture
def till(settings: Any) -> Iterator[PayboxBank]:
    """The bank, with this platform configured to use it."""
    with PayboxBank("http://unused.example") as running:
        for name, value in running.settings.items():
            setattr(settings, name, value)
        yield running


def request(**changes: Any) -> Request:
    values: dict[str, Any] = {
        "reference": REFERENCE,
        "amount": AMOUNT,
        "label": "Commande 2026-000123",
        "email": "claire@exemple.fr",
        "return_url": "https://site.example/retour/",
        "notify_url": "https://site.example/notification/",
        "payer": PAYER,
        "quantity": 4,
    }
    return Request(**values | changes)


def start(**changes: Any) -> Departure:
    return paybox.provider().start(request(**changes))


def open_page(departure: Departure) -> int:
    return call(departure.url, urlencode(departure.fields).encode())


def known(**changes: Any) -> Known:
    return Known(**{"reference": REFERENCE, "provider_reference": "", "amount": AMOUNT} | changes)


def paid(till: PayboxBank, cents: int = 3160, **more: Any) -> Known:
    """A payment in the bank's books, as we keep it once it was announced."""
    row = till.books.add(REFERENCE, cents, "Capturé", **{"authorisation": "168753"} | more)
    return known(provider_reference=f"{int(row.number)}/{int(row.call)}")


def read(text: str) -> Message:
    return paybox.provider().read(Arrival(body=text.encode()))


def announced(**changes: str) -> str:
    values = {
        "montant": "3160",
        "reference": REFERENCE,
        "autorisation": "168753",
        "erreur": PAID,
        "transaction": "642475",
        "appel": "1042475",
    }
    return sign(urlencode(values | changes))


class TestForm:
    def test_says_what_is_to_be_paid_and_is_accepted_by_the_bank(self, till: PayboxBank) -> None:
        departure = start(method="E_CARD")
        assert departure.url == f"{till.server.url}{PAGE}"
        fields = departure.fields
        assert (fields["PBX_TOTAL"], fields["PBX_DEVISE"], fields["PBX_CMD"]) == ("3160", "978", REFERENCE)
        assert (fields["PBX_TYPEPAIEMENT"], fields["PBX_TYPECARTE"]) == ("CARTE", "E_CARD")
        assert fields["PBX_REPONDRE_A"] == "https://site.example/notification/" and fields["PBX_RUF1"] == "POST"
        assert {fields[f"PBX_{name}"] for name in ("EFFECTUE", "REFUSE", "ANNULE", "ATTENTE")} == {
            "https://site.example/retour/"
        }
        assert dt.datetime.fromisoformat(fields["PBX_TIME"]).tzinfo is not None
        assert list(fields)[-1] == "PBX_HMAC"
        assert open_page(departure) == 200

    def test_the_signature_is_that_of_the_manual(self, till: PayboxBank) -> None:
        """HMAC-SHA512 with the key's bytes over « name=value&… », as `openssl dgst -sha512 -mac HMAC` computes it."""
        fields = {"PBX_SITE": "1999888", "PBX_TOTAL": "3160", "PBX_HASH": "SHA512"}
        assert paybox.provider().signature(fields) == MANUAL

    @pytest.mark.parametrize("name, value", [("PBX_TOTAL", "1"), ("PBX_CMD", "AUTRE"), ("PBX_HMAC", "0" * 128)])
    def test_one_that_was_changed_in_the_browser_opens_nothing(self, till: PayboxBank, name: str, value: str) -> None:
        departure = start()
        assert open_page(Departure(departure.url, {**departure.fields, name: value})) == 400

    def test_any_card_is_left_to_the_banks_page(self, till: PayboxBank) -> None:
        departure = start()
        assert "PBX_TYPECARTE" not in departure.fields and open_page(departure) == 200

    def test_the_payer_is_written_in_the_banks_letters(self, till: PayboxBank) -> None:
        billing = start().fields["PBX_BILLING"]
        assert "<FirstName>ELODIE</FirstName><LastName>D ORGEVAL FILS</LastName>" in billing
        assert "<Address1>12 RUE DE L HOTEL DE VILLE</Address1><ZipCode>43000</ZipCode>" in billing
        assert "<City>LE PUY EN VELAY</City><CountryCode>250</CountryCode>" in billing
        long = start(payer=Payer("A" * 80, "B" * 80, "C" * 120, "43000", "D" * 80)).fields["PBX_BILLING"]
        assert f"<FirstName>{'A' * 22}</" in long and f"<Address1>{'C' * 50}</" in long

    def test_somebody_of_no_place_is_not_invented_one(self, till: PayboxBank) -> None:
        assert "PBX_BILLING" not in start(payer=None).fields

    @pytest.mark.parametrize("quantity, said", [(0, 1), (4, 4), (280, 99)])
    def test_the_cart_is_counted_as_far_as_the_bank_counts(self, till: PayboxBank, quantity: int, said: int) -> None:
        assert f"<totalQuantity>{said}</totalQuantity>" in start(quantity=quantity).fields["PBX_SHOPPINGCART"]

    def test_the_second_server_takes_over(self, till: PayboxBank, settings: Any) -> None:
        settings.PAYBOX_PAGE_URLS = [f"{NOBODY}{PAGE}", f"{till.server.url}{PAGE}"]
        assert start().url == f"{till.server.url}{PAGE}"
        assert paybox.provider().origins == [NOBODY, till.server.url]

    def test_nobody_is_sent_where_no_server_takes_payments(self, till: PayboxBank) -> None:
        with till.server.down(), pytest.raises(Unreachable):
            start()

    def test_without_its_secrets_nothing_starts(self, till: PayboxBank, settings: Any) -> None:
        settings.PAYBOX_HMAC_KEY = ""
        with pytest.raises(Impossible, match="PAYBOX_HMAC_KEY"):
            start()


class TestMessage:
    def test_money_is_believed_when_our_own_site_has_it(self, till: PayboxBank) -> None:
        row = till.books.add(REFERENCE, 3160, "Capturé", authorisation="168753")
        message = read(announced(transaction=row.number.lstrip("0"), appel=row.call.lstrip("0")))
        assert message == Message(REFERENCE, Outcome.CAPTURED, AMOUNT, "642475/1042475")

    def test_what_another_shop_took_under_our_reference_is_forged(self, till: PayboxBank) -> None:
        """The bank signs for all its merchants with one key: anybody's test shop gets a message of ours signed."""
        till.books.add(REFERENCE, 3160, "Capturé", authorisation="168753", site="1234567")
        with pytest.raises(Forged, match="another site"):
            read(announced())
        till.books.add(REFERENCE, 3160, "Capturé", authorisation="168753")  # our own, which has another number
        with pytest.raises(Forged, match="another site"):
            read(announced(transaction="1"))

    def test_when_it_cannot_be_verified_it_comes_again(self, till: PayboxBank) -> None:
        with till.server.down(), pytest.raises(Unreachable):
            read(announced())

    def test_without_paybox_direct_its_signature_does_for_tests_alone(self, till: PayboxBank, settings: Any) -> None:
        """Any merchant of Paybox can have our reference and our amount signed."""
        settings.PAYBOX_DIRECT_KEY = ""
        with pytest.raises(Unreachable, match="PAYBOX_DIRECT_KEY"):  # it comes again once the key is there
            read(announced())
        with pytest.raises(Impossible, match="PAYBOX_DIRECT_KEY"):
            start()
        settings.PAYBOX_MODE = "test"
        assert read(announced()).outcome == Outcome.CAPTURED

    def test_an_authorisation_of_the_tests_is_no_money(self, till: PayboxBank, settings: Any) -> None:
        settings.PAYBOX_DIRECT_KEY = ""
        with pytest.raises(Forged, match="tests"):
            read(announced(autorisation="XXXXXX"))
        settings.PAYBOX_MODE = "test"
        assert read(announced(autorisation="XXXXXX")).outcome == Outcome.CAPTURED

    @pytest.mark.parametrize(
        "error, outcome",
        [
            ("00105", Outcome.REFUSED),
            ("00151", Outcome.REFUSED),
            ("00004", Outcome.REFUSED),
            ("00001", Outcome.ABANDONED),
            ("00117", Outcome.ABANDONED),
            ("00030", Outcome.ABANDONED),
            ("00015", Outcome.PENDING),
            ("99999", Outcome.PENDING),
        ],
    )
    def test_every_other_code_is_no_money(self, till: PayboxBank, error: str, outcome: Outcome) -> None:
        assert read(announced(erreur=error, autorisation="")).outcome == outcome

    @pytest.mark.parametrize("changes", [{"montant": "31.60"}, {"montant": "-1"}, {"montant": "٣"}, {"montant": ""}])
    def test_an_amount_that_is_none(self, till: PayboxBank, changes: dict[str, str]) -> None:
        with pytest.raises(Forged, match="amount"):
            read(announced(**changes))

    @pytest.mark.parametrize("name", ["montant", "reference", "erreur"])
    def test_a_value_that_is_missing(self, till: PayboxBank, name: str) -> None:
        values = {"montant": "3160", "reference": REFERENCE, "erreur": "00105"}
        del values[name]
        with pytest.raises(Forged, match=name):
            read(sign(urlencode(values)))

    def test_the_published_key_is_the_one_by_default(self, till: PayboxBank, settings: Any) -> None:
        settings.PAYBOX_PUBLIC_KEY_FILE = ""
        with pytest.raises(Forged, match="signature"):
            read(announced())
        assert load_pem_public_key(paybox.PUBLIC_KEY.read_bytes()).key_size == 1024  # type: ignore[union-attr]


class TestQuestion:
    @pytest.mark.parametrize(
        "status, outcome",
        [
            ("Capturé", Outcome.CAPTURED),
            ("Autorisé", Outcome.PENDING),
            ("Refusé", Outcome.REFUSED),
            ("Rejet support", Outcome.REFUSED),
            ("Annulé", Outcome.ABANDONED),
            ("Remboursé", Outcome.ABANDONED),
        ],
    )
    def test_how_it_stands(self, till: PayboxBank, status: str, outcome: Outcome) -> None:
        till.books.add(REFERENCE, 3160, status)
        assert paybox.provider().query(known()) == Message(REFERENCE, outcome, AMOUNT, "642475/1042475")

    def test_a_status_that_we_do_not_know_ends_nothing(self, till: PayboxBank) -> None:
        till.books.add(REFERENCE, 3160, "Demande de solde")
        with pytest.raises(Unreachable, match="Demande de solde"):
            paybox.provider().query(known())

    @pytest.mark.parametrize("minutes, outcome", [(16, Outcome.PENDING), (61, Outcome.ABANDONED)])
    def test_what_it_does_not_know_is_over_once_its_page_is(
        self, till: PayboxBank, minutes: int, outcome: Outcome
    ) -> None:
        since = timezone.now() - dt.timedelta(minutes=minutes)
        assert paybox.provider().query(known(since=since)).outcome == outcome

    def test_another_amount_is_another_payment(self, till: PayboxBank) -> None:
        till.books.add(REFERENCE, 3159, "Capturé", authorisation="168753")
        assert paybox.provider().query(known()).outcome == Outcome.PENDING

    @pytest.mark.parametrize("key", ["", "FAUSSE"])
    def test_without_its_contract_there_is_no_answer(self, till: PayboxBank, settings: Any, key: str) -> None:
        settings.PAYBOX_DIRECT_KEY = key
        with pytest.raises(Unreachable):
            paybox.provider().query(known())

    def test_what_is_no_answer_to_our_question_is_none(self, till: PayboxBank, settings: Any) -> None:
        settings.PAYBOX_DIRECT_URL = f"{till.server.url}/load.html"  # answers 404 to a question
        with pytest.raises(Unreachable):
            paybox.provider().query(known())
        settings.PAYBOX_DIRECT_URL = f"{till.server.url}/autre"
        with pytest.raises(Unreachable, match="no answer"):
            paybox.provider().query(known())


class TestRefund:
    def refund(self, of: Known, amount: str = "31.60", key: str = "refund:1") -> str:
        return paybox.provider().refund(known=of, amount=Decimal(amount), key=key)

    def test_a_key_pays_back_once(self, till: PayboxBank) -> None:
        payment = paid(till)
        first = self.refund(payment, "10.00")
        assert self.refund(payment, "10.00") == first != ""
        assert till.taken() == Decimal("21.60")
        assert self.refund(payment, "10.00", "refund:2") != first
        assert till.taken() == Decimal("11.60")

    def test_when_the_answer_was_lost_it_is_looked_for_first(self, till: PayboxBank) -> None:
        payment = paid(till)
        till.loses_the_answer = True
        with pytest.raises(Unreachable):
            self.refund(payment)
        assert till.taken() == 0
        till.loses_the_answer = False
        assert self.refund(payment) and till.taken() == 0

    def test_more_than_was_paid_is_impossible(self, till: PayboxBank) -> None:
        payment = paid(till)
        with pytest.raises(Impossible, match="00011"):
            self.refund(payment, "31.61")
        assert till.taken() == AMOUNT

    def test_a_bank_that_is_down_is_asked_again(self, till: PayboxBank) -> None:
        payment = paid(till)
        with till.server.down(), pytest.raises(Unreachable):
            self.refund(payment)
        assert till.taken() == AMOUNT

    def test_without_its_contract_or_its_numbers_it_pays_nothing_back(self, till: PayboxBank, settings: Any) -> None:
        assert paybox.provider().can_refund
        with pytest.raises(Impossible):
            self.refund(known())
        settings.PAYBOX_DIRECT_KEY = ""
        assert not paybox.provider().can_refund
        with pytest.raises(Unreachable):  # ours to correct: an earlier try may have paid
            self.refund(paid(till))


class TestHealth:
    def test_it_answers(self, till: PayboxBank) -> None:
        health = paybox.provider().health()
        assert (health.configured, health.answers) == (True, True) and "rembourse" in health.sentence

    def test_without_paybox_direct_the_operator_reads_what_is_not_done(self, till: PayboxBank, settings: Any) -> None:
        settings.PAYBOX_DIRECT_KEY = ""
        health = paybox.provider().health()
        assert not health.configured and not health.answers
        assert health.sentence.startswith("Il manque PAYBOX_DIRECT_KEY. Sans Paybox Direct")
        settings.PAYBOX_MODE = "test"
        health = paybox.provider().health()
        assert (health.configured, health.answers) == (True, True) and "PAYBOX_DIRECT_KEY" in health.sentence

    def test_it_does_not_answer(self, till: PayboxBank) -> None:
        with till.server.down():
            health = paybox.provider().health()
        assert (health.configured, health.answers) == (True, False)

    @pytest.mark.parametrize(
        "name, value",
        [
            ("PAYBOX_SITE", "199988"),
            ("PAYBOX_RANG", "1"),
            ("PAYBOX_IDENTIFIANT", "abc"),
            ("PAYBOX_HMAC_KEY", "0123"),
            ("PAYBOX_MODE", "tests"),
            ("PAYBOX_DIRECT_KEY", "beaucoup trop longue"),
            ("PAYBOX_PUBLIC_KEY_FILE", "/nulle/part.pem"),
        ],
    )
    def test_what_cannot_be_right_is_named(self, till: PayboxBank, settings: Any, name: str, value: str) -> None:
        setattr(settings, name, value)
        (fault,) = paybox.provider().faults()
        health = paybox.provider().health()
        assert fault.startswith(name) and health.sentence == fault and not health.configured
        with pytest.raises(Impossible):
            start()
