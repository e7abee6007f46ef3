"""Law 6: every page of the administration for every role, against a table written by hand."""

from typing import Any

import pytest
from django.contrib.admin import site
from django.test import Client
from django.urls import reverse

from accounts.actions import set_residence
from accounts.models import User
from tests.admin.world import Town, client_of, document_of, registered, shared_family, url
from tests.factories import UserFactory, agent_of

pytestmark = pytest.mark.django_db

# v sees, a adds, c changes, d deletes: what agents may do with rows of their communes, and operators with all.
RIGHTS = {
    "accounts.user": ("v", "v"),
    "accounts.commune": ("", "vac"),
    "accounts.staffrole": ("", "vad"),
    "accounts.terms": ("", "vacd"),
    "families.beneficiary": ("v", "v"),
    "families.incomequotient": ("v", "v"),
    "bookings.closure": ("v", "v"),
    "families.enrolment": ("vc", "vc"),
    "services.school": ("vacd", "vacd"),
    "services.classroom": ("vacd", "vacd"),
    "services.subscription": ("v", "v"),
    "services.category": ("", "vacd"),
    "services.service": ("vacd", "vacd"),
    "services.accessprofile": ("vacd", "vacd"),
    "services.activity": ("vacd", "vacd"),
    "services.slot": ("vacd", "vacd"),
    "services.tariffgrid": ("vacd", "vacd"),
    "services.tariff": ("v", "v"),
    "services.openday": ("vac", "vac"),
    "services.deadline": ("vacd", "vacd"),
    "services.absencerule": ("", "vacd"),
    "services.schoolholiday": ("", "vacd"),
    "services.busline": ("vacd", "vacd"),
    "bookings.booking": ("v", "v"),
    "bookings.absence": ("v", "v"),
    "bookings.waitinglistentry": ("v", "v"),
    "bookings.ticket": ("v", "v"),
    "bookings.ticketuse": ("v", "v"),
    "bookings.controller": ("vad", "vad"),
    "checkout.declarationcorrection": ("v", "v"),
    "checkout.statement": ("v", "v"),
    "checkout.settlement": ("", "v"),
    "checkout.verification": ("", "v"),
    "wallet.wallet": ("", "v"),
    "wallet.closing": ("", "v"),
    "wallet.correction": ("", "v"),
    "wallet.account": ("", "v"),
    "wallet.movement": ("", "v"),
    "wallet.entry": ("", "v"),
    "wallet.topuppack": ("", "vacd"),
    "wallet.withdrawal": ("", "v"),
    "wallet.transferorder": ("", "v"),
    "checkout.order": ("v", "v"),
    "checkout.payment": ("", "v"),
    "checkout.providerevent": ("", "v"),
    "checkout.refund": ("", "v"),
    "checkout.tilldeposit": ("", "v"),
    "checkout.counterreceipt": ("", "v"),  # and for agents who are named for it: tests/counter
    "checkout.providercheck": ("", "v"),
    "checkout.document": ("", "v"),
    "checkout.series": ("", "v"),
    "checkout.invoicerun": ("", "v"),
    "checkout.regie": ("", "vc"),
    "checkout.voucher": ("vac", "vac"),
    "checkout.voucheruse": ("v", "v"),
    "outbox.email": ("", "v"),
    "outbox.call": ("", "v"),
}
MISSING = 999_999_999


def test_every_table_of_the_administration_is_in_the_table() -> None:
    assert registered() == set(RIGHTS)


def expected(rights: str, page: str, *, own: bool) -> set[int]:
    if not rights:
        return {404}
    match page:
        case "changelist":
            return {200}
        case "add":
            return {200} if "a" in rights else {403}
        case "delete":
            # Something may hang on the row: then a sentence on its page instead of the question.
            return {404} if not own else {200, 302} if "d" in rights else {403}
    return {200} if own else {404}


def answers(user: User | None, row: Any, label: str) -> dict[str, int]:
    client = client_of(user)
    pages = {"changelist": url(label, "changelist"), "add": url(label, "add")}
    pages |= {page: url(label, page, row.pk) for page in ("change", "history", "delete")}
    return {page: client.get(address).status_code for page, address in pages.items()}


def test_agents_and_operators(everything: dict[str, Any], rosieres: Town, aiguilhe: Town, operator: User) -> None:
    for label, (agents, operators) in RIGHTS.items():
        row = everything[label]
        for who, user, rights, own in (
            ("agent de Rosières", rosieres.agent, agents, True),
            ("agent d’Aiguilhe", aiguilhe.agent, agents, False),
            ("opérateur", operator, operators, True),
        ):
            for page, status in answers(user, row, label).items():
                wanted = expected(rights, page, own=own)
                assert status in wanted, f"{who} : {label} {page} répond {status} au lieu de {wanted}"


