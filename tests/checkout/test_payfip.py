"""PayFiP's module by itself, in front of a service that is held to the public WSDL: what it creates, asks and believes.

What the platform makes of it, whatever the network does, is in tests/faults.
"""

import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from checkout.providers import payfip
from checkout.providers.base import (
    FORM,
    Arrival,
    Departure,
    Forged,
    Impossible,
    Known,
    Message,
    Outcome,
    Request,
    Unreachable,
)
from portal.common.formats import today
from tests.faults.bank import call
from tests.faults.payfip import CLIENT, PAGE, Operation, PayfipBank

REFERENCE, AMOUNT = "ABCDEFGHJKLMNPQRST23", Decimal("31.60")


@pytest.fixture
def service(settings: Any) -> Iterator[PayfipBank]:
    """The service, with this platform configured to use it."""
    with PayfipBank("http://unused.example") as running:
        for name, value in running.settings.items():
            setattr(settings, name, value)
        yield running


def start(**changes: Any) -> Departure:
    values: dict[str, Any] = {
        "reference": REFERENCE,
        "amount": AMOUNT,
        "label": "Commande 2026-000123",
        "email": "claire@exemple.fr",
        "return_url": "https://site.example/retour/",
        "notify_url": "https://site.example/notification/",
    }
    return payfip.provider().start(Request(**values | changes))


def created(service: PayfipBank, result: str = "") -> Operation:
    start()
    row = service.books.ours(REFERENCE)
    row.result = result
    return row


def known(idop: str) -> Known:
    return Known(REFERENCE, idop, AMOUNT)


def read(body: str) -> Message:
    return payfip.provider().read(Arrival(body=body.encode(), headers={"Content-Type": FORM}))


class TestCreating:
    def test_gives_an_address_of_its_own_to_each_payment(self, service: PayfipBank) -> None:
        departure = start()
        row = service.books.ours(REFERENCE)
        assert departure == Departure(f"{service.server.url}{PAGE}?idop={row.idop}", provider_reference=row.idop)
        assert row.values == {
            "exer": str(today().year),
            "mel": "claire@exemple.fr",
            "montant": "3160",
            "numcli": CLIENT,
            "objet": "COMMANDE 2026 000123",
            "refdet": REFERENCE,
            "saisie": "W",
            "urlnotif": "https://site.example/notification/",
            "urlredirect": "https://site.example/retour/",
        }
        assert call(departure.url) == 200
        assert payfip.provider().origins == [service.server.url]

    def test_says_what_it_is_for_in_letters_that_the_service_takes(self, service: PayfipBank) -> None:
        start(label="Dépôt d’œuvres – « été » & " + "x" * 120)
        assert service.books.ours(REFERENCE).values["objet"].startswith("DEPOT D OEUVRES ETE X")

    @pytest.mark.parametrize(
        "changes, code",
        [({"amount": Decimal("0.99")}, "M3"), ({"email": "x@y"}, "A2"), ({"notify_url": "ftp://x"}, "N1")],
    )
    def test_what_the_service_refuses_is_impossible(
        self, service: PayfipBank, changes: dict[str, Any], code: str
    ) -> None:
        with pytest.raises(Impossible, match=f"{code} Refus du service"):
            start(**changes)

    def test_less_than_a_euro_is_not_offered(self) -> None:
        assert payfip.PayfipProvider.smallest == 1

    def test_an_ill_service_is_asked_again(self, service: PayfipBank) -> None:
        service.is_ill = True
        with pytest.raises(Unreachable, match="TechIndisponibiliteErreur"):
            start()

    @pytest.mark.parametrize("path", [PAGE, "/nulle/part"])
    def test_what_is_no_soap_is_no_answer(self, service: PayfipBank, settings: Any, path: str) -> None:
        settings.PAYFIP_SERVICE_URL = service.server.url + path
        with pytest.raises(Unreachable):
            start()

    @pytest.mark.parametrize("number", ["", "12345", "abcdef"])
    def test_without_the_number_of_the_regie_nothing_starts(
        self, service: PayfipBank, settings: Any, number: str
    ) -> None:
        settings.PAYFIP_NUMCLI = number
        with pytest.raises(Impossible, match="PAYFIP_NUMCLI"):
            start()


