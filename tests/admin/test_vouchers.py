"""Vouchers in the administration: who writes which, what is refused in a sentence, batches and their codes."""

from decimal import Decimal
from typing import Any

import pytest

from accounts.models import User
from checkout.actions import Means
from checkout.vouchers.models import Voucher, VoucherScope
from tests.admin.world import Town, client_of, form_values, texts, url
from tests.factories import UserFactory, agent_of
from tests.shop import open_shop
from tests.vouchers.making import order_with, voucher

pytestmark = pytest.mark.django_db


def add(user: User, /, **changes: Any) -> Any:
    client = client_of(user)
    page = client.get(url("checkout.voucher", "add"))
    values = (
        form_values(page) | {"code": "noel-26", "label": "Noël", "percent": "12,5", "uses_per_family": "1"} | changes
    )
    return client.post(url("checkout.voucher", "add"), values, follow=True)


def test_a_mairie_gives_what_it_bears_itself(rosieres: Town, aiguilhe: Town) -> None:
    add(rosieres.agent, commune=rosieres.commune.pk)
    row = Voucher.objects.get(code="NOEL-26")
    assert (row.percent, row.commune) == (Decimal("12.50"), rosieres.commune)
    for commune in ("", aiguilhe.commune.pk):
        response = add(rosieres.agent, commune=commune, code=f"autre-{commune}")
        assert response.status_code == 200 and response.context["errors"]
    assert Voucher.objects.filter(label="Noël").count() == 1


def test_its_scope_stays_within_the_commune(rosieres: Town, aiguilhe: Town, operator: User) -> None:
    name = "scopes-0-service"
    add(rosieres.agent, commune=rosieres.commune.pk, **{name: rosieres.rows["services.service"].pk})
    assert VoucherScope.objects.get(voucher__code="NOEL-26").service == rosieres.rows["services.service"]
    other = aiguilhe.rows["services.service"].pk
    response = add(rosieres.agent, code="deux", commune=rosieres.commune.pk, **{name: other})
    assert response.context["errors"]  # not one of the agent's choices
    response = add(operator, code="trois", commune=rosieres.commune.pk, **{name: other})
    assert "produits de cette commune" in response.content.decode()
    assert not Voucher.objects.filter(code__in=["DEUX", "TROIS"]).exists()
    add(operator, code="quatre", commune="", **{name: other})
    assert Voucher.objects.get(code="QUATRE").commune is None


def test_a_personal_one_by_the_address_of_the_account(rosieres: Town, aiguilhe: Town, operator: User) -> None:
    """Without JavaScript the box of people is empty."""
    add(operator, commune="", holder_email=f" {rosieres.parent.email.upper()} ")
    assert Voucher.objects.get(code="NOEL-26").user == rosieres.parent
    add(rosieres.agent, code="deux", commune=rosieres.commune.pk, holder_email=rosieres.parent.email)
    assert Voucher.objects.get(code="DEUX").user == rosieres.parent
    both = f"{rosieres.parent.email}, {aiguilhe.parent.email}"
    for user, changes, says in (
        (operator, {"holder_email": "personne@exemple.fr"}, "Sans compte\u00a0: personne@exemple.fr."),
        (operator, {"holder_email": both}, "d’une seule personne"),
        (operator, {"holder_email": aiguilhe.parent.email, "user": rosieres.parent.pk}, "d’une seule personne"),
        (rosieres.agent, {"holder_email": aiguilhe.parent.email}, "pas de votre commune"),
    ):
        asked = {"code": "trois", "commune": rosieres.commune.pk, **changes}
        assert says in add(user, **asked).content.decode()
    assert not Voucher.objects.filter(code="TROIS").exists()
    page = client_of(operator).get(url("checkout.voucher", "change", Voucher.objects.get(code="DEUX").pk))
    assert "holder_email" not in page.content.decode()  # whose it is stays


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"percent": "", "amount": ""}, "l’un des deux"),
        ({"percent": "10", "amount": "5"}, "l’un des deux"),
        ({"percent": "0"}, "l’un des deux"),
        ({"valid_from": "02/01/2027", "valid_until": "01/01/2027"}, "vient avant la première"),
        ({"max_uses": "0"}, "Au moins une utilisation"),
        ({"code": "été"}, "majuscules sans accent"),
        ({"code": "BON-0"}, "Ce code existe déjà"),
        ({"code": ""}, "Écrivez le code"),
        ({"code": "A" * 25}, "vingt-quatre caractères au plus"),
        ({"percent": "-5"}, "plus de 0 et d’au plus 100"),
        ({"percent": "101"}, "plus de 0 et d’au plus 100"),
        ({"percent": "dix"}, "plus de 0 et d’au plus 100"),
        ({"percent": "1e9"}, "plus de 0 et d’au plus 100"),
        ({"percent": "", "amount": "99999999999"}, "en euros et centimes"),
        ({"percent": "", "amount": "99999999999"}, "Ce montant est trop grand"),
        ({"percent": "", "amount": "-5"}, "Écrivez un montant plus grand que zéro"),
        ({"max_uses": "-1"}, "Un nombre entier d’utilisations"),
    ],
)
def test_what_cannot_be_is_said(rosieres: Town, operator: User, changes: dict[str, str], words: str) -> None:
    assert words in add(operator, **changes).content.decode().replace("&#x27;", "’")


