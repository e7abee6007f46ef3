"""Absences: what may be reported, what the rule gives back, the certificate, and what the service decides."""

import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pgtrigger
import pikepdf
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from accounts.models import User
from bookings.absence_actions import add_proof, forget_proofs, plans, report_absence, reportable, withdraw_absence
from bookings.absences import Absence, AbsenceDay, AbsenceProof
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings, cancel_for, justify_absence, refuse_absence
from checkout.models import OrderLine
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import PARIS, today
from portal.outbox.models import Email
from services.models import AbsenceRule, OpenDay, Service
from tests.checkout.conftest import MaxQueries
from tests.checkout.http import text
from tests.factories import AbsenceRuleFactory, CommuneFactory, FiliationFactory, OpenDayFactory, UserFactory, agent_of
from tests.guards import guarded, sql, undone
from tests.shop import Shop, open_shop
from tests.vouchers.making import order_with, voucher
from wallet.actions import revenue_code
from wallet.models import Account

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def pdf(name: str = "certificat.pdf") -> SimpleUploadedFile:
    with pikepdf.new() as document:
        document.add_blank_page(page_size=(200, 200))
        output = io.BytesIO()
        document.save(output)
    return SimpleUploadedFile(name, output.getvalue())


def away(rule: AbsenceRule | None = None, days: int = 5, children: int = 1, first: int = 1) -> Shop:
    """A family booked from tomorrow on (or `first` days from today), past every deadline to cancel."""
    shop = open_shop(days=0, children=children, credit="500")
    shop.days = [
        OpenDayFactory(activity=shop.activity, date=today() + dt.timedelta(days=first + index)) for index in range(days)
    ]
    soon = timezone.now() + dt.timedelta(hours=1)
    OpenDay.objects.update(book_until=soon, cancel_until=soon)
    shop.add()
    shop.pay(Means.WALLET, Decimal("7.90") * days * children)
    OpenDay.objects.update(cancel_until=timezone.now() - dt.timedelta(hours=1))
    Service.objects.update(absence_rule=rule)
    return shop


def ids(shop: Shop, *indexes: int) -> list[int]:
    rows = list(Booking.objects.filter(made_by=shop.user, beneficiary=shop.children[0]).order_by("period"))
    return [rows[index].pk for index in indexes] if indexes else [row.pk for row in rows]


def report(shop: Shop, *indexes: int, upload: SimpleUploadedFile | None = None) -> Absence:
    (made,) = report_absence(
        user=shop.user,
        beneficiary=shop.children[0],
        ids=ids(shop, *indexes),
        kind="illness",
        upload=upload,
        by=shop.user,
    )
    return made


def agent(shop: Shop) -> User:
    commune = shop.activity.service.commune
    assert commune is not None
    return agent_of(commune)


def refundable(absence: Absence) -> list[bool]:
    return list(absence.days.order_by("booking__period").values_list("refundable", flat=True))


def code_of(refusal: "pytest.ExceptionInfo[Refused]") -> str:
    return refusal.value.code


class TestCarence:
    def test_the_day_and_the_two_following_are_not_refunded(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=3))
        assert refundable(report(shop)) == [False, False, False, True, True]

    def test_never_is_never(self) -> None:
        shop = away(None)
        assert refundable(report(shop)) == [False] * 5 and not Absence.objects.to_decide().exists()

    def test_days_of_the_calendar_count_not_bookings(self) -> None:
        """Booked on the first and the fourth day of an absence: the fourth is past its three days."""
        shop = away(AbsenceRuleFactory(waiting=3), days=4)
        rows = ids(shop)
        OpenDay.objects.update(cancel_until=timezone.now() + dt.timedelta(hours=1))
        cancel_bookings(ids=rows[1:3], by=shop.user)
        OpenDay.objects.update(cancel_until=timezone.now() - dt.timedelta(hours=1))
        assert refundable(report(shop, 0, 3)) == [False, True]

    def test_an_absence_goes_on_over_two_reports(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=3))
        report(shop, 0, 1)
        assert refundable(report(shop, 2, 3, 4)) == [False, True, True]

    def test_a_day_on_which_the_child_came_ends_it(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=2))
        assert refundable(report(shop, 0, 1, 3, 4)) == [False, False, False, False]

    def test_what_was_promised_stays_when_the_rule_changes(self) -> None:
        rule = AbsenceRuleFactory(waiting=1)
        shop = away(rule, days=2)
        absence = report(shop)
        AbsenceRule.objects.filter(pk=rule.pk).update(waiting_days=9)
        justify_absence(absence=absence, by=agent(shop))
        assert shop.balance == Decimal("500") - Decimal("7.90")


