"""The administration in a real browser: its policy keeps silent, axe finds nothing, widgets work, no script is needed."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, Page, expect

from accounts.models import User
from checkout.vouchers.models import Voucher
from families.models import Enrolment, IncomeQuotient
from services.models import OpenDay, Tariff, TariffGrid
from tests.admin.world import Town, client_of, shared_rows, url
from tests.factories import OpenDayFactory

pytestmark = pytest.mark.django_db(transaction=True)
SCREENS = [(1280, "light"), (390, "dark")]


def sign_in(context: BrowserContext, live_server: Any, user: User) -> Page:
    cookie = client_of(user).cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
    return context.new_page()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser's console says, the refusals of the Content-Security-Policy among it."""
    said: list[str] = []
    yield said
    assert not said


def listen(page: Page, said: list[str]) -> None:
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))


def violations(page: Page) -> list[str]:
    # axe reads style sheets again unless told not to; our policy would refuse the style it writes for that.
    found = Axe().run(page, options={"preload": False}).response["violations"]
    return [f"{page.url} {v['id']}: {[node['html'][:200] for node in v['nodes'][:3]]}" for v in found]


def addresses(town: Town, shared: dict[str, Any] | None) -> list[str]:
    """The pages that an agent uses (or, with the shared rows, those that only an operator has)."""
    own = {label: row.pk for label, row in town.rows.items() if "." in label}
    if shared is not None:
        labels = {label: row.pk for label, row in shared.items()}
        added = [url(label, "add") for label in ("accounts.staffrole", "accounts.terms", "services.deadline")]
        return [
            *(url(label, "changelist") for label in labels),
            *(url(label, "change", pk) for label, pk in labels.items()),
            url("wallet.wallet", "history", labels["wallet.wallet"]),
            *added,
        ]
    return [
        "/admin/",
        *(url(label, "changelist") for label in own),
        *(url(label, "change", pk) for label, pk in own.items()),
        *(url(f"services.{name}", "add") for name in ("service", "activity", "tariffgrid", "openday")),
        f"{url('accounts.user', 'refuse')}?pk={own['accounts.user']}",
        url("services.activity", "generate", own["services.activity"]),
        url("services.tariffgrid", "carry", own["services.tariffgrid"]),
        reverse("admin:bookings_closure_new"),
        *(url(label, "history", own[label]) for label in ("services.activity", "bookings.booking", "checkout.order")),
        url("services.tariffgrid", "delete", own["services.tariffgrid"]),
    ]


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
@pytest.mark.parametrize("role", ["agent", "operator"])
def test_pages_are_accessible_and_quiet(
    context: BrowserContext, live_server: Any, complaints: list[str], rosieres: Town, operator: User, role: str,
    width: int, scheme: str,
) -> None:  # fmt: skip
    shared = shared_rows(rosieres) if role == "operator" else None
    page = sign_in(context, live_server, operator if role == "operator" else rosieres.agent)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    listen(page, complaints)
    found = []
    for address in addresses(rosieres, shared):
        answer = page.goto(f"{live_server.url}{address}")
        assert answer is not None and answer.status == 200, address
        found += violations(page)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{address} dépasse de l’écran")
    assert found == []