class TestNotification:
    @pytest.mark.parametrize(
        "result, outcome",
        [
            ("P", Outcome.CAPTURED),
            ("V", Outcome.CAPTURED),
            ("R", Outcome.REFUSED),
            ("Z", Outcome.REFUSED),
            ("A", Outcome.ABANDONED),
        ],
    )
    @pytest.mark.parametrize("name", ["idop", "idOp"])
    def test_the_service_says_what_became_of_it(
        self, service: PayfipBank, result: str, outcome: Outcome, name: str
    ) -> None:
        row = created(service, result)
        assert read(f"{name}={row.idop}") == Message(REFERENCE, outcome, AMOUNT, row.idop)

    def test_what_else_it_says_is_not_believed(self, service: PayfipBank) -> None:
        row = created(service, "R")
        assert read(f"idop={row.idop}&resultrans=P&montant=3160").outcome == Outcome.REFUSED

    def test_before_the_end_it_is_told_later(self, service: PayfipBank) -> None:
        row = created(service)
        with pytest.raises(Unreachable, match="P5"):
            read(f"idop={row.idop}")

    @pytest.mark.parametrize("changes", [{"saisie": "T"}, {"numcli": "123456"}, {"montant": "31,60"}])
    def test_another_mode_or_regie_or_no_amount_is_forged(self, service: PayfipBank, changes: dict[str, str]) -> None:
        row = service.plant(REFERENCE, 3160, **changes)
        with pytest.raises(Forged):
            read(f"idop={row.idop}")

    def test_a_result_that_we_do_not_know_is_no_payment(self, service: PayfipBank) -> None:
        row = created(service, "X")
        with pytest.raises(Forged, match="'X'"):
            read(f"idop={row.idop}")

    @pytest.mark.parametrize("body", ["", "idop=", "idop=1", f"idop={uuid.UUID(int=0)}", "autre=1"])
    def test_what_is_no_payment_of_ours_is_forged(self, service: PayfipBank, body: str) -> None:
        with pytest.raises(Forged):
            read(body)


class TestQuestion:
    def test_how_it_stands(self, service: PayfipBank) -> None:
        row = created(service, "P")
        assert payfip.provider().query(known(row.idop)) == Message(REFERENCE, Outcome.CAPTURED, AMOUNT, row.idop)

    def test_one_that_was_never_created_is_asked_of_nobody(self, service: PayfipBank) -> None:
        with service.server.down():
            assert payfip.provider().query(known("")).outcome == Outcome.PENDING

    def test_not_yet_and_never(self, service: PayfipBank) -> None:
        row = created(service)
        assert payfip.provider().query(known(row.idop)).outcome == Outcome.PENDING
        del service.books.operations[row.idop]  # the night after
        assert payfip.provider().query(known(row.idop)).outcome == Outcome.ABANDONED

    def test_an_idop_of_another_payment_is_no_answer(self, service: PayfipBank) -> None:
        row = service.plant("AUTREREFERENCE", 3160)
        with pytest.raises(Forged, match="AUTREREFERENCE"):
            payfip.provider().query(known(row.idop))

    def test_an_ill_service_ends_nothing(self, service: PayfipBank) -> None:
        row = created(service, "P")
        service.is_ill = True
        with pytest.raises(Unreachable):
            payfip.provider().query(known(row.idop))


class TestOperator:
    def test_reads_for_which_regie_it_answers_and_that_it_pays_nothing_back(self, service: PayfipBank) -> None:
        health = payfip.provider().health()
        assert (health.configured, health.answers) == (True, True)
        assert "REGIE ENFANCE LE PUY-EN-VELAY" in health.sentence and "rembourse rien" in health.sentence
        assert not payfip.provider().can_refund
        with pytest.raises(Impossible):
            payfip.provider().refund(known=known("x"), amount=AMOUNT, key="1")

    @pytest.mark.parametrize(
        "number, configured, words",
        [("", False, "Il manque PAYFIP_NUMCLI"), ("12", False, "6 chiffres"), ("123456", True, "T2")],
    )
    def test_reads_what_is_wrong_with_the_number(
        self, service: PayfipBank, settings: Any, number: str, configured: bool, words: str
    ) -> None:
        settings.PAYFIP_NUMCLI = number
        health = payfip.provider().health()
        assert (health.configured, health.answers) == (configured, False) and words in health.sentence

    def test_reads_that_it_does_not_answer(self, service: PayfipBank) -> None:
        with service.server.down():
            health = payfip.provider().health()
        assert (health.configured, health.answers, health.sentence) == (True, False, "PayFiP ne répond pas.")

    def test_reads_that_a_mode_is_none(self, service: PayfipBank, settings: Any) -> None:
        settings.PAYFIP_SAISIE = "M"
        assert "PAYFIP_SAISIE" in payfip.provider().health().sentence