class TestReporting:
    def test_what_may_still_be_cancelled_is_cancelled_instead(self) -> None:
        shop = away(AbsenceRuleFactory())
        OpenDay.objects.filter(pk=shop.days[4].pk).update(cancel_until=timezone.now() + dt.timedelta(hours=1))
        assert len(reportable(shop.user, shop.children[0])) == 4
        with pytest.raises(Refused) as refusal:
            report(shop)
        assert code_of(refusal) == "not_reportable" and not Absence.objects.exists()

    def test_the_other_parent_reports_too_and_it_counts_once(self) -> None:
        shop = away(AbsenceRuleFactory())
        other = FiliationFactory(beneficiary=shop.children[0]).user
        OpenDay.objects.update(cancel_until=timezone.now() + dt.timedelta(hours=1))  # by the one who booked
        report_absence(user=other, beneficiary=shop.children[0], ids=ids(shop, 0), kind="family", by=other)
        OpenDay.objects.update(cancel_until=timezone.now() - dt.timedelta(hours=1))
        with pytest.raises(Refused) as refusal:
            report(shop, 0)
        assert code_of(refusal) == "not_reportable" and AbsenceDay.objects.count() == 1

    def test_a_strangers_child_is_not_reported(self) -> None:
        shop, stranger = away(AbsenceRuleFactory()), UserFactory()
        with pytest.raises(Refused) as refusal:
            report_absence(user=stranger, beneficiary=shop.children[0], ids=ids(shop), kind="illness", by=stranger)
        assert code_of(refusal) == "not_yours"

    def test_neither_is_a_booking_of_another_child(self) -> None:
        shop = away(AbsenceRuleFactory(), children=2)
        others = Booking.objects.filter(beneficiary=shop.children[1]).values_list("pk", flat=True)
        with pytest.raises(Refused) as refusal:
            report_absence(user=shop.user, beneficiary=shop.children[0], ids=list(others), kind="illness", by=shop.user)
        assert code_of(refusal) == "not_reportable"

    def test_a_hostile_file_stops_everything(self) -> None:
        shop = away(AbsenceRuleFactory())
        with pytest.raises(Refused) as refusal:
            report(shop, upload=SimpleUploadedFile("certificat.pdf", b"<html><script>"))
        assert code_of(refusal) == "format" and not Absence.objects.exists()

    def test_the_family_is_confirmed_and_the_service_told(self) -> None:
        shop = away(AbsenceRuleFactory(), days=2)
        staff = agent(shop)
        report(shop)
        mail = Email.objects.get(key__startswith="absence:")
        assert mail.to == shop.user.email and "certificat est attendu" in mail.body
        told = Email.objects.get(to=staff.email)  # who is away; nothing to decide without a certificate
        assert told.subject == "Des absences sont signalées aujourd’hui" and shop.children[0].last_name not in told.body
        add_proof(absence=Absence.objects.get(), upload=pdf(), by=shop.user)
        assert set(Email.objects.filter(to=staff.email).values_list("subject", flat=True)) == {
            told.subject,
            "Des demandes attendent votre réponse",
        }

    def test_withdrawn_it_may_be_reported_again(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=1))
        first = report(shop, 0)
        with pytest.raises(Refused):
            withdraw_absence(absence=first, by=UserFactory())
        withdraw_absence(absence=first, by=shop.user)
        with pytest.raises(Refused):
            withdraw_absence(absence=first, by=shop.user)
        assert report(shop, 0).pk != first.pk
        with pytest.raises(Refused) as refusal:
            justify_absence(absence=first, by=agent(shop))
        assert code_of(refusal) == "already_decided"