def test_widgets_work_under_the_policy(
    context: BrowserContext, live_server: Any, complaints: list[str], rosieres: Town, aiguilhe: Town
) -> None:
    page = sign_in(context, live_server, rosieres.agent)
    listen(page, complaints)
    Tariff.objects.all().delete()
    TariffGrid.objects.all().delete()

    # Choice by search, dates from the calendar; then the fares, with a comma and bands.
    page.goto(live_server.url + url("services.tariffgrid", "add"))
    page.get_by_role("combobox", name="Service").click()
    page.get_by_role("searchbox").fill("Rosières")
    expect(page.get_by_role("option", name="Rosières")).to_have_count(1)
    assert page.get_by_role("option", name="Aiguilhe").count() == 0
    page.get_by_role("option", name="Rosières").click()
    page.get_by_label("Nom").fill("Tarifs 2026-2027")
    page.get_by_label("Délibération n°").fill("2026-45")
    for field in ("decision_date", "first_day"):
        page.locator(f".field-{field} .date-icon").click()
        page.locator(".calendarbox:visible").get_by_role("link", name="15", exact=True).click()
    page.get_by_role("button", name="Enregistrer", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("Ajoutez maintenant les tarifs")
    for row, (band, price) in enumerate([("1000", "1"), ("", "3,70")]):
        page.locator(".inline-group .add-row a").click()
        page.locator(f"#id_tariffs-{row}-slot").select_option(index=1)
        page.locator(f"#id_tariffs-{row}-profile").select_option(index=1)
        page.locator(f"#id_tariffs-{row}-quotient_1").fill(band)
        page.locator(f"#id_tariffs-{row}-price").fill(price)
    page.locator("#id_tariffs-1-quotient_0").fill("1000")
    page.get_by_role("button", name="Enregistrer", exact=True).click()
    expect(
        page.get_by_text(
            "« quotient familial de 0 à 1\u202f000 » et « quotient familial à partir de 1\u202f000 » se chevauchent"
        )
    ).to_be_visible()
    page.locator("#id_tariffs-1-quotient_0").fill("1001")
    page.get_by_role("button", name="Enregistrer", exact=True).click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    assert [str(row.price) for row in Tariff.objects.order_by("price")] == ["1.00", "3.70"]

    # A clock, and a new line of an inline.
    page.goto(live_server.url + url("services.activity", "change", rosieres.rows["services.activity"].pk))
    page.locator("#slots-group .add-row a").click()
    page.locator("#id_slots-1-name").fill("Goûter")
    page.locator("#slots-1 .field-starts_at .clock-icon").click()
    page.locator(".clockbox:visible").get_by_role("link", name="Midi").click()
    page.locator("#id_slots-1-ends_at").fill("13:00")
    page.get_by_role("button", name="Enregistrer et continuer").click()
    expect(page.locator("#id_slots-1-name")).to_have_value("Goûter")
    expect(page.locator("#id_slots-1-starts_at")).to_have_value("12:00")

    # Filters and the date hierarchy of a list.
    day = rosieres.rows["services.openday"]
    page.goto(live_server.url + url("services.openday", "changelist"))
    page.locator("#changelist-filter").get_by_role("link", name="Non").first.click()
    expect(page.get_by_text("0 résultats")).to_be_visible()
    page.goto(f"{live_server.url}{url('services.openday', 'changelist')}?date__year={day.date.year}")
    expect(page.locator("#result_list tbody tr")).to_have_count(OpenDay.objects.filter(activity=day.activity).count())


def test_a_popup_adds_what_is_missing(
    context: BrowserContext, live_server: Any, complaints: list[str], rosieres: Town
) -> None:
    page = sign_in(context, live_server, rosieres.agent)
    listen(page, complaints)
    page.goto(live_server.url + url("services.tariffgrid", "change", rosieres.rows["services.tariffgrid"].pk))
    with page.expect_popup() as opened:
        page.locator("#add_id_tariffs-0-profile").click()
    popup = opened.value
    listen(popup, complaints)
    popup.get_by_label("Service").select_option(label=str(rosieres.rows["services.service"]))
    popup.get_by_label("Situation").fill("Tarif réduit")
    with popup.expect_event("close"):
        popup.get_by_role("button", name="Enregistrer", exact=True).click()
    expect(page.locator("#id_tariffs-0-profile option:checked")).to_contain_text("Tarif réduit")


def test_deciding_without_javascript(browser: Browser, live_server: Any, rosieres: Town) -> None:
    """From the home page: an account is validated, its request refused from the list with a reason."""
    Enrolment.objects.all().delete()
    IncomeQuotient.objects.all().delete()
    context = browser.new_context(java_script_enabled=False, locale="fr-FR")
    page = sign_in(context, live_server, rosieres.agent)
    page.goto(f"{live_server.url}/admin/")
    page.get_by_role("link", name="Compte à valider").click()
    page.get_by_role("link", name="Parent-Rosières").click()
    page.get_by_role("button", name="Valider").click()
    expect(page.locator(".messagelist .success")).to_contain_text("c’est validé")

    page.goto(f"{live_server.url}/admin/")
    page.get_by_role("link", name="Demande d’accès à valider").click()
    page.locator("input.action-select").first.check()
    page.get_by_role("combobox", name="Action").select_option(label="Refuser…")
    page.get_by_role("button", name="Envoyer").click()
    page.get_by_role("button", name="Refuser et envoyer").click()
    expect(page.get_by_text("Écrivez le motif du refus")).to_be_visible()
    page.get_by_label("Motif du refus").fill("La cantine est complète.")
    page.get_by_role("button", name="Refuser et envoyer").click()
    expect(page.locator(".messagelist .success")).to_contain_text("c’est refusé")
    page.goto(f"{live_server.url}/admin/")
    expect(page.get_by_text("Il n’y a rien à valider.")).to_be_visible()
    rosieres.parent.refresh_from_db()
    request = rosieres.rows["services.subscription"]
    request.refresh_from_db()
    assert (rosieres.parent.status, request.status, request.reason) == (
        "approved",
        "refused",
        "La cantine est complète.",
    )
    context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_personal_voucher_without_javascript(browser: Browser, live_server: Any, rosieres: Town, width: int) -> None:
    context = browser.new_context(java_script_enabled=False, locale="fr-FR", viewport={"width": width, "height": 900})
    page = sign_in(context, live_server, rosieres.agent)
    page.goto(f"{live_server.url}{url('checkout.voucher', 'add')}")
    page.locator("#id_code").fill("coup-de-pouce")
    page.locator("#id_label").fill("Coup de pouce")
    page.locator("#id_amount").fill("5,00")
    page.locator("#id_commune").select_option(label=str(rosieres.commune))
    page.get_by_label("l’adresse e-mail de son compte").fill(rosieres.parent.email)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Enregistrer", exact=True).click()
    expect(page.locator(".messagelist .success")).to_contain_text("COUP-DE-POUCE")
    assert Voucher.objects.get(code="COUP-DE-POUCE").user == rosieres.parent
    context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_closing_days_without_javascript(browser: Browser, live_server: Any, rosieres: Town, width: int) -> None:
    context = browser.new_context(java_script_enabled=False, locale="fr-FR", viewport={"width": width, "height": 900})
    page = sign_in(context, live_server, rosieres.agent)
    booked = rosieres.rows["services.openday"]
    day = OpenDayFactory(activity=booked.activity, date=booked.date - dt.timedelta(days=1))
    page.goto(f"{live_server.url}{url('services.openday', 'changelist')}")
    page.locator("input.action-select").first.check()
    page.get_by_role("combobox", name="Action").select_option(label="Fermer les jours choisis…")
    page.get_by_role("button", name="Envoyer").click()
    expect(page.get_by_role("link", name="Préparer une fermeture")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Fermer ce jour").click()
    expect(page.get_by_text("Écrivez pourquoi")).to_be_visible()
    page.get_by_label("Motif de fermeture").fill("Grève")
    page.get_by_role("button", name="Fermer ce jour").click()
    expect(page.locator(".messagelist .success")).to_contain_text("1 jour est fermé")
    day.refresh_from_db()
    assert (day.is_open, day.closed_reason, day.by_hand) == (False, "Grève", True)
    context.close()