def test_a_strangers_row_answers_as_a_missing_one(everything: dict[str, Any], aiguilhe: Town) -> None:
    client = client_of(aiguilhe.agent)
    for label, row in everything.items():
        for page in ("change", "history", "delete"):
            for ask in (client.get, client.post):
                stranger, missing = ask(url(label, page, row.pk)), ask(url(label, page, MISSING))
                assert stranger.status_code == missing.status_code == 404, (label, page)


def test_strangers_log_in_and_citizens_find_nothing(everything: dict[str, Any], rosieres: Town) -> None:
    validated, waiting = UserFactory(), rosieres.parent
    without_role = UserFactory(is_staff=True)
    dismissed = agent_of(rosieres.commune)
    User.objects.filter(pk=dismissed.pk).update(is_staff=False)
    for label, row in everything.items():
        for page, status in answers(None, row, label).items():
            assert status == 302, (label, page)
        for user in (validated, waiting, without_role, dismissed):
            assert set(answers(user, row, label).values()) == {404}, (user, label)
    home = reverse("admin:index")
    assert client_of(None).get(home).headers["Location"] == f"{reverse('account_login')}?next={home}"
    for user in (validated, waiting, without_role, dismissed):
        client = client_of(user)
        assert client.get(home).status_code == 404
        assert client.get(reverse("admin:login")).status_code == 404
        assert client.get(reverse("admin:jsi18n")).status_code == 404
        assert client.post(url("services.subscription", "approve", 1)).status_code == 404


def test_a_refused_or_inactive_agent_is_out(rosieres: Town) -> None:
    client = client_of(rosieres.agent)
    assert client.get(reverse("admin:index")).status_code == 200
    User.objects.filter(pk=rosieres.agent.pk).update(status="refused", decided_by=agent_of(), decision_reason="Parti")
    assert client.get(reverse("admin:index")).status_code == 404


def test_a_superuser_works_as_an_operator(everything: dict[str, Any]) -> None:
    boss = User.objects.create_superuser("chef@exemple.fr", "Velay-Tests-2026!", first_name="Ada", last_name="Roux")
    client = client_of(boss)
    for label, row in everything.items():
        assert client.get(url(label, "change", row.pk)).status_code == 200, label


def test_lists_hold_only_ones_own_rows(everything: dict[str, Any], rosieres: Town, aiguilhe: Town) -> None:
    client = client_of(rosieres.agent)
    for label, row in aiguilhe.rows.items():
        if "." not in label:
            continue
        page = client.get(url(label, "changelist"))
        shown = list(page.context["cl"].result_list)
        assert row not in shown, label
        assert rosieres.rows[label] in shown, label
        assert "Aiguilhe" not in page.content.decode(), label


def test_nothing_of_another_commune_on_any_page(everything: dict[str, Any], rosieres: Town, aiguilhe: Town) -> None:
    """Choices of forms, filters, inlines, panels and previews: the other commune's name stands nowhere."""
    client = client_of(rosieres.agent)
    for label, (agents, _operators) in RIGHTS.items():
        if not agents:
            continue
        pages = ["change", "history"] + ["delete"] * ("d" in agents)
        addresses = [url(label, page, everything[label].pk) for page in pages]
        addresses += [url(label, "add")] * ("a" in agents)
        for address in addresses:
            assert "Aiguilhe" not in client.get(address, follow=True).content.decode(), address


def test_filters_search_and_hierarchy_by_address_find_nothing(rosieres: Town, aiguilhe: Town) -> None:
    client = client_of(rosieres.agent)
    other = aiguilhe.rows
    for label, query in {
        "services.openday": f"activity__id__exact={other['services.activity'].pk}",
        "services.activity": f"service__id__exact={other['services.service'].pk}",
        "services.tariff": f"slot__activity__service__id__exact={other['services.service'].pk}",
        "services.subscription": f"profile__service__id__exact={other['services.service'].pk}",
        "bookings.booking": f"open_day__activity__id__exact={other['services.activity'].pk}",
        "bookings.waitinglistentry": f"open_day__activity__id__exact={other['services.activity'].pk}",
        "accounts.user": "q=Parent-Aiguilhe",
        "families.beneficiary": "q=Enfant-Aiguilhe",
        "checkout.order": "q=Enfant-Aiguilhe",
    }.items():
        page = client.get(f"{url(label, 'changelist')}?{query}")
        assert list(page.context["cl"].result_list) == [], label