class TestCertificate:
    def test_in_time_it_gives_everything_back_to_whoever_paid(self) -> None:
        shop = away(AbsenceRuleFactory(), days=3)
        other = FiliationFactory(beneficiary=shop.children[0]).user
        (absence,) = report_absence(
            user=other, beneficiary=shop.children[0], ids=ids(shop, 0, 1), kind="illness", upload=pdf(), by=other
        )
        assert Absence.objects.to_decide().get() == absence
        staff = agent(shop)
        (refund,) = justify_absence(absence=absence, by=staff)
        assert (refund.payer, refund.total) == (shop.user, Decimal("15.80"))
        assert shop.balance == Decimal("500") - Decimal("7.90") and not hasattr(other, "wallet")
        revenue = Account.objects.get(code=revenue_code(shop.activity.service.commune))
        assert revenue.balance() == Decimal("7.90") and list(verify()) == []
        ended = Booking.objects.filter(status="cancelled")
        assert set(ended.values_list("ended_by", "ended_reason")) == {(staff.pk, "Absence justifiée")}
        assert OrderLine.objects.filter(refund__isnull=False).count() == 2
        mails = {mail.to: mail.body for mail in Email.objects.filter(key__contains=":justified:")}
        assert set(mails) == {shop.user.email, other.email}
        assert "15,80" in mails[shop.user.email] and "15,80" not in mails[other.email]

    def test_the_e_mail_says_what_becomes_of_a_voucher(self) -> None:
        shop = open_shop(days=2, credit="100")
        voucher()
        order_with(shop, "RENTREE10", total="14.22")
        OpenDay.objects.update(cancel_until=timezone.now() - dt.timedelta(hours=1))
        Service.objects.update(absence_rule=AbsenceRuleFactory())
        absence = report(shop, 0, upload=pdf())
        (refund,) = justify_absence(absence=absence, by=agent(shop))
        assert refund.total == Decimal("7.11")
        body = Email.objects.get(key__contains=":justified:").body
        assert "dont part des bons de réduction : 0,79\u00a0€" in body and "RENTREE10 reste utilisé" in body

    def test_without_one_nothing_is_given_back(self) -> None:
        shop = away(AbsenceRuleFactory())
        absence = report(shop)
        with pytest.raises(Refused) as refusal:
            justify_absence(absence=absence, by=agent(shop))
        absence.refresh_from_db()
        assert code_of(refusal) == "no_certificate" and absence.status == "reported"

    def test_its_time_runs_from_the_first_hour_missed(self) -> None:
        shop = away(AbsenceRuleFactory())
        absence = report(shop, 1, 2)
        first = Booking.objects.get(pk=ids(shop, 1)[0])
        assert absence.certificate_until == first.period.lower + dt.timedelta(hours=48)

    def test_one_that_comes_too_late_is_refused_and_does_not_count(self) -> None:
        shop = away(AbsenceRuleFactory())
        absence = report(shop, 0)
        with_limit = Absence.objects.filter(pk=absence.pk)
        with pgtrigger.ignore("bookings.Absence:absence_is_frozen"):
            with_limit.update(certificate_until=timezone.now() - dt.timedelta(minutes=1))
        with pytest.raises(Refused) as refusal:
            add_proof(absence=absence, upload=pdf(), by=shop.user)
        assert code_of(refusal) == "too_late" and not AbsenceProof.objects.exists()
        # Sent with a report that itself came too late, it is kept, and changes nothing.
        AbsenceProof.objects.create(absence=absence, file="x", name="x", size=1, sent_by=shop.user)
        assert not Absence.objects.to_decide().exists()
        with pytest.raises(Refused) as refusal:
            justify_absence(absence=absence, by=agent(shop))
        assert code_of(refusal) == "no_certificate"

    @pytest.mark.parametrize("decided", [True, False], ids=["decided", "never decided"])
    def test_its_file_goes_when_nobody_needs_it_any_more(
        self, decided: bool, settings: Any, django_capture_on_commit_callbacks: Any
    ) -> None:
        """A certificate is health data: it is kept for as long as the decision may be questioned, and its trace for good."""
        settings.PROOFS_KEPT_DAYS = 90
        shop = away(AbsenceRuleFactory())
        absence = report(shop, 0, upload=pdf())
        proof = AbsenceProof.objects.get()
        path, client = Path(proof.file.path), Client()
        client.force_login(shop.user)
        if decided:
            justify_absence(absence=absence, by=agent(shop))
        start = timezone.now()
        kept, gone = start + dt.timedelta(days=89), start + dt.timedelta(days=95)
        assert forget_proofs(at=kept) == 0 and path.exists()
        with django_capture_on_commit_callbacks(execute=True):
            assert forget_proofs(at=gone) == 1
        proof.refresh_from_db()
        assert not path.exists() and not proof.file and proof.forgotten_at == gone and proof.sent_at < start
        assert forget_proofs(at=gone) == 0  # once
        page = f"/mon-compte/absences/{absence.pk}/"
        assert "effacé le" in text(client.get(page))
        assert client.get(f"{page}pieces/{proof.pk}/").status_code == 404

    def test_a_proof_has_its_file_until_it_is_forgotten(self) -> None:
        report(away(AbsenceRuleFactory()), 0, upload=pdf())
        name = "proof_has_its_file_until_it_is_forgotten"
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        for fault in ({"file": ""}, {"forgotten_at": timezone.now()}):
            with undone():
                sql(f"ALTER TABLE bookings_absenceproof DROP CONSTRAINT {name}")
                assert AbsenceProof.objects.update(**fault) == 1
            with pytest.raises(IntegrityError, match=name), transaction.atomic():
                AbsenceProof.objects.update(**fault)

    def test_not_to_an_absence_of_strangers(self) -> None:
        absence = report(away(AbsenceRuleFactory()))
        with pytest.raises(Absence.DoesNotExist):
            add_proof(absence=absence, upload=pdf(), by=UserFactory())


