"""« Moyens de paiement » : what is configured, what answers, and nothing of any secret."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse

from checkout.means.actions import check_provider, check_used_providers
from checkout.models import ProviderCheck, ProviderEvent
from checkout.tasks import check_providers
from portal.common.errors import Refused
from tests.admin.world import client_of, texts, url
from tests.checkout.http import text
from tests.factories import CommuneFactory, agent_of
from tests.faults.stripe_server import StripeServer
from tests.guards import guarded, sql

pytestmark = pytest.mark.django_db
PAGE = "/admin/checkout/providercheck/"


@pytest.fixture
def stripe(settings: Any) -> Iterator[StripeServer]:
    """A Stripe that this platform uses beside the demonstration's bank."""
    server = StripeServer()
    server.server.start()
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = server.key, server.secret
    settings.STRIPE_API_BASE = settings.STRIPE_CHECKOUT_ORIGIN = server.server.url
    settings.CARD_PROVIDERS = ["stripe", "demo"]
    yield server
    server.server.stop()


def ask(slug: str) -> str:
    return reverse("admin:checkout_providercheck_ask", args=[slug])


def section(page: str, label: str) -> str:
    """What the page says of one provider."""
    found = re.search(
        rf"{re.escape(label)} Nom pour CARD_PROVIDERS \w+ Proposé aux parents (.*?) (Vérifier maintenant|Dernières vérifications)",
        page,
    )
    assert found, page
    return found[1]


class TestPage:
    def test_says_what_is_missing_by_name(self, settings: Any) -> None:
        settings.CARD_PROVIDERS, settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = ["demo"], "", ""
        page = text(client_of(agent_of()).get(PAGE))
        said = section(page, "Carte bancaire (Stripe)")
        assert said.startswith("non Configuré non, il manque STRIPE_SECRET_KEY , STRIPE_WEBHOOK_SECRET")
        assert "Répond pas encore vérifié" in said and "À partir de 0,50 €" in said
        assert section(page, "Carte bancaire (banque de démonstration)").startswith("oui Configuré oui")

    def test_those_that_parents_see_come_first_in_their_order(self, stripe: StripeServer) -> None:
        page = text(client_of(agent_of()).get(PAGE))
        assert page.index("Carte bancaire (Stripe)") < page.index("Carte bancaire (banque de démonstration)")

    def test_the_button_asks_and_the_page_shows_the_answer_and_its_moment(self, stripe: StripeServer) -> None:
        client = client_of(agent_of())
        response = client.post(ask("stripe"), follow=True)
        assert texts(response) == ["Stripe répond et accepte la clé, qui est une clé d’essai : aucun argent ne bouge."]
        assert stripe.requests == ["GET /v1/balance"]
        check = ProviderCheck.objects.get()
        assert check.answers and check.asked_by is not None
        assert "Répond oui," in section(text(response), "Carte bancaire (Stripe)")

    def test_a_provider_that_is_down_is_a_sentence_and_a_thing_to_do(self, stripe: StripeServer) -> None:
        client = client_of(agent_of())
        assert "Moyens de paiement qui ne répondent pas" in text(client.get("/admin/"))
        with stripe.server.down():
            response = client.post(ask("stripe"), follow=True)
        assert texts(response) == ["Stripe ne répond pas. Si cela dure : status.stripe.com."]
        assert "1 Moyen de paiement qui ne répond pas" in text(client.get("/admin/"))
        client.post(ask("stripe"))
        assert "1 Moyen de paiement qui ne répond pas" not in text(client.get("/admin/"))

    def test_a_wrong_key_is_told_from_silence(self, stripe: StripeServer, settings: Any) -> None:
        settings.STRIPE_SECRET_KEY = "sk_test_perimee"
        response = client_of(agent_of()).post(ask("stripe"), follow=True)
        assert texts(response) == ["Stripe répond et refuse la clé : vérifiez STRIPE_SECRET_KEY."]

    def test_no_secret_is_ever_shown_or_kept(self, stripe: StripeServer) -> None:
        client = client_of(agent_of())
        body = client.post(ask("stripe"), follow=True).content.decode()
        body += client.get(url("checkout.providercheck", "change", ProviderCheck.objects.get().pk)).content.decode()
        assert stripe.key not in body and stripe.secret not in body

    def test_shows_the_last_notification_and_not_a_return(self, stripe: StripeServer) -> None:
        told = ProviderEvent.objects.create(provider="stripe", source="notification", raw="x")
        ProviderEvent.objects.create(provider="stripe", source="return", raw="x")
        body = client_of(agent_of()).get(PAGE).content.decode()
        assert url("checkout.providerevent", "change", told.pk) in body and body.count("/providerevent/") == 1


class TestWho:
    def test_the_page_and_its_button_are_the_regies(self, stripe: StripeServer) -> None:
        agent = client_of(agent_of(CommuneFactory()))
        assert agent.get(PAGE).status_code == agent.post(ask("stripe")).status_code == 404
        assert client_of(None).post(ask("stripe")).status_code == 302
        assert stripe.requests == [] and not ProviderCheck.objects.exists()

    def test_looking_asks_nothing(self, stripe: StripeServer) -> None:
        client = client_of(agent_of())
        assert client.get(ask("stripe")).status_code == 405
        client.get(PAGE)
        assert stripe.requests == []

    def test_an_unknown_provider_is_a_sentence(self) -> None:
        response = client_of(agent_of()).post(ask("tirelire"), follow=True)
        assert texts(response) == ["Ce moyen de paiement n’existe pas ici : rien n’a été vérifié."]
        with pytest.raises(Refused):
            check_provider(slug="tirelire", by=agent_of())


class TestTask:
    def test_keeps_what_changes(self, stripe: StripeServer) -> None:
        assert check_providers() == 0
        assert check_providers() == 0
        with stripe.server.down():
            assert check_used_providers() == check_used_providers() == 1
        assert check_providers() == 0
        kept = ProviderCheck.objects.filter(provider="stripe").order_by("pk").values_list("answers", "asked_by")
        assert list(kept) == [(True, None), (False, None), (True, None)]

    def test_asks_only_those_that_parents_may_choose(self, stripe: StripeServer, settings: Any) -> None:
        settings.CARD_PROVIDERS = ["demo"]
        check_providers()
        assert stripe.requests == []


class TestGuards:
    def test_what_was_answered_stays_as_it_was(self) -> None:
        check = ProviderCheck.objects.create(provider="demo", configured=True, answers=False, sentence="x")
        guarded(
            "checkout.ProviderCheck:checks_are_kept",
            lambda: sql("UPDATE checkout_providercheck SET answers = true"),
            "Cannot update",
            lambda: ProviderCheck.objects.get(pk=check.pk).answers,
        )
        guarded(
            "checkout.ProviderCheck:checks_are_kept",
            lambda: sql("DELETE FROM checkout_providercheck"),
            "Cannot update or delete",
            lambda: not ProviderCheck.objects.exists(),
        )

    def test_who_answers_is_configured(self) -> None:
        from django.db import IntegrityError, transaction

        with pytest.raises(IntegrityError, match="who_answers_is_configured"), transaction.atomic():
            ProviderCheck.objects.create(provider="demo", configured=False, answers=True, sentence="x")
