"""« Mes factures et attestations » : what a person sees, may have issued and downloads; what an operator does."""

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from checkout.models import Order, OrderLine
from checkout.papers import yearly
from checkout.papers.actions import cancel
from checkout.papers.models import Document, Kind
from checkout.papers.receipts import issue_receipt, issue_refund_note
from checkout.papers.subjects import subjects
from checkout.papers.yearly import issue_certificate
from portal.common.formats import PARIS
from portal.outbox.models import Email
from tests.checkout.http import text
from tests.factories import UserFactory, agent_of
from tests.guards import bought
from tests.papers.reading import plain
from tests.papers.test_periods import born, ordered, same_year
from tests.shop import Shop, open_shop

pytestmark = pytest.mark.django_db
LIST = "/mon-compte/factures/"


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def receipt(shop: Shop) -> Document:
    return issue_receipt(order=Order.objects.get(user=shop.user))


class TestList:
    def test_it_shows_ones_own_papers(self) -> None:
        shop = bought()
        mine, other = receipt(shop), receipt(bought())
        page = client_of(shop.user).get(LIST).content.decode()
        assert mine.reference in page and mine.get_absolute_url() in page and "7,90" in page
        assert other.reference not in page

    def test_it_is_narrowed_by_year_and_kind(self) -> None:
        shop = bought()
        paper, client = receipt(shop), client_of(shop.user)
        year = timezone.localdate().year
        for query, shown in (
            (f"?annee={year}", True),
            ("?annee=1999", True),  # a year without papers is passed over
            ("?nature=receipt", True),
            ("?nature=invoice", False),
            ("?nature=x'", True),
        ):
            assert (paper.get_absolute_url() in client.get(LIST + query).content.decode()) == shown, query

    def test_without_papers_it_says_when_they_come(self) -> None:
        page = client_of(UserFactory()).get(LIST).content.decode()
        assert "Aucune pièce pour l’instant" in page and "après votre première commande payée" in page

    def test_a_cancelled_paper_says_so(self) -> None:
        shop = bought()
        ending = cancel(document=receipt(shop), reason="Erreur", by=agent_of())
        page = client_of(shop.user).get(LIST).content.decode()
        assert "annulée" in page and ending.reference in page

    def test_each_says_what_it_is_about(self) -> None:
        shop = ordered(days=2)
        order = Order.objects.get()
        issue_receipt(order=order)
        issue_certificate(kind=Kind.PAYMENTS, user=shop.user, year=timezone.localdate().year, by=shop.user)
        cancel_bookings(ids=[Booking.objects.order_by("pk")[0].pk], by=shop.user)
        movement = OrderLine.objects.exclude(refund=None).get().refund
        issue_refund_note(movement=movement)
        page = text(client_of(shop.user).get(LIST))
        first, last = (f"{day.date:%d/%m/%Y}" for day in (shop.days[0], shop.days[1]))
        assert f"Commande {order.number} : {shop.activity.name}, du {first} au {last}" in page
        assert plain(movement.label) in page and "Du 01/01/" in page

    def test_it_costs_the_same_with_many(self) -> None:
        """Ten receipts of ten orders cost what one does; so do those that were cancelled."""
        shop, operator = open_shop(days=6, credit="100"), agent_of()
        costs = []
        for days in ([shop.days[0]], shop.days[1:]):
            for day in days:
                shop.add(days=[day])
                shop.pay(Means.WALLET, "7.90")
                order = Order.objects.latest("pk")
                cancel(document=issue_receipt(order=order), reason="Erreur", by=operator)
                issue_receipt(order=order)
            client = client_of(shop.user)
            client.get(LIST)
            with CaptureQueriesContext(connection) as queries:
                client.get(LIST)
            costs.append(len(queries))
        assert costs[0] == costs[1] <= 10

    def test_get_writes_nothing(self) -> None:
        shop = ordered()
        client = client_of(shop.user)
        for address in (LIST, f"{LIST}attestation/reglements/{timezone.localdate().year}/"):
            assert client.get(address).status_code == 200
        assert not Document.objects.exists()


