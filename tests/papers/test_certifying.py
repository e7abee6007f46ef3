"""A family without a computer has its yearly certificates at the counter: an operator issues them, first ones too."""

import datetime as dt
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.actions import set_residence
from accounts.models import Commune, User
from bookings.models import Booking
from checkout.actions import cancel_bookings
from checkout.papers import views, yearly
from checkout.papers.again import issue_for
from checkout.papers.models import Document, Kind
from portal.common.errors import Refused
from portal.common.formats import today
from portal.outbox.models import Email
from services.models import Slot
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import UserFactory, agent_of
from tests.papers.test_handed_out import once_over
from tests.papers.test_periods import born, ordered, same_year
from tests.shop import Shop

pytestmark = pytest.mark.django_db
PRESSED = {"csrfmiddlewaretoken": "x"}  # a form without fields of its own


def address(user: User, slug: str = "reglements", year: int | None = None) -> str:
    return reverse("admin:checkout_document_certify", args=[user.pk, slug, year or today().year])


@pytest.fixture
def operator() -> User:
    return agent_of()


@pytest.fixture
def over(monkeypatch: pytest.MonkeyPatch) -> tuple[Shop, int]:
    """The family's care was given and its year is over: (the shop, that year)."""
    shop = same_year(ordered(days=2, nature=Slot.Nature.CARE))
    return shop, once_over(shop, monkeypatch)["year"]


def at_home(shop: Shop) -> Commune:
    """The family lives in this commune."""
    commune = shop.activity.service.commune
    assert commune is not None
    set_residence(user=shop.user, commune=commune)
    return commune


def certificates() -> list[tuple[str, User | None]]:
    rows = Document.objects.filter(kind__in=[Kind.PAYMENTS, Kind.CHILDCARE]).order_by("pk")
    return [(row.kind, row.issued_by) for row in rows]


def test_the_persons_page_leads_to_both(operator: User) -> None:
    shop = ordered(days=1)
    page = client_of(operator).get(reverse("admin:accounts_user_change", args=[shop.user.pk])).content.decode()
    assert address(shop.user) in page and address(shop.user, "frais-de-garde") in page
    agent = agent_of(at_home(shop))
    theirs = client_of(agent).get(reverse("admin:accounts_user_change", args=[shop.user.pk]))
    assert theirs.status_code == 200 and address(shop.user) not in theirs.content.decode()
    nobody = client_of(operator).get(reverse("admin:accounts_user_change", args=[UserFactory().pk]))
    assert "n’a encore rien réglé" in text(nobody)


@pytest.mark.parametrize("slug, kind", [("reglements", Kind.PAYMENTS), ("frais-de-garde", Kind.CHILDCARE)])
def test_an_operator_issues_the_first_one(over: tuple[Shop, int], operator: User, slug: str, kind: Kind) -> None:
    shop, year = over
    client = client_of(operator)
    shown = text(client.get(address(shop.user, slug, year)))
    assert "15,80 €" in shown and shop.children[0].first_name in shown and "Ne rien éditer" in shown
    assert "son historique dit qui l’a éditée" in shown and not Document.objects.exists()
    said = client.post(address(shop.user, slug, year), PRESSED, follow=True)
    made = Document.objects.get()
    assert (made.kind, made.user, made.issued_by, made.amount) == (kind, shop.user, operator, Decimal("15.80"))
    assert f"La pièce n° {made.reference} est éditée et part par courriel." in text(said)
    assert said.redirect_chain[-1][0] == reverse("admin:checkout_document_change", args=[made.pk])
    assert Email.objects.filter(to=shop.user.email, attachment=f"paper:{made.pk}").count() == 1
    history = text(client.get(reverse("admin:checkout_document_history", args=[made.pk])))
    assert f"Éditée : {made.reference}." in history and str(operator) in history
    again = text(client.get(address(shop.user, slug, year)))
    assert "Cette attestation est éditée" in again and made.reference in again and "Ne rien éditer" not in again
    repeated = text(client.post(address(shop.user, slug, year), PRESSED, follow=True))
    assert "rien n’a été édité" in repeated
    assert certificates() == [(kind, operator)] and Email.objects.filter(attachment__startswith="paper:").count() == 1