@pytest.mark.parametrize("address", [",", ";", " , ; "])
def test_a_separator_alone_is_no_address(operator: User, address: str) -> None:
    response = add(operator, commune="", holder_email=address)
    assert response.status_code == 200 and "Écrivez une adresse e-mail." in response.content.decode()
    assert not Voucher.objects.exists()


def test_the_list_says_whose_a_voucher_is_and_of_which_lot(operator: User) -> None:
    voucher("PERSO", user=UserFactory(first_name="Odette", last_name="Vialle"), batch="Rentrée des aînés")
    page = client_of(operator).get(url("checkout.voucher", "changelist")).content.decode()
    row = page[page.index("<tbody>") :]
    assert "Odette Vialle" in row and "Rentrée des aînés" in row


def test_who_pays_is_said_in_words(rosieres: Town, operator: User) -> None:
    """Nobody reads « – » as the agglomération, nor makes a commune beside a voucher; what lines mean is written above them."""
    saved = voucher("DELAGGLO")
    client = client_of(operator)
    told = client.get(url("checkout.voucher", "change", saved.pk)).content.decode()
    assert '<div class="readonly">Agglomération</div>' in told and "toute personne qui connaît le code" in told
    page = client.get(url("checkout.voucher", "changelist")).content.decode()
    filters = page[page.index('id="changelist-filter"') :]
    assert "Qui paie la remise" in filters and ">Agglomération</a>" in filters and "–</a>" not in filters
    assert "En service" in filters and "Par " not in filters
    found = client.get(url("checkout.voucher", "changelist") + "?commune__isnull=True").content.decode()
    assert "DELAGGLO" in found and "BON-0" not in found
    form = client.get(url("checkout.voucher", "add")).content.decode()
    assert '<option value="" selected>Agglomération</option>' in form
    assert 'id="add_id_' not in form
    assert "Sans aucune ligne" in form and "Une chose par ligne" in form
    assert "Ajouter une ligne" in form and "supplémentaire" not in form


def test_the_agglomeration_is_a_choice_for_those_who_reach_its_vouchers(rosieres: Town, operator: User) -> None:
    voucher(commune=rosieres.commune)
    voucher("BIENVENUE")
    address = url("checkout.voucher", "changelist")
    assert "commune__isnull" in client_of(operator).get(address).content.decode()
    assert "commune__isnull" not in client_of(rosieres.agent).get(address).content.decode()


def test_what_is_saved_is_said_in_our_words(operator: User) -> None:
    assert texts(add(operator, label="L’été")) == ["Ajouté\u00a0: bon de réduction «\u00a0NOEL-26\u00a0»."]
    row, client = Voucher.objects.get(), client_of(operator)
    address = url("checkout.voucher", "change", row.pk)
    saved = client.post(address, form_values(client.get(address)) | {"label": "Hiver"}, follow=True)
    assert texts(saved) == ["Enregistré\u00a0: bon de réduction «\u00a0NOEL-26\u00a0»."]


def test_what_it_costs_and_who_used_it(operator: User) -> None:
    shop = open_shop(credit="50")
    row = voucher(max_uses=3)
    order = order_with(shop, "RENTREE10", total="28.44")
    page = client_of(operator).get(url("checkout.voucher", "change", row.pk)).content.decode()
    assert "1 sur 3" in page and "3,16" in page
    uses = client_of(operator).get(url("checkout.voucheruse", "changelist") + "?q=RENTREE10").content.decode()
    assert order.number in uses


def test_a_batch_of_one_use_codes(rosieres: Town) -> None:
    model = rosieres.rows["checkout.voucher"]
    client = client_of(rosieres.agent)
    page = url("checkout.voucher", "batch", model.pk)
    assert client.get(page).status_code == 200
    response = client.post(page, {"batch": "Noël", "start": "noel", "count": "12"}, follow=True)
    assert texts(response) == ["12 bons créés."]
    made = Voucher.objects.filter(batch="Noël")
    assert len({row.code for row in made}) == 12 and all(row.code.startswith("NOEL-") for row in made)
    assert {(row.amount, row.max_uses, row.commune_id) for row in made} == {(5, 1, rosieres.commune.pk)}
    assert all(row.scopes.get().service == rosieres.rows["services.service"] for row in made)
    codes = client.get(url("checkout.voucher", "batch_csv") + "?lot=Noël")
    lines = codes.content.decode().lstrip("\ufeff").splitlines()
    assert len(lines) == 13 and lines[1].startswith("NOEL-") and "−5,00" in lines[1]