class TestDownload:
    def test_the_file_is_a_private_download(self) -> None:
        shop = bought()
        paper = receipt(shop)
        answer = client_of(shop.user).get(paper.get_absolute_url())
        assert answer["Content-Type"] == "application/pdf" and answer.content.startswith(b"%PDF")
        assert answer["Content-Disposition"] == f'attachment; filename="{paper.reference}.pdf"'
        assert "no-store" in answer["Cache-Control"]
        assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"

    def test_a_changed_file_is_refused_in_a_sentence(self) -> None:
        shop = bought()
        paper = receipt(shop)
        with open(paper.file.path, "ab") as file:
            file.write(b" ")
        answer = client_of(shop.user).get(paper.get_absolute_url())
        assert answer.status_code == 409 and "n’est pas lisible" in answer.content.decode()

    def test_the_orders_page_leads_to_its_receipt(self) -> None:
        shop = bought()
        order = Order.objects.get()
        client = client_of(shop.user)
        assert "Télécharger le reçu" in client.get(order.get_absolute_url()).content.decode()
        answer = client.post(reverse("order_receipt", args=[order.reference]), follow=True)
        assert answer.content.startswith(b"%PDF")
        page = client.get(order.get_absolute_url()).content.decode()
        assert f"Reçu {Document.objects.get().reference}" in page

    def test_an_unpaid_order_has_no_receipt(self) -> None:
        user = UserFactory()
        order = Order.objects.create(user=user, total=5)
        assert client_of(user).post(reverse("order_receipt", args=[order.reference])).status_code == 404