class TestDeciding:
    def test_refused_with_a_reason_and_justified_on_second_thoughts(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=1), days=2)
        staff, absence = agent(shop), report(shop)
        with pytest.raises(Refused) as refusal:
            refuse_absence(absence=absence, reason=" ", by=staff)
        assert code_of(refusal) == "reason_missing"
        refuse_absence(absence=absence, reason="L’enfant était là.", by=staff)
        assert "L’enfant était là." in Email.objects.get(key__contains=":refused:").body
        assert Booking.objects.booked().count() == 2
        justify_absence(absence=absence, by=staff)
        justified_once = shop.balance
        for act in (
            lambda: justify_absence(absence=absence, by=staff),
            lambda: refuse_absence(absence=absence, reason="x", by=staff),
        ):
            with pytest.raises(Refused) as refusal:
                act()
            assert code_of(refusal) == "already_decided"
        assert shop.balance == justified_once == Decimal("500") - Decimal("7.90")

    def test_not_by_another_commune(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=1))
        with pytest.raises(Refused) as refusal:
            justify_absence(absence=report(shop), by=agent_of(CommuneFactory()))
        assert code_of(refusal) == "out_of_scope"

    def test_what_was_cancelled_meanwhile_is_not_paid_twice(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=1), days=2)
        absence = report(shop)
        OpenDay.objects.update(cancel_until=timezone.now() + dt.timedelta(hours=1))
        cancel_bookings(ids=ids(shop), by=shop.user)
        assert justify_absence(absence=absence, by=agent(shop)) == []
        assert shop.balance == 500 and list(verify()) == []

    def test_in_the_administration(self) -> None:
        shop = away(AbsenceRuleFactory(), days=2)
        absence = report(shop, upload=pdf())
        client = Client()
        client.force_login(agent(shop), backend="allauth.account.auth_backends.AuthenticationBackend")
        assert "Absence à décider" in text(client.get("/admin/"))
        listed = client.get("/admin/bookings/absence/?etat=a-decider")
        assert str(absence.beneficiary) in text(listed)
        page = client.get(f"/admin/bookings/absence/{absence.pk}/change/")
        assert "certificat.pdf" in text(page)
        proof = client.get(f"/admin/bookings/absence/{absence.pk}/pieces/{absence.proofs.get().pk}/")
        assert proof["Content-Disposition"].startswith("attachment") and "sandbox" in proof["Content-Security-Policy"]
        answer = client.post(
            f"/admin/bookings/absence/{absence.pk}/valider/", {"seen": page.context["decision"].seen}, follow=True
        )
        assert "c’est validé" in text(answer) and shop.balance == 500
        again = client.get(f"/admin/bookings/absence/{absence.pk}/change/")
        assert not again.context["decision"].may_refuse and "Refuser" not in text(again)

    def test_a_stranger_to_the_commune_reads_no_certificate(self) -> None:
        absence = report(away(AbsenceRuleFactory()), upload=pdf())
        client = Client()
        client.force_login(agent_of(CommuneFactory()), backend="allauth.account.auth_backends.AuthenticationBackend")
        assert client.get(f"/admin/bookings/absence/{absence.pk}/pieces/{absence.proofs.get().pk}/").status_code == 404