def test_a_batch_of_personal_vouchers(rosieres: Town, aiguilhe: Town) -> None:
    model = rosieres.rows["checkout.voucher"]
    mine = UserFactory(commune=rosieres.commune)
    client = client_of(rosieres.agent)
    page = url("checkout.voucher", "batch", model.pk)
    stranger = aiguilhe.parent.email
    response = client.post(page, {"batch": "Aide", "emails": f"{mine.email} {stranger}"})
    assert stranger in response.content.decode() and not Voucher.objects.filter(batch="Aide").exists()
    client.post(page, {"batch": "Aide", "emails": mine.email.upper()})
    assert Voucher.objects.get(batch="Aide").user == mine


@pytest.mark.parametrize("count", ["0", "-1", "1001", "100000", "x", "1,5"])
def test_a_wrong_number_of_vouchers_is_said_once(rosieres: Town, count: str) -> None:
    page = url("checkout.voucher", "batch", rosieres.rows["checkout.voucher"].pk)
    form = client_of(rosieres.agent).post(page, {"batch": "Autre", "count": count}).context["form"]
    assert form.errors == {"count": ["Écrivez un nombre de bons, de 1 à 1\u202f000."]}


def test_an_address_without_account_is_said_as_who_asks_sees_accounts(rosieres: Town) -> None:
    page, wrong = (
        url("checkout.voucher", "batch", rosieres.rows["checkout.voucher"].pk),
        {"batch": "x", "emails": "a@b.fr"},
    )
    for user, said in ((rosieres.agent, "Sans compte, ou pas de votre commune"), (agent_of(), "Sans compte")):
        assert client_of(user).post(page, wrong).context["form"].errors["emails"] == [f"{said}\u00a0: a@b.fr."]


def test_a_batch_needs_a_number_or_people_and_a_name_of_its_own(rosieres: Town) -> None:
    client = client_of(rosieres.agent)
    page = url("checkout.voucher", "batch", rosieres.rows["checkout.voucher"].pk)
    client.post(page, {"batch": "Noël", "count": "1"})
    for data, words in (
        ({"batch": "Autre"}, "l’un des deux"),
        ({"batch": "Autre", "count": "1", "emails": "a@b.fr"}, "l’un des deux"),
        ({"batch": "Noël", "count": "1"}, "porte déjà ce nom"),
        ({"batch": "Autre", "count": "1", "start": "é"}, "début des codes"),
    ):
        assert words in client.post(page, data).content.decode()
    assert Voucher.objects.exclude(batch="").count() == 1


def test_another_communes_batch_is_missing(rosieres: Town, aiguilhe: Town) -> None:
    client_of(rosieres.agent).post(
        url("checkout.voucher", "batch", rosieres.rows["checkout.voucher"].pk), {"batch": "Noël", "count": "1"}
    )
    other = client_of(aiguilhe.agent)
    assert other.get(url("checkout.voucher", "batch_csv") + "?lot=Noël").status_code == 404
    assert other.get(url("checkout.voucher", "batch", rosieres.rows["checkout.voucher"].pk)).status_code == 404
    assert "Noël" not in other.get(url("checkout.voucher", "changelist")).content.decode()


def test_a_formula_in_a_label_stays_text(operator: User) -> None:
    model = voucher(label="=1+1")
    client = client_of(operator)
    client.post(url("checkout.voucher", "batch", model.pk), {"batch": "F", "count": "1"})
    assert ";'=1+1;" in client.get(url("checkout.voucher", "batch_csv") + "?lot=F").content.decode()


def test_only_what_was_not_promised_changes(operator: User) -> None:
    shop = open_shop(credit="50")
    row = voucher()
    order_with(shop, "RENTREE10", total="28.44", means=Means.WALLET)
    client = client_of(operator)
    values = form_values(client.get(url("checkout.voucher", "change", row.pk)))
    assert not {"code", "percent", "amount", "commune", "user", "used"} & set(values)
    client.post(url("checkout.voucher", "change", row.pk), values | {"label": "Rentrée 2026", "percent": "90"})
    row.refresh_from_db()
    assert (row.label, row.percent, row.used) == ("Rentrée 2026", 10, 1)
