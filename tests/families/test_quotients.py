"""« Mon quotient familial »: declared with a proof, validated by staff, one in force at a time."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.backends.postgresql.psycopg_any import DateRange
from django.test import Client
from django.utils import timezone

from accounts.documents import add_document
from accounts.models import CommuneFile, SupportingDocument, User
from families.models import IncomeQuotient
from families.quotients import declare_quotient, forget_proofs, refuse_quotient, validate_quotient
from portal.common.errors import Refused
from portal.common.formats import today
from portal.outbox.models import Email
from tests.accounts.test_documents import pdf
from tests.factories import CommuneFactory, QuotientFactory, UserFactory, agent_of

pytestmark = pytest.mark.django_db
PAGE = "/mon-compte/quotient-familial/"
Status = IncomeQuotient.Status


def proof() -> SimpleUploadedFile:
    return SimpleUploadedFile("attestation.pdf", pdf(), content_type="application/pdf")


@pytest.fixture
def user() -> User:
    found: User = UserFactory(first_name="Camille", last_name="Dupont")
    return found


@pytest.fixture
def agent(user: User) -> User:
    commune = CommuneFactory()
    CommuneFile.objects.create(user=user, commune=commune, reason=CommuneFile.Reason.REQUEST)
    found: User = agent_of(commune)
    return found


@pytest.fixture
def browser(client: Client, user: User) -> Client:
    client.force_login(user)
    client.get("/mon-compte/")
    return client


def test_a_declaration_waits_with_its_proof(browser: Client, user: User) -> None:
    page = browser.post(PAGE, {"value": "820", "proof": proof()}, follow=True)
    assert "en cours de vérification" in page.content.decode()
    row = IncomeQuotient.objects.get()
    assert (row.value, row.status, row.valid.lower) == (820, Status.PENDING, today())
    assert (row.valid.upper.month, row.valid.upper.day) == (9, 1)
    assert row.document is not None and row.document.kind == SupportingDocument.Kind.INCOME
    assert "Envoyer ma déclaration" not in page.content.decode()  # one at a time


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("", "Renseignez"),
        ("820,50", "nombre entier"),
        ("-3", "0 ou plus"),
        ("99999", "trop élevé"),
        ("\x00", "nombre entier"),
    ],
)
def test_a_value_that_is_none(browser: Client, value: str, sentence: str) -> None:
    page = browser.post(PAGE, {"value": value, "proof": proof()})
    assert page.status_code == 200 and sentence in page.content.decode()
    assert not IncomeQuotient.objects.exists()


def test_a_proof_that_is_none(browser: Client) -> None:
    page = browser.post(PAGE, {"value": "820", "proof": SimpleUploadedFile("a.pdf", b"<html>")})
    assert "ni un PDF" in page.content.decode()
    page = browser.post(PAGE, {"value": "820"})
    assert page.status_code == 200
    assert not IncomeQuotient.objects.exists() and not SupportingDocument.objects.exists()


def test_a_second_declaration_waits_for_the_first(browser: Client, user: User) -> None:
    QuotientFactory(user=user)
    page = browser.post(PAGE, {"value": "700", "proof": proof()}, follow=True)
    assert "attend déjà d’être vérifiée" in page.content.decode()
    browser.post(f"{PAGE}annuler/")
    assert not IncomeQuotient.objects.exists()
    browser.post(PAGE, {"value": "700", "proof": proof()})
    assert IncomeQuotient.objects.get().value == 700


def test_withdrawing_touches_nobody_elses_and_nothing_decided(browser: Client, user: User, agent: User) -> None:
    other, decided = QuotientFactory(), QuotientFactory(user=user)
    validate_quotient(quotient=decided, by=agent)
    browser.post(f"{PAGE}annuler/")
    assert set(IncomeQuotient.objects.values_list("pk", flat=True)) == {other.pk, decided.pk}


def test_validated_it_counts_and_the_one_before_ends(browser: Client, user: User, agent: User) -> None:
    old: Any = QuotientFactory(user=user, value=600, valid=DateRange(today() - dt.timedelta(days=90), None))
    validate_quotient(quotient=old, by=agent)
    new = declare_quotient(user=user, value=900, proof=proof(), by=user)
    validate_quotient(quotient=new, by=agent)
    old.refresh_from_db()
    assert (old.status, old.valid.upper) == (Status.VALIDATED, today())
    assert Email.objects.filter(key=f"quotient:{new.pk}:validated", to=user.email).count() == 1
    page = browser.get(PAGE).content.decode()
    assert "Quotient familial validé\u00a0: 900" in page or "Quotient familial validé&nbsp;: 900" in page


def test_one_of_the_same_day_is_replaced(user: User, agent: User) -> None:
    first = QuotientFactory(user=user)
    validate_quotient(quotient=first, by=agent)
    second = QuotientFactory(user=user, value=700)
    validate_quotient(quotient=second, by=agent)
    first.refresh_from_db()
    assert first.status == Status.REFUSED and "Remplacé" in first.reason


def test_a_refusal_has_a_reason_that_is_written_to_the_family(browser: Client, user: User, agent: User) -> None:
    row = QuotientFactory(user=user)
    with pytest.raises(Refused, match="motif"):
        refuse_quotient(quotient=row, reason=" ", by=agent)
    refuse_quotient(quotient=row, reason="L’attestation est illisible.", by=agent)
    assert "illisible" in Email.objects.get(key=f"quotient:{row.pk}:refused").body
    assert "L’attestation est illisible." in browser.get(PAGE).content.decode()
    with pytest.raises(Refused, match="déjà reçu"):
        validate_quotient(quotient=row, by=agent)


def test_who_may_decide(user: User, agent: User) -> None:
    row = QuotientFactory(user=user)
    with pytest.raises(Refused, match="ne dépend pas"):
        validate_quotient(quotient=row, by=agent_of(CommuneFactory()))
    own = QuotientFactory(user=agent)
    with pytest.raises(Refused, match="votre propre quotient"):
        validate_quotient(quotient=own, by=agent)
    assert validate_quotient(quotient=row, by=agent).decided_by == agent


def test_the_page_costs_the_same_whatever_was_declared(
    browser: Client, user: User, agent: User, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(6):
        browser.get(PAGE)
    for number in range(5):
        refuse_quotient(quotient=QuotientFactory(user=user, value=number), reason="Non", by=agent)
    with django_assert_max_num_queries(6):
        browser.get(PAGE)


def test_its_proof_goes_some_time_after_the_decision(
    user: User, agent: User, settings: Any, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    settings.MEDIA_ROOT, settings.PROOFS_KEPT_DAYS = tmp_path, 90
    row = declare_quotient(user=user, value=820, proof=proof(), by=user)
    assert row.document is not None
    path = Path(row.document.file.path)
    later = timezone.now() + dt.timedelta(days=400)
    assert forget_proofs(at=later) == 0  # nobody has decided
    validate_quotient(quotient=row, by=agent)
    assert forget_proofs(at=timezone.now() + dt.timedelta(days=89)) == 0 and path.exists()
    with django_capture_on_commit_callbacks(execute=True):
        assert forget_proofs(at=later) == 1
    row.refresh_from_db()
    assert row.document is None and row.status == Status.VALIDATED and row.value == 820 and not path.exists()
    assert not SupportingDocument.objects.exists() and forget_proofs(at=later) == 0


def test_a_person_s_own_documents_stay_theirs(user: User) -> None:
    add_document(user=user, kind=SupportingDocument.Kind.INCOME, upload=proof(), by=user)
    assert forget_proofs(at=timezone.now() + dt.timedelta(days=4000)) == 0 and SupportingDocument.objects.exists()