class TestVerification:
    """What no action does, somebody with a psql prompt could: the nightly check says it."""

    def test_a_cancelled_place_whose_price_was_kept(self) -> None:
        away(None, days=1)
        Booking.objects.update(status="cancelled", ended_at=timezone.now())
        assert any("ligne non rendue" in line for line in verify())

    def test_a_price_paid_back_for_a_place_that_stays(self) -> None:
        away(None, days=1)
        OrderLine.objects.update(cancelled_at=timezone.now())
        assert any("place toujours réservée" in line for line in verify())

    def test_a_justified_absence_that_gave_nothing_back(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=1), days=2)
        report(shop)
        Absence.objects.update(status="justified", decided_at=timezone.now(), decided_by=agent(shop))
        assert [line for line in verify() if "n’est pas rendu" in line] and len(list(verify())) == 1


class TestPages:
    def browser(self, user: User) -> Client:
        client = Client()
        client.force_login(user)
        client.get("/")
        return client

    def test_from_the_days_to_the_confirmation(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=3))
        client = self.browser(shop.user)
        days = client.get("/mon-compte/absences/signaler/")
        assert [row.pk for row in days.context["rows"]] == ids(shop)
        again = client.get("/mon-compte/absences/signaler/", {"enfant": shop.children[0].pk, "jours": "1"})
        assert "Cochez au moins une réservation." in text(again)
        recap = client.get("/mon-compte/absences/signaler/", {"r": ids(shop)})
        words = text(recap)
        assert words.count("non remboursé") == 3 and "votre porte-monnaie recevra 15,80 €" in words
        assert not Absence.objects.exists()
        sent = {"enfant": shop.children[0].pk, "r": ids(shop)}
        missing = client.post("/mon-compte/absences/signaler/", sent)
        assert "Dites pourquoi" in text(missing) and not Absence.objects.exists()
        done = client.post("/mon-compte/absences/signaler/", {**sent, "kind": "illness", "note": "Grippe"}, follow=True)
        assert "le service est prévenu" in text(done) and "Signalée" in text(done)
        twice = client.post("/mon-compte/absences/signaler/", {**sent, "kind": "illness"}, follow=True)
        assert "C’est déjà fait" in text(twice) and Absence.objects.count() == 1

    def test_what_gave_nothing_back_says_so(self) -> None:
        shop = away(AbsenceRuleFactory(refund="waiting", waiting_days=0), days=2)
        absence = report(shop, 0, 1)
        cancel_for(ids=ids(shop, 0), by=agent(shop), reason="Grève", override=True)
        page = f"/mon-compte/absences/{absence.pk}/"
        before = shop.balance
        justify_absence(absence=absence, by=agent(shop))
        words = text(self.browser(shop.user).get(page))
        assert shop.balance - before == Decimal("7.90")
        assert "7,90 € sont revenus" in words and "annulée avant : Grève" in words
        other = away(AbsenceRuleFactory(refund="waiting", waiting_days=0), days=1)
        refused, page = report(other), ""
        refuse_absence(absence=refused, reason="Présent ce jour-là", by=agent(other))
        page = f"/mon-compte/absences/{refused.pk}/"
        words = text(self.browser(other.user).get(page))
        assert "Rien n’est remboursé" in words and "non remboursé" in words and "7,90" not in words

    def test_an_error_is_said_once_in_the_title_and_on_the_first_screen(self) -> None:
        shop = away(AbsenceRuleFactory(), days=1)
        page = self.browser(shop.user).post("/mon-compte/absences/signaler/", {"r": ids(shop)}).content.decode()
        title = page[page.index("<title>") : page.index("</title>")]
        assert title.count("Erreur") == 1 and page.count("errors-title") == 2  # the box and what names it
        assert page.index("errors-title") < page.index("back-list")

    def test_a_certificate_is_sent_read_and_kept_from_the_other_parent(self) -> None:
        shop = away(AbsenceRuleFactory())
        other = FiliationFactory(beneficiary=shop.children[0]).user
        absence = report(shop)
        mine, theirs = self.browser(shop.user), self.browser(other)
        page = f"/mon-compte/absences/{absence.pk}/"
        assert "Choisissez d’abord un fichier." in text(mine.post(page))
        assert "est bien arrivé" in text(mine.post(page, {"file": pdf()}, follow=True))
        proof = absence.proofs.get()
        answer = mine.get(f"{page}pieces/{proof.pk}/")
        assert answer.status_code == 200 and answer["Content-Disposition"].startswith("attachment")
        assert theirs.get(f"{page}pieces/{proof.pk}/").status_code == 404
        words = text(theirs.get(page))
        assert proof.name not in words and "7,90" not in words and "remboursable à qui a payé" in words

    @pytest.mark.parametrize("query", ["?enfant=x", "?enfant=²", "?r=x", "?r=99999999999999999999999", "?enfant=9&r=1"])
    def test_what_cannot_be_read_is_passed_over(self, query: str) -> None:
        assert self.browser(away(None).user).get(f"/mon-compte/absences/signaler/{query}").status_code == 200

    @pytest.mark.parametrize("days", [2, 30])
    def test_pages_do_not_cost_more_with_more_in_them(self, at_most: MaxQueries, days: int) -> None:
        shop = away(AbsenceRuleFactory(waiting=3), days=days)
        client = self.browser(shop.user)
        with at_most(8):
            client.get("/mon-compte/absences/signaler/")
        with at_most(9):
            client.get("/mon-compte/absences/signaler/", {"r": ids(shop)})
        absence = report(shop)
        with at_most(9):
            client.get("/mon-compte/absences/")
        with at_most(9):
            client.get(f"/mon-compte/absences/{absence.pk}/")

    def test_the_list_is_narrowed_to_absences_and_a_booking_tells_of_its_own(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=1), days=3)
        absence = report(shop, 0, 1)
        client = self.browser(shop.user)
        page = client.get("/mon-compte/reservations/", {"vue": "liste", "etat": "absences"})
        assert [line.booking.pk for _date, lines in page.context["days"] for line in lines] == ids(shop, 0, 1)
        assert text(page).count("Absence signalée") >= 2
        justify_absence(absence=absence, by=agent(shop))
        words = text(client.get(f"/mon-compte/reservations/{ids(shop, 1)[0]}/"))
        assert "Absence : justifiée" in words and "par le service" in words and "Annulée : Absence justifiée" in words
        assert "revenu dans votre porte-monnaie" in words

    def test_a_service_says_its_rule_to_everybody(self) -> None:
        shop = away(AbsenceRuleFactory(waiting=3))
        assert "les deux suivants ne sont pas remboursés" in text(
            Client().get(shop.activity.service.get_absolute_url())
        )

    def test_planning_asks_one_question(self, at_most: MaxQueries) -> None:
        shop = away(AbsenceRuleFactory(waiting=3))
        rows = list(reportable(shop.user, shop.children[0]))
        with at_most(1):
            plans(rows)
        assert rows[0].period.lower.astimezone(PARIS).date() == shop.days[0].date