class TestCertificates:
    def test_figures_are_shown_before_they_are_issued(self) -> None:
        shop = ordered()
        address = f"{LIST}attestation/reglements/{timezone.localdate().year}/"
        client = client_of(shop.user)
        page = client.get(address).content.decode()
        assert "31,60" in page and "Éditer l’attestation" in page
        answer = client.post(address, follow=True)
        paper = Document.objects.get()
        assert paper.kind == Kind.PAYMENTS and paper.issued_by == shop.user
        assert paper.reference in answer.content.decode()
        assert "Cette attestation est éditée" in client.get(address).content.decode()

    def test_figures_that_changed_are_issued_anew(self) -> None:
        shop = ordered()
        client, address = client_of(shop.user), f"{LIST}attestation/reglements/{timezone.localdate().year}/"
        client.post(address)
        first = Document.objects.get()
        ids = list(Booking.objects.order_by("pk").values_list("pk", flat=True))
        cancel_bookings(ids=ids[:1], by=shop.user)
        page = text(client.get(address))
        assert "n’est plus à jour" in page and first.reference in page and "Éditer la nouvelle attestation" in page
        said = text(client.post(address, follow=True))
        paper = Document.objects.live().get()
        assert f"L’attestation n° {paper.reference} est éditée. La précédente est annulée" in said
        assert "Cette attestation est éditée" in text(client.get(address))
        cancel_bookings(ids=ids[1:], by=shop.user)
        page = text(client.get(address))
        assert "rien à attester" in page and f"Annuler la pièce n° {paper.reference}" in page
        said = text(client.post(address, follow=True))
        assert Document.objects.get(cancels=paper).reference in said and "il n’y a plus rien à attester" in said
        page = text(client.get(address))
        assert "rien à attester" in page and "n’est plus à jour" not in page

    def test_the_list_names_a_year_that_was_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On its last day it was « du 01/01 au 31/12 » : what was paid that evening is not in it."""
        shop, year = ordered(days=1), timezone.localdate().year
        for date, said in (
            (dt.date(year, 12, 31), f"Du 01/01/{year} au 31/12/{year}"),
            (dt.date(year + 1, 1, 1), f"Année {year}"),
        ):
            monkeypatch.setattr(yearly, "today", lambda date=date: date)
            moment = dt.datetime.combine(date, dt.time(9), tzinfo=PARIS)
            monkeypatch.setattr("django.utils.timezone.now", lambda moment=moment: moment)
            issue_certificate(kind=Kind.PAYMENTS, user=shop.user, year=year, by=shop.user)
            paper = Document.objects.live().get()
            assert subjects([paper])[paper.pk].capitalize() == said

    def test_one_for_the_tax_return_is_of_its_year_as_it_says(self) -> None:
        year = {"first_day": dt.date(2026, 1, 1), "last_day": dt.date(2026, 12, 31)}
        paper = Document(pk=1, kind=Kind.CHILDCARE, issued_at=dt.datetime(2026, 12, 31, 9, tzinfo=PARIS), **year)
        assert subjects([paper]) == {1: "année 2026"}

    def test_a_running_years_tax_figures_are_provisional(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = same_year(ordered(nature="care"))
        year = shop.days[0].date.year
        born(shop, dt.date(year - 3, 5, 1))
        monkeypatch.setattr(yearly, "today", lambda: dt.date(year, 12, 31))
        monkeypatch.setattr("checkout.papers.views.today", lambda: dt.date(year, 12, 31))
        address = f"{LIST}attestation/frais-de-garde/{year}/"
        client = client_of(shop.user)
        page = client.get(address).content.decode()
        assert "provisoires" in page and "31,60" in page and "Éditer l’attestation" not in page
        assert "n’est pas finie" in client.post(address, follow=True).content.decode()
        assert not Document.objects.exists()

    @pytest.mark.parametrize("address", ["reglements/1999/", "reglements/2999/", "autre/2026/"])
    def test_others_do_not_exist(self, address: str) -> None:
        assert client_of(UserFactory()).get(f"{LIST}attestation/{address}").status_code == 404

    def test_the_preview_costs_the_same_with_many_dates(self) -> None:
        costs = []
        for days in (1, 12):
            client = client_of(ordered(days=days).user)
            for kind in ("reglements", "frais-de-garde"):
                with CaptureQueriesContext(connection) as queries:
                    client.get(f"{LIST}attestation/{kind}/{timezone.localdate().year}/")
                costs.append(len(queries))
        assert costs[:2] == costs[2:] and max(costs) <= 10


class TestAdmin:
    def address(self, name: str, *args: object) -> str:
        return reverse(f"admin:checkout_document_{name}", args=args)

    @pytest.mark.parametrize("words", ["{number}", "{lower}", "{name}"])
    def test_a_paper_is_found_by_number_or_name(self, words: str) -> None:
        shop = bought()
        mine = receipt(shop)
        receipt(bought())
        query = words.format(number=mine.reference, lower=f" {mine.reference.lower()} ", name=shop.user.email)
        page = client_of(agent_of()).get(self.address("changelist"), {"q": query})
        assert [row.pk for row in page.context["cl"].result_list] == [mine.pk]

    def test_papers_are_found_by_a_part_of_their_number(self) -> None:
        shop = bought()
        mine = receipt(shop)
        client = client_of(agent_of())
        year, number = mine.reference.split("-")[1:]
        for query, found in ((f"R-{year}", [mine.pk]), (number, [mine.pk]), (f"AF-{year}", []), ("999999", [])):
            page = client.get(self.address("changelist"), {"q": query})
            assert [row.pk for row in page.context["cl"].result_list] == found, query

    def test_digits_alone_find_numbers_and_people(self) -> None:
        numbered = receipt(bought())
        digits = str(numbered.number)
        shop = bought()
        User.objects.filter(pk=shop.user.pk).update(email=f"43{digits}07@poste.example")
        theirs = receipt(shop)
        found = client_of(agent_of()).get(self.address("changelist"), {"q": digits}).context["cl"].result_list
        assert {numbered.pk, theirs.pk} <= {row.pk for row in found} and len(found) == len({row.pk for row in found})
        found = client_of(agent_of()).get(self.address("changelist"), {"q": f"43{digits}07"}).context["cl"].result_list
        assert [row.pk for row in found] == [theirs.pk]

    def test_it_is_cancelled_with_a_reason(self) -> None:
        paper = receipt(bought())
        client = client_of(agent_of())
        address = self.address("cancel", paper.pk)
        assert "Ne pas annuler" in client.get(address).content.decode()
        assert "Écrivez le motif" in client.post(address, {"reason": " "}).content.decode()
        assert Document.objects.count() == 1
        client.post(address, {"reason": "Adresse fausse"})
        assert Document.objects.get(cancels=paper).reason == "Adresse fausse"
        assert "est déjà annulée" in client.post(address, {"reason": "Encore"}, follow=True).content.decode()
        page = client.get(self.address("change", paper.pk)).content.decode()
        assert "Annulée" in page
        assert "Adresse fausse" in client.get(self.address("history", paper.pk)).content.decode()

    def test_it_is_sent_again(self) -> None:
        shop = bought()
        paper = receipt(shop)
        before = Email.objects.count()
        data = {"action": "send_again", "_selected_action": [paper.pk]}
        answer = client_of(agent_of()).post(self.address("changelist"), data, follow=True)
        assert "1 pièce part par courriel" in answer.content.decode()
        sent = Email.objects.latest("pk")
        assert Email.objects.count() == before + 1
        assert sent.to == shop.user.email and sent.attachment == f"paper:{paper.pk}"

    def test_agents_of_mairies_have_no_such_pages(self) -> None:
        shop = bought()
        paper = receipt(shop)
        client = client_of(agent_of(shop.activity.service.commune))
        for name in ("file", "cancel", "change"):
            assert client.get(self.address(name, paper.pk)).status_code == 404
        assert client.post(self.address("cancel", paper.pk), {"reason": "x"}).status_code == 404
        assert Document.objects.count() == 1

    def test_a_series_says_that_it_has_no_gap(self) -> None:
        receipt(bought())
        page = client_of(agent_of()).get(reverse("admin:checkout_series_changelist")).content.decode()
        assert "Sans trou" in page and "manquent" not in page