@pytest.mark.parametrize("query", ["benede", "BÉNÉDÉ", "coeur-de-benede"])
def test_a_search_finds_with_or_without_accents(rosieres: Town, query: str) -> None:
    User.objects.filter(pk=rosieres.rows["accounts.user"].pk).update(last_name="Cœur-de-Bénédé")
    page = client_of(rosieres.agent).get(url("accounts.user", "changelist"), {"q": query})
    assert list(page.context["cl"].result_list) == [rosieres.rows["accounts.user"]]


def test_only_the_filters_lookups_are_answered(rosieres: Town) -> None:
    client = client_of(rosieres.agent)
    for query in ("password__startswith=md5", "commune__population__gt=1", "email__startswith=a"):
        assert client.get(f"{url('accounts.user', 'changelist')}?{query}").status_code == 400, query
    assert client.get(f"{url('services.openday', 'changelist')}?date__year=2026").status_code == 200


def test_view_on_site_leads_nowhere_by_number(everything: dict[str, Any], operator: User) -> None:
    assert client_of(operator).get("/admin/r/1/1/").status_code == 404


# --- Autocomplete ------------------------------------------------------------------------------------------------------


def complete(user: User | None, source: str, field: str, **more: str) -> Any:
    app_label, model_name = source.split(".")
    query = {"app_label": app_label, "model_name": model_name, "field_name": field, "term": "", **more}
    return client_of(user).get(reverse("admin:autocomplete"), query)


AUTOCOMPLETES = {
    ("services.tariffgrid", "service"): "Mairie de Rosières – Cantine",
    ("services.openday", "activity"): "Repas Rosières",
}


@pytest.mark.parametrize(("source", "field"), AUTOCOMPLETES)
def test_autocomplete_is_scoped(source: str, field: str, rosieres: Town, aiguilhe: Town, operator: User) -> None:
    words = AUTOCOMPLETES[source, field]
    own = [row["text"] for row in complete(rosieres.agent, source, field).json()["results"]]
    assert any(text.endswith(words) for text in own) and all("Rosières" in text for text in own)
    assert words not in str(complete(aiguilhe.agent, source, field).json())
    assert complete(aiguilhe.agent, source, field, term="Rosières").json()["results"] == []
    assert len(complete(operator, source, field).json()["results"]) == 2 * len(own)
    assert complete(UserFactory(), source, field).status_code == 404
    assert complete(None, source, field).status_code == 302


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ("accounts.staffrole", "user"),  # an agent has no such page
        ("bookings.booking", "beneficiary"),  # nobody chooses a beneficiary here
        ("checkout.order", "user"),
        ("services.subscription", "user"),
        ("accounts.user", "commune"),
        ("accounts.user", "password"),
        ("auth.permission", "content_type"),
        ("services.tariff", "slot"),  # fares are chosen on the page of their grid
        ("services.tariffgrid", "nothing"),
        ("nothing.at_all", "slot"),
    ],
)
def test_autocomplete_of_a_forged_field_is_refused(source: str, field: str, rosieres: Town) -> None:
    assert complete(rosieres.agent, source, field).status_code in (403, 404)


# --- A family known to two communes ------------------------------------------------------------------------------------


def test_a_shared_family_shows_each_commune_its_own_part(rosieres: Town, aiguilhe: Town) -> None:
    family = shared_family(rosieres, aiguilhe)
    address = url("accounts.user", "change", family.pk)
    here, there = client_of(rosieres.agent).get(address), client_of(aiguilhe.agent).get(address)
    assert here.status_code == there.status_code == 200
    assert "Mairie d" not in here.content.decode().replace("Mairie de Rosières", "")
    assert "Mairie de Aiguilhe – Cantine" in there.content.decode()
    (request,) = family.subscriptions.all()
    assert client_of(rosieres.agent).get(url("services.subscription", "change", request.pk)).status_code == 404


def test_another_communes_agent_is_not_named(rosieres: Town, aiguilhe: Town, operator: User) -> None:
    family = shared_family(rosieres, aiguilhe)
    User.objects.filter(pk=aiguilhe.agent.pk).update(first_name="Zoé", last_name="Lointaine")
    set_residence(user=family, commune=aiguilhe.commune)  # they lived there when the account was validated
    client_of(aiguilhe.agent).post(url("accounts.user", "approve", family.pk), {"seen": "pending@"})
    set_residence(user=family, commune=rosieres.commune)
    family.refresh_from_db()
    assert family.decided_by == aiguilhe.agent
    address = url("accounts.user", "change", family.pk)
    page = client_of(rosieres.agent).get(address).content.decode()
    assert "Lointaine" not in page
    assert "un agent d’une autre commune" in page
    assert "Zoé Lointaine" in client_of(aiguilhe.agent).get(address).content.decode()
    assert "Zoé Lointaine" in client_of(operator).get(address).content.decode()


