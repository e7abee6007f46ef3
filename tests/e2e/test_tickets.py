"""Tickets in a browser: bought and shown, let in at the door by code and by camera, and going on without network."""

import hashlib
import io
import re
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import segno
from PIL import Image
from playwright.sync_api import BrowserContext, BrowserType, Page, expect

from bookings.tickets import codes
from bookings.tickets.actions import Wish
from bookings.tickets.models import Controller, Ticket, TicketUse
from checkout.actions import Means, accept_sale_terms, add_tickets_to_cart, choose_address, pay
from checkout.models import Cart
from portal.common.formats import dated, today
from services.models import AccessProfile, Activity, BusStop, Slot, Subscription
from tests import chromium
from tests.e2e import steps
from tests.e2e.baskets import louane, parent
from tests.e2e.conftest import session_cookie
from tests.e2e.test_journeys import Visit, both_ways
from tests.e2e.watch import Looks
from tests.factories import AccessProfileFactory, SubscriptionFactory
from wallet.actions import adjust

POOL = "/services/agglo-la-vague/piscine/"
CONTROLLER = "agglo@demo.example"


def pool() -> Activity:
    return Activity.objects.select_related("service").get(slug="piscine")


def door() -> str:
    return f"/agents/billets/{pool().pk}/"


def buy(formula: str = "1 entrée", *, activity: str = "piscine") -> Ticket:
    """A pool entry for Louane (or a pass), paid from her mother's wallet."""
    user, sold = parent(), Activity.objects.select_related("service").get(slug=activity)
    slot = Slot.objects.get(activity=sold, name=formula)
    access = Subscription.objects.select_related("profile").get(user=user, profile__service=sold.service)
    wish = Wish(people={louane().pk}, stop=BusStop.objects.filter(line__activity=sold).first())
    adjust(user=user, amount=Decimal(100), reason="Dépôt", key=f"t:{uuid.uuid4()}", by=user)
    _count, total = add_tickets_to_cart(user=user, activity=sold, slot=slot, subscription=access, wish=wish)
    from accounts.models import Address, Terms

    choose_address(user=user, address=Address.objects.get(user=user))
    accept_sale_terms(user=user, terms=Terms.objects.current(Terms.Kind.SALE))
    pay(user=user, cart_id=Cart.objects.live().get(user=user).pk, means=Means.WALLET, shown_total=total)
    return Ticket.objects.latest("pk")


@both_ways
def test_a_family_buys_shows_and_is_let_in_once(visit: Visit, javascript: bool) -> None:
    """From the product to the code, then at the door: accepted, then « déjà utilisé le … »."""
    looks = Looks() if javascript else None
    who = visit("parent@demo.example", javascript=javascript)
    who.looks = looks
    who.open(POOL)
    who.on("Entrées de la piscine")
    who.choose(re.compile("1 entrée"))
    who.tick(re.compile("Louane Dupont"))
    who.tick(re.compile("Théo Dupont"))
    if javascript:
        who.reads("2 billets", "11,00 €")
        who.page.get_by_label("Combien pour chacun").select_option("3")
        who.reads("6 billets", "33,00 €")
        who.page.get_by_label("Combien pour chacun").select_option("1")
    who.press("Ajouter au panier")
    who.on("Mon panier")
    who.reads("Produit ajouté au panier avec succès", "11,00 €")
    steps.order(who, 2, "11,00 €", new_address=False)
    who.press("Payer avec mon porte-monnaie")
    who.on(re.compile("Commande "))
    who.reads("Commande payée, e-billets prêts")
    who.follow("Mes e-billets")
    who.on("Mes e-billets")
    who.follow(re.compile("Montrer le code"))
    who.on("Entrées de la piscine")
    ticket = Ticket.objects.get(pk=int(re.findall(r"/(\d+)/$", who.page.url)[0]))
    who.reads(ticket.typed_code)

    agent = visit(CONTROLLER, javascript=javascript, width=390)
    agent.looks = looks
    agent.open("/agents/billets/")
    agent.on("Contrôle des e-billets")
    agent.follow("Entrées de la piscine")
    agent.on("Entrées de la piscine")
    for verdict, sentence in (("Accepté", "Accepté."), ("Refusé", "Déjà utilisé le ")):
        agent.write("Code du billet", ticket.typed_code.lower())
        agent.press("Contrôler ce code")
        expect(agent.page.locator("[data-verdict]")).to_have_text(verdict)
        agent.reads(sentence)
        agent.on("Entrées de la piscine")
    assert TicketUse.objects.filter(ticket=ticket).count() == 1
    if looks is not None:
        looks.assert_fine()