def test_it_says_no_as_to_the_parent(operator: User) -> None:
    shop = ordered(days=1, nature=Slot.Nature.CARE)
    born(shop, dt.date(today().year - 3, 5, 1))
    nobody, client = UserFactory(), client_of(operator)
    nothing = text(client.get(address(nobody)))
    assert "aucune prestation n’a été réglée" in nothing and "Ne rien éditer" not in nothing
    assert "aucune prestation n’a été réglée" in text(client.post(address(nobody), PRESSED))
    none = text(client.post(address(nobody, "frais-de-garde"), PRESSED))
    assert "aucune garde d’un enfant de moins de six ans" in none
    with pytest.raises(Refused) as refusal:
        issue_for(kind=Kind.PAYMENTS, user=nobody, year=today().year, by=operator)
    assert refusal.value.code == "nothing_to_attest" and not Document.objects.exists()


def test_not_before_the_year_is_over(over: tuple[Shop, int], operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, year = over
    for module in (yearly, views):
        monkeypatch.setattr(module, "today", lambda: dt.date(year, 12, 31))
    client = client_of(operator)
    for page in (
        client.get(address(shop.user, "frais-de-garde", year)),
        client.post(address(shop.user, "frais-de-garde", year), PRESSED),
    ):
        assert "L’année n’est pas finie" in text(page) and "15,80 €" in text(page)
    assert not Document.objects.exists()


def test_one_that_is_true_no_longer_is_replaced(over: tuple[Shop, int], operator: User) -> None:
    shop, year = over
    _old, is_new = issue_for(kind=Kind.CHILDCARE, user=shop.user, year=year, by=operator)
    assert is_new
    cancel_bookings(ids=[Booking.objects.order_by("pk")[0].pk], by=shop.user)
    client = client_of(operator)
    assert "n’est plus vrai" in text(client.get(address(shop.user, "frais-de-garde", year)))
    said = text(client.post(address(shop.user, "frais-de-garde", year), PRESSED, follow=True))
    made = Document.objects.get(kind=Kind.CHILDCARE, edition=2)
    assert made.amount == Decimal("7.90") and f"La pièce n° {made.reference} est éditée" in said
    assert "La précédente est annulée." in said
    cancel_bookings(ids=[Booking.objects.booked().get().pk], by=shop.user)
    asked = client.get(address(shop.user, "frais-de-garde", year)).content.decode()
    assert f'value="Annuler la pièce n° {made.reference}"' in asked
    ended = text(client.post(address(shop.user, "frais-de-garde", year), PRESSED, follow=True))
    assert "il n’y a plus rien à attester" in ended and not Document.objects.live().filter(kind=Kind.CHILDCARE).exists()


def test_operators_alone(over: tuple[Shop, int]) -> None:
    shop, year = over
    page = address(shop.user, "reglements", year)
    for client, status in (
        (Client(), 302),
        (client_of(shop.user), 404),
        (client_of(agent_of(at_home(shop))), 404),
    ):
        assert (client.get(page).status_code, client.post(page, PRESSED).status_code) == (status, status)
    assert not Document.objects.exists()


def test_what_is_no_certificate_is_not_there(operator: User) -> None:
    shop, client = ordered(days=1), client_of(operator)
    assert client.get(address(shop.user)).status_code == 200
    assert client.get(address(shop.user, "impots")).status_code == 404
    assert client.get(address(shop.user, year=today().year + 1)).status_code == 404
    assert client.get(address(shop.user, year=1999)).status_code == 404
    missing = reverse("admin:checkout_document_certify", args=[999_999_999, "reglements", today().year])
    assert client.get(missing).status_code == 404


def test_it_costs_the_same_with_many_papers(over: tuple[Shop, int], operator: User) -> None:
    shop, year = over
    client = client_of(operator)
    pages = [reverse("admin:accounts_user_change", args=[shop.user.pk]), address(shop.user, "frais-de-garde", year)]

    def cost() -> list[int]:
        found = []
        for page in pages:
            client.get(page)
            with CaptureQueriesContext(
                connection,
            ) as queries:
                client.get(page)
            found.append(len(queries))
        return found

    before = cost()
    for kind in (Kind.PAYMENTS, Kind.CHILDCARE):
        yearly.issue_certificate(kind=kind, user=shop.user, year=year, by=shop.user)
    after = cost()
    assert after[0] == before[0] and after[1] <= before[1] + 3