def test_the_other_parent_of_a_child_is_not_shown(rosieres: Town, aiguilhe: Town) -> None:
    from tests.factories import FiliationFactory

    child = rosieres.rows["families.beneficiary"]
    FiliationFactory(user=aiguilhe.parent, beneficiary=child)
    client = client_of(rosieres.agent)
    for address in (url("families.beneficiary", "change", child.pk), url("families.beneficiary", "changelist")):
        assert "Parent-Aiguilhe" not in client.get(address).content.decode()
    page = client.get(url("families.beneficiary", "changelist"), {"q": "Parent-Aiguilhe"})
    assert list(page.context["cl"].result_list) == []


def test_documents_are_downloaded_by_their_communes_agents_alone(
    rosieres: Town, aiguilhe: Town, operator: User
) -> None:
    document = document_of(rosieres.parent)
    address = reverse("admin:accounts_user_document", args=[rosieres.parent.pk, document.pk])
    answer = client_of(rosieres.agent).get(address)
    assert answer.status_code == 200
    assert b"".join(answer.streaming_content) == b"%PDF-1.4 facture"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="facture.pdf"'
    assert client_of(operator).get(address).status_code == 200
    assert client_of(aiguilhe.agent).get(address).status_code == 404
    assert client_of(rosieres.parent).get(address).status_code == 404
    # An own person's address with a stranger's document.
    crossed = reverse("admin:accounts_user_document", args=[aiguilhe.parent.pk, document.pk])
    assert client_of(aiguilhe.agent).get(crossed).status_code == 404


def test_an_order_shared_by_two_communes_shows_each_its_lines(rosieres: Town, aiguilhe: Town, operator: User) -> None:
    from checkout.models import OrderLine
    from tests.admin.world import book
    from tests.factories import OpenDayFactory

    order = rosieres.rows["checkout.order"]
    there = book(aiguilhe, day=OpenDayFactory(activity=aiguilhe.rows["services.activity"]))
    OrderLine.objects.create(
        order=order, booking=there, commune=aiguilhe.commune, label="Repas Aiguilhe", unit_price="3.80",
        beneficiary_name="Zacharie",
    )  # fmt: skip
    address = url("checkout.order", "change", order.pk)
    here = client_of(rosieres.agent).get(address).content.decode()
    assert "Repas Rosières" in here and "Repas Aiguilhe" not in here
    assert "7,90" in here and "11,70" not in here and "3,80" not in here
    assert "Repas Aiguilhe" in client_of(aiguilhe.agent).get(address).content.decode()
    assert "11,70" in client_of(operator).get(address).content.decode()
    found = client_of(rosieres.agent).get(url("checkout.order", "changelist"), {"q": "Zacharie"})
    assert list(found.context["cl"].result_list) == []
    assert "Zacharie" not in client_of(rosieres.agent).get(url("checkout.order", "changelist")).content.decode()


def words_of(answer: Any) -> str:
    return answer.content.decode().replace("\u00a0", " ").replace("&nbsp;", " ")


def test_what_is_not_there_leads_back_to_its_own_list(rosieres: Town, operator: User) -> None:
    """Staff stay in the administration; who does not work there, or not with that table, learns nothing of it."""
    address, mine = "/admin/checkout/statement/999999/change/", "Revenir à « Relevés de reversement »"
    said = client_of(operator).get(address)
    assert said.status_code == 404 and mine in words_of(said) and "Panier" not in words_of(said)
    for stray in ("/admin/rien/", "/admin/checkout/rien/12/"):
        answer = client_of(operator).get(stray, follow=True)
        assert answer.status_code == 404 and "Revenir à" in words_of(answer) and "Administration" in words_of(answer)
    theirs = words_of(client_of(rosieres.agent).get("/admin/outbox/email/1/change/"))
    assert "Revenir à l’administration" in theirs and "Courriels" not in theirs
    for stranger in (client_of(rosieres.parent), Client()):
        answer = stranger.get("/admin/rien/", follow=True)
        assert not any(way in words_of(answer) for way in ("Revenir à «", "Revenir à l’administration"))


def test_a_month_or_a_day_without_its_year_is_a_list_like_another() -> None:
    """By hand in an address: no month of a table's own dates ends in an error page, and the 99th one holds nothing."""
    client = client_of(agent_of())
    tables = [admin for admin in site._registry.values() if admin.date_hierarchy]
    assert len(tables) > 15
    for table in tables:
        address = reverse(f"admin:{table.opts.app_label}_{table.opts.model_name}_changelist")
        for part in ("month=99", "day=99"):
            page = client.get(f"{address}?{table.date_hierarchy}__{part}")
            assert page.status_code == 200 and not page.context["cl"].result_count, (address, part)