@both_ways
def test_each_situation_has_its_prices(visit: Visit, javascript: bool) -> None:
    """Three situations: prices, locks and the total follow the one that is ticked, and the cart says the same."""
    full = Subscription.objects.get(user=parent(), profile__service=pool().service)
    labels = ("Tarif réduit", "Tarif famille")  # nothing is sold to the second
    AccessProfileFactory(service=pool().service, label=labels[1])
    for label in labels:
        SubscriptionFactory(user=parent(), profile=AccessProfile.objects.get(service=pool().service, label=label))
    who = visit("parent@demo.example", javascript=javascript)
    who.open(POOL)
    who.on("Entrées de la piscine")
    card = who.page.get_by_role("radio", name=re.compile("Carte 10 entrées"))

    def change(label: str) -> None:
        who.page.get_by_role("radio", name=label, exact=True).check()
        if not javascript:
            who.press("Afficher les prix de la situation cochée")

    expect(card).to_be_enabled()
    change(str(full.profile))
    card.check()
    who.tick(re.compile("Louane Dupont"))
    who.page.get_by_label("Combien pour chacun").select_option("2")
    change(labels[0])
    who.reads("36,00 €", "2 billets", "72,00 €")
    change(labels[1])
    who.reads("pas de tarif pour votre situation")
    expect(who.page.locator("[data-total]")).to_be_hidden()
    change(str(full.profile))
    who.reads("48,00 €", "2 billets", "96,00 €")
    who.press("Ajouter au panier")
    who.on("Mon panier")
    who.reads("96,00 €")


@pytest.fixture
def phone(site: str, new_context: Callable[..., BrowserContext]) -> Callable[[str], Page]:
    """A phone whose network comes and goes; what its console says then is not a fault."""

    def open_phone(user: str) -> Page:
        context = new_context(base_url=site, viewport={"width": 390, "height": 844})
        context.add_cookies([session_cookie(user, site)])
        return context.new_page()

    return open_phone