class TestGuards:
    def test_a_booking_is_absent_once(self) -> None:
        shop = away(None, days=1)
        absence = report(shop)
        with pytest.raises(IntegrityError, match="absent_once"), transaction.atomic():
            AbsenceDay.objects.create(absence=absence, booking=Booking.objects.get(), refundable=True)

    @pytest.mark.parametrize(
        "guard, change",
        [
            ("bookings.Absence:absence_is_frozen", {"refund": "waiting"}),
            ("bookings.Absence:absence_is_frozen", {"waiting_days": 1}),
            ("bookings.Absence:absence_is_frozen", {"kind": "other"}),
            ("bookings.AbsenceDay:absence_day_is_frozen", {"refundable": True}),
        ],
    )
    def test_what_was_promised_is_frozen(self, guard: str, change: dict[str, Any]) -> None:
        report(away(None, days=1))
        model = Absence if ".Absence:" in guard else AbsenceDay
        guarded(
            guard,
            lambda: model.objects.update(**change),
            "Cannot update",
            lambda: model.objects.filter(**change).exists(),
        )

    def test_when_a_certificate_came_is_frozen(self) -> None:
        report(away(AbsenceRuleFactory(), days=1), upload=pdf())
        early = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        guarded(
            "bookings.AbsenceProof:proof_is_frozen",
            lambda: AbsenceProof.objects.update(sent_at=early),
            "Cannot update",
            lambda: AbsenceProof.objects.filter(sent_at=early).exists(),
        )

    @pytest.mark.parametrize(
        "start, end", [("justified", "refused"), ("justified", "reported"), ("withdrawn", "justified")]
    )
    def test_a_status_moves_only_along_declared_transitions(self, start: str, end: str) -> None:
        shop = away(AbsenceRuleFactory(waiting=1), days=1)
        absence, staff = report(shop), agent(shop)
        if start == "withdrawn":
            withdraw_absence(absence=absence, by=shop.user)
        else:
            justify_absence(absence=absence, by=staff)
        signed = end in {"justified", "refused"}
        guarded(
            "bookings.Absence:absence_transitions",
            lambda: Absence.objects.update(
                status=end,
                decided_at=timezone.now() if signed else None,
                decided_by=staff if signed else None,
                decision_reason="x",
            ),
            "Invalid transition",
            lambda: Absence.objects.filter(status=end).exists(),
        )

    @pytest.mark.parametrize(
        "guard", ["bookings.Absence:absences_are_kept", "bookings.AbsenceDay:absence_days_are_kept"]
    )
    def test_what_is_kept_is_not_deleted(self, guard: str) -> None:
        report(away(None, days=1))
        model = Absence if ".Absence:" in guard else AbsenceDay
        if model is Absence:
            with pgtrigger.ignore("bookings.AbsenceDay:absence_days_are_kept"):
                AbsenceDay.objects.all()._raw_delete("default")
        guarded(
            guard,
            lambda: model.objects.all()._raw_delete("default"),
            "Cannot delete",
            lambda: not model.objects.exists(),
        )