def type_code(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Code du billet").fill(text)
    page.get_by_role("button", name="Contrôler ce code").click()


def at_the_door(page: Page, address: str = "") -> None:
    """The page of a door, seen once, with all that it takes along."""
    page.goto(address or door())
    expect(page.locator("[data-list-says]")).to_contain_text("est sur cet appareil")
    expect(page.locator("[data-keep-says]")).to_contain_text("s’ouvrent aussi sans réseau")


def test_the_door_goes_on_without_network_and_says_so_later(phone: Callable[[str], Page]) -> None:
    known = buy()
    page = phone(CONTROLLER)
    at_the_door(page)
    sold_since = buy()  # after the list was made
    page.context.set_offline(True)
    page.reload()
    verdict, sentence = page.locator("[data-verdict]"), page.locator("[data-sentence]")
    type_code(page, known.typed_code)
    expect(sentence).to_have_text("Accepté sans réseau.")
    type_code(page, known.typed_code)
    expect(verdict).to_have_text("Refusé")
    expect(sentence).to_contain_text(f"Déjà utilisé le {dated(today())} à ")
    type_code(page, sold_since.code)  # typed, nothing proves it
    expect(sentence).to_contain_text("Inconnu de la liste")
    signed = codes.payload(sold_since)
    type_code(page, "x")  # so that the next answer is seen to be another
    expect(sentence).to_contain_text("Ce n’est pas le code")
    type_code(page, signed.replace(sold_since.code, "A" * 12))  # a forgery
    expect(sentence).to_contain_text("Inconnu de la liste")
    type_code(page, signed)  # what the camera reads
    expect(sentence).to_have_text("Accepté sans réseau.")
    expect(page.locator("[data-queue-says]")).to_contain_text("2 passages sans réseau à envoyer")
    assert not TicketUse.objects.filter(ticket__in=[known, sold_since]).exists()

    # Meanwhile somebody else's phone, which has network, lets the same ticket in.
    other = phone(CONTROLLER)
    other.goto(door())
    type_code(other, known.code)
    expect(other.locator("[data-verdict]")).to_have_text("Accepté")

    page.context.set_offline(False)
    expect(page.locator("[data-queue-says]")).to_have_text("Tous les passages sont envoyés.")
    expect(page.locator("[data-flagged]")).to_contain_text(f"{known.typed_code}, passé le {dated(today())} à ")
    expect(page.locator("[data-flagged]")).to_contain_text(f"Déjà utilisé le {dated(today())} à ")
    uses = TicketUse.objects.filter(ticket__in=[known, sold_since]).order_by("received_at")
    assert [(use.ticket_id, use.offline, use.problem) for use in uses] == [
        (known.pk, False, ""),
        (known.pk, True, "used"),
        (sold_since.pk, True, ""),
    ]


def test_what_was_let_in_with_the_network_is_refused_without(phone: Callable[[str], Page]) -> None:
    """The same phone, the same ticket, the network gone a moment later; a card goes on counting where the server was."""
    once, card = buy(), buy("Carte 10 entrées")
    page = phone(CONTROLLER)
    at_the_door(page)
    since = buy()  # sold after the list was made: the server's answer brings it along
    sentence = page.locator("[data-sentence]")
    for code, told in ((once, "Accepté."), (card, "il reste 9 entrées"), (since, "Accepté.")):
        type_code(page, code.code)
        expect(page.locator("[data-who]")).to_contain_text("Carte" if code is card else "1 entrée")
        expect(sentence).to_contain_text(told)
    expect.soft(page.locator("[data-verdict]")).to_have_text("Accepté")
    page.context.set_offline(True)
    for ticket in (once, since):
        type_code(page, "x")
        expect(sentence).to_contain_text("Ce n’est pas le code")
        type_code(page, ticket.code)
        expect(sentence).to_contain_text(f"Déjà utilisé le {dated(today())} à ")
    type_code(page, card.code)
    expect(sentence).to_have_text("Accepté sans réseau\u00a0: il reste 8 entrées.")
    page.reload()
    type_code(page, card.code)
    expect(sentence).to_have_text("Accepté sans réseau\u00a0: il reste 7 entrées.")
    page.context.set_offline(False)
    expect(page.locator("[data-queue-says]")).to_have_text("Tous les passages sont envoyés.")
    type_code(page, card.code)
    expect(sentence).to_contain_text("il reste 6 entrées")
    assert Ticket.objects.get(pk=card.pk).used == 4 and not TicketUse.objects.to_check().exists()


def test_two_hurried_taps_without_network_let_one_in(phone: Callable[[str], Page]) -> None:
    ticket = buy()
    page = phone(CONTROLLER)
    at_the_door(page)
    page.context.set_offline(True)
    page.evaluate(
        """(code) => {
            const form = document.querySelector("[data-form]");
            for (let tap = 0; tap < 3; tap += 1) {
                form.querySelector("[name=code]").value = code;
                form.requestSubmit();
            }
        }""",
        ticket.code,
    )
    expect(page.locator("[data-verdict]")).to_have_text("Refusé")
    expect(page.locator("[data-queue-says]")).to_contain_text("1 passage sans réseau à envoyer")


def test_a_pass_seen_again_at_once_is_said(phone: Callable[[str], Page]) -> None:
    ticket = buy("Année scolaire", activity="carte-annuelle")
    page = phone(CONTROLLER)
    at_the_door(page, f"/agents/billets/{ticket.activity_id}/")
    caution, verdict = page.locator("[data-caution]"), page.locator("[data-verdict]")
    type_code(page, ticket.code)
    expect(verdict).to_have_text("Accepté")
    expect(caution).to_be_hidden()
    type_code(page, ticket.code)
    expect(caution).to_contain_text("Déjà passé à ")
    expect(verdict).to_have_text("Accepté")
    page.context.set_offline(True)
    type_code(page, ticket.code)
    expect(page.locator("[data-sentence]")).to_have_text("Accepté sans réseau.")
    expect(caution).to_contain_text("Déjà passé à ")


def test_a_session_that_ended_is_said_and_nothing_is_lost(phone: Callable[[str], Page]) -> None:
    ticket = buy()
    page = phone(CONTROLLER)
    at_the_door(page)
    cookies = page.context.cookies()
    page.context.clear_cookies()
    type_code(page, ticket.code)
    expect(page.locator("[data-sentence]")).to_have_text("Accepté d’après la liste de cet appareil.")
    expect(page.get_by_role("link", name="Se reconnecter")).to_be_visible()
    page.context.add_cookies(cookies)
    page.reload()
    expect(page.locator("[data-queue-says]")).to_have_text("Tous les passages sont envoyés.")
    expect(page.get_by_role("link", name="Se reconnecter")).to_be_hidden()
    assert TicketUse.objects.get(ticket=ticket).offline


def test_a_driver_comes_in_by_the_header_and_is_out_when_dismissed(phone: Callable[[str], Page]) -> None:
    ticket = buy("Année scolaire", activity="carte-annuelle")
    page = phone("chauffeur@demo.example")
    page.goto("/mon-compte/")
    page.get_by_role("link", name="Contrôle").click()
    page.get_by_role("link", name="Carte annuelle de transport scolaire").click()
    expect(page.locator("[data-keep-says]")).to_contain_text("s’ouvrent aussi sans réseau")
    type_code(page, ticket.code)
    expect(page.locator("[data-verdict]")).to_have_text("Accepté")
    Controller.objects.all().delete()
    type_code(page, ticket.code)
    expect(page.locator("[data-sentence]")).to_contain_text("Vous ne contrôlez plus ces billets")
    page.context.set_offline(True)  # nor with the list, which is gone
    type_code(page, ticket.code)
    expect(page.locator("[data-sentence]")).to_contain_text("sans liste sur cet appareil")


def test_what_a_phone_refuses_without_network_reads_as_the_servers(phone: Callable[[str], Page]) -> None:
    """Used years ago, over, given back: with the day, and its year when that is not this one."""
    ticket = buy()
    page = phone(CONTROLLER)
    at_the_door(page)
    page.context.set_offline(True)
    sentence = page.locator("[data-sentence]")
    for facts, told in (
        ({"used": 1, "last": "2024-11-09T21:42:00Z"}, "Déjà utilisé le samedi 9 novembre 2024 à 22\u00a0h\u00a042."),
        ({"used": 1, "last": "2025-07-01T10:00:00Z"}, "Déjà utilisé le mardi 1er juillet 2025 à 12\u00a0h."),
        ({"to": "2025-02-28"}, "Ce billet n’est plus valable depuis le samedi 1er mars 2025."),
        ({"from": "2099-01-01"}, "Ce billet n’est valable qu’à partir du jeudi 1er janvier 2099."),
        (
            {"cancelled": "2024-11-09T21:42:00Z"},
            "Ce billet a été annulé le samedi 9 novembre 2024 à 22\u00a0h\u00a042.",
        ),
    ):
        page.evaluate(
            """async ([activity, hash, facts]) => {
                const opening = indexedDB.open("controle");
                await new Promise((resolve) => { opening.onsuccess = resolve; });
                const rows = opening.result.transaction("lists", "readwrite").objectStore("lists");
                const reading = rows.get(activity);
                await new Promise((resolve) => { reading.onsuccess = resolve; });
                const known = reading.result;
                known.tickets[hash] = { entries: 1, used: 0, last: null, from: "2024-01-01", to: "2099-12-31", cancelled: null, who: "", what: "", ...facts };
                const writing = rows.put(known, activity);
                await new Promise((resolve) => { writing.onsuccess = resolve; });
                opening.result.close();
            }""",
            [str(ticket.activity_id), hashlib.sha256(ticket.code.encode()).hexdigest(), facts],
        )
        type_code(page, ticket.code)
        expect(sentence).to_have_text(told)


def test_a_familys_tickets_open_without_network_until_it_signs_out(phone: Callable[[str], Page]) -> None:
    ticket = buy()
    page = phone("parent@demo.example")
    page.goto(ticket.get_absolute_url())
    page.get_by_role("button", name="Garder mes e-billets sur cet appareil").click()
    expect(page.locator("[data-keep-says]")).to_contain_text("s’ouvrent maintenant sans réseau")
    page.context.set_offline(True)
    page.goto("/mon-compte/e-billets/")
    page.get_by_role("link", name="Montrer le code").first.click()
    expect(page.locator(".pass").get_by_text(ticket.typed_code)).to_be_visible()
    page.context.set_offline(False)
    page.goto("/mon-compte/e-billets/")
    page.get_by_role("button", name="Déconnexion").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Bienvenue")
    assert page.evaluate("caches.keys()") == []
    page.context.set_offline(True)
    with pytest.raises(Exception, match="ERR_INTERNET_DISCONNECTED"):
        page.goto(ticket.get_absolute_url())


@pytest.fixture
def camera(browser_type: BrowserType, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """A browser whose camera films a QR code."""
    browsers = []

    def film(text: str) -> Any:
        drawn = io.BytesIO()
        segno.make_qr(text, error="m").save(drawn, kind="png", scale=6, border=6)
        frame = Image.new("RGB", (640, 480), "white")
        code = Image.open(drawn).convert("RGB")
        frame.paste(code, ((640 - code.width) // 2, (480 - code.height) // 2))
        filmed = io.BytesIO()
        frame.save(filmed, "jpeg", quality=95)
        video = tmp_path / "camera.mjpeg"
        video.write_bytes(filmed.getvalue() * 5)
        browsers.append(
            browser_type.launch(
                executable_path=chromium.find(),
                args=[
                    *chromium.FLAGS,
                    "--use-fake-ui-for-media-stream",
                    "--use-fake-device-for-media-stream",
                    f"--use-file-for-fake-video-capture={video}",
                ],
            )
        )
        return browsers[-1]

    yield film
    for browser in browsers:
        browser.close()


def test_the_camera_reads_what_the_ticket_shows(site: str, camera: Callable[[str], Any]) -> None:
    ticket = buy()
    browser = camera(codes.payload(ticket))
    context = browser.new_context(base_url=site, viewport={"width": 390, "height": 844}, permissions=["camera"])
    context.add_cookies([session_cookie(CONTROLLER, site)])
    page = context.new_page()
    page.goto(door())
    page.get_by_role("button", name="Scanner avec la caméra").click()
    expect(page.locator("[data-verdict]")).to_have_text("Accepté")
    expect(page.locator("[data-who]")).to_contain_text("Louane Dupont")
    assert TicketUse.objects.filter(ticket=ticket).count() == 1
    context.close()


def test_the_camera_goes_on_without_network_after_one_visit(site: str, camera: Callable[[str], Any]) -> None:
    """Page, style, scripts and the decoder are there."""
    ticket = buy()
    browser = camera(codes.payload(ticket))
    context = browser.new_context(base_url=site, viewport={"width": 390, "height": 844}, permissions=["camera"])
    context.add_cookies([session_cookie(CONTROLLER, site)])
    page = context.new_page()
    at_the_door(page)
    context.set_offline(True)
    page.reload()
    page.get_by_role("button", name="Scanner avec la caméra").click()
    expect(page.locator("[data-sentence]")).to_have_text("Accepté sans réseau.")
    context.close()


def test_a_phone_that_can_keep_nothing_says_so_and_lets_the_camera_go(site: str, camera: Callable[[str], Any]) -> None:
    ticket = buy()
    browser = camera(codes.payload(ticket))
    context = browser.new_context(base_url=site, permissions=["camera"], service_workers="block")
    context.add_cookies([session_cookie(CONTROLLER, site)])
    page = context.new_page()
    page.goto(door())
    expect(page.locator("[data-list-says]")).to_contain_text("est sur cet appareil")
    context.set_offline(True)
    start = page.get_by_role("button", name="Scanner avec la caméra")
    start.click()
    expect(page.locator("[data-camera-says]")).to_contain_text("tapez le code")
    expect(start).to_be_visible()
    assert page.evaluate("document.querySelector('video').srcObject") is None
    type_code(page, ticket.code)
    expect(page.locator("[data-sentence]")).to_have_text("Accepté sans réseau.")
    context.close()
