"""Schools: declared by the family, confirmed by the mairie of the school; which children an activity is for."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import Error, IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from accounts.models import User
from bookings.models import Booking
from checkout.actions import cancel_bookings
from families.actions import confirm_school, declare_school
from families.limits import Limits
from families.models import Beneficiary, Enrolment
from portal.common.errors import Refused
from portal.common.formats import today
from services.models import Activity, Classroom, Level, School
from services.school_calendar import school_year, years_to_declare
from tests.factories import (
    ActivityFactory,
    BeneficiaryFactory,
    ClassroomFactory,
    EnrolmentFactory,
    FiliationFactory,
    SchoolFactory,
    UserFactory,
    agent_of,
)
from tests.guards import guarded
from tests.shop import Shop, open_shop
from tests.waiting import entries, full_shop, neighbour, statuses, wait

pytestmark = pytest.mark.django_db
YEAR = school_year(today())[0].year
DAY = dt.date(2027, 6, 16)


def child(born: str | None = "2018-05-10", **facts: Any) -> Beneficiary:
    row: Beneficiary = BeneficiaryFactory(
        first_name="Louane", birth_date=dt.date.fromisoformat(born) if born else None, **facts
    )
    return row


def why(activity: Activity, person: Beneficiary, date: dt.date = DAY) -> str:
    return Limits(activity, [person]).why_not(person, date).replace("\xa0", " ")


class TestDeclaring:
    def declare(self, **facts: Any) -> Enrolment:
        parent: User = facts.pop("by", None) or UserFactory()
        person = facts.pop("beneficiary", None) or FiliationFactory(user=parent).beneficiary
        school: School = facts.pop("school", None) or SchoolFactory(levels=["cp", "ce1"])
        return declare_school(beneficiary=person, school=school, level="cp", year=YEAR, by=parent, **facts)

    def test_a_declaration_is_changed_until_it_is_confirmed(self) -> None:
        parent = UserFactory()
        row = self.declare(by=parent)
        school, agent = SchoolFactory(commune=row.school.commune), agent_of(row.school.commune)
        again = self.declare(by=parent, beneficiary=row.beneficiary, school=school)
        assert (again.pk, again.school, again.status) == (row.pk, school, "declared")
        confirmed = confirm_school(enrolment=again, by=agent)
        assert (confirmed.status, confirmed.confirmed_by) == ("confirmed", agent)
        assert self.declare(by=parent, beneficiary=row.beneficiary, school=school).status == "confirmed"
        with pytest.raises(Refused, match="La mairie a confirmé") as refused:
            self.declare(by=parent, beneficiary=row.beneficiary, school=row.school)
        assert refused.value.code == "confirmed"

    def test_a_stranger_s_child_and_a_class_that_is_none(self) -> None:
        with pytest.raises(Refused) as refused:
            self.declare(beneficiary=child())
        assert refused.value.code == "not_yours"
        with pytest.raises(Refused, match="elle a CE1 et CM2"):
            self.declare(school=SchoolFactory(levels=["cm2", "ce1"]))
        assert not Enrolment.objects.exists()

    def test_the_mairie_of_the_school_corrects(self) -> None:
        row = EnrolmentFactory()
        agent, elsewhere = agent_of(row.school.commune), SchoolFactory()
        for school, by in ((None, agent_of(elsewhere.commune)), (elsewhere, agent)):
            with pytest.raises(Refused) as refused:
                confirm_school(enrolment=row, school=school, by=by)
            assert refused.value.code == "out_of_scope"
        done = confirm_school(enrolment=row, level="ce2", by=agent)
        assert (done.level, done.status) == ("ce2", "confirmed")

    def test_a_class_of_the_school(self) -> None:
        parent, school = UserFactory(), SchoolFactory(levels=["cp", "ce1"])
        room = ClassroomFactory(school=school, name="CP de Mme Martin", levels=["cp"], year=YEAR)
        row = self.declare(by=parent, school=school, classroom=room)
        assert row.classroom == room and row.place == f"{school}, CP (CP de Mme Martin)"
        for other, code in (
            (ClassroomFactory(year=YEAR), "other_school"),
            (ClassroomFactory(school=school, year=YEAR + 1), "other_school"),
            (ClassroomFactory(school=school, year=YEAR, levels=["ce1"]), "other_level"),
        ):
            with pytest.raises(Refused) as refused:
                self.declare(by=parent, beneficiary=row.beneficiary, school=school, classroom=other)
            assert refused.value.code == code
        assert self.declare(by=parent, beneficiary=row.beneficiary, school=school).classroom is None

    def test_a_class_that_the_mairie_has_confirmed(self) -> None:
        parent, school = UserFactory(), SchoolFactory()
        one, two = ClassroomFactory(school=school, year=YEAR), ClassroomFactory(school=school, year=YEAR)
        row = confirm_school(enrolment=self.declare(by=parent, school=school), by=agent_of(school.commune))
        again = {"by": parent, "beneficiary": row.beneficiary, "school": school}
        assert self.declare(**again, classroom=one).classroom == one  # what she left open, the family says
        assert self.declare(**again).classroom == one
        with pytest.raises(Refused, match="La mairie a confirmé") as refused:
            self.declare(**again, classroom=two)
        assert refused.value.code == "confirmed"
        by = agent_of(school.commune)
        assert confirm_school(enrolment=row, school=school, classroom=two, by=by).classroom == two
        assert confirm_school(enrolment=row, by=by).classroom == two
        assert confirm_school(enrolment=row, school=school, by=by).classroom is None
        with pytest.raises(Refused) as refused:
            confirm_school(enrolment=row, school=school, classroom=ClassroomFactory(), by=by)
        assert refused.value.code == "other_school"

    def test_guards_of_classes(self) -> None:
        room, elsewhere = ClassroomFactory(levels=["cp"]), SchoolFactory()
        row = EnrolmentFactory(school=room.school)
        for school, level in ((elsewhere, "cp"), (room.school, "cm2")):
            guarded(
                "families.Enrolment:pupil_is_of_the_classroom",
                lambda school=school, level=level: Enrolment.objects.filter(pk=row.pk).update(
                    school=school, level=level, classroom=room
                ),
                "the school, the year and a level of the class",
                lambda: Enrolment.objects.filter(classroom=room).exists(),
            )
        guarded(
            "services.Classroom:classroom_keeps_its_school",
            lambda: Classroom.objects.update(school=elsewhere),
            "Cannot update",
            lambda: Classroom.objects.filter(school=elsewhere).exists(),
        )
        with pytest.raises(IntegrityError, match="one_classroom_per_name"), transaction.atomic():
            ClassroomFactory(school=room.school, name=room.name)
        with pytest.raises(IntegrityError, match="classroom_has_levels"), transaction.atomic():
            ClassroomFactory(levels=[])

    def test_guards(self) -> None:
        row = EnrolmentFactory()
        confirm_school(enrolment=row, by=agent_of())
        guarded(
            "families.Enrolment:enrolment_transitions",
            lambda: Enrolment.objects.update(status="declared", confirmed_at=None, confirmed_by=None),
            "Invalid transition",
            lambda: Enrolment.objects.filter(status="declared").exists(),
        )
        guarded(
            "families.Enrolment:enrolment_is_frozen",
            lambda: Enrolment.objects.update(year=2020),
            "Cannot update",
            lambda: Enrolment.objects.filter(year=2020).exists(),
        )
        with pytest.raises(IntegrityError, match="one_school_a_year"), transaction.atomic():
            EnrolmentFactory(beneficiary=row.beneficiary)
        with pytest.raises(IntegrityError, match="confirmed_enrolment_is_signed"), transaction.atomic():
            EnrolmentFactory(status="confirmed")


class TestPages:
    def test_a_parent_declares_and_reads_it_back(self, django_assert_max_num_queries: Any) -> None:
        link, school = FiliationFactory(), SchoolFactory(name="École du Rocher", levels=["cp"])
        client = Client()
        client.force_login(link.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        address, year = reverse("filiation_school", args=[link.pk]), years_to_declare()[0]
        assert "École du Rocher" in client.get(address).content.decode()
        wrong = client.post(address, {"year": year, "school": school.pk, "level": "cm2"})
        assert "n’a pas de niveau" in wrong.content.decode() and not Enrolment.objects.exists()
        assert "Cette valeur" not in client.post(address, {"year": "1990"}).content.decode()
        sent = {"year": year, "school": school.pk, "level": "cp"}
        page = client.post(address, sent, follow=True).content.decode()
        assert "C’est enregistré" in page and f"École du Rocher, CP, {year}-{year + 1}" in page
        with django_assert_max_num_queries(7):  # session, person, univers, cart, wallet, links, schools
            client.get(reverse("filiations"))
        confirm_school(enrolment=Enrolment.objects.get(), by=agent_of())
        assert "Confirmé par la mairie" in client.get(address).content.decode()

    def test_a_parent_chooses_the_class_where_the_school_has_some(self) -> None:
        link, school = FiliationFactory(), SchoolFactory(name="École du Rocher")
        client = Client()
        client.force_login(link.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        address, year = reverse("filiation_school", args=[link.pk]), years_to_declare()[0]
        assert 'name="classroom"' not in client.get(address).content.decode()
        room = ClassroomFactory(school=school, year=year, name="CE1 de M. Blanc")
        page = client.get(address).content.decode()
        assert f"École du Rocher, {year}-{year + 1}" in page and "CE1 de M. Blanc" in page
        sent = {"year": year, "school": school.pk, "level": "ce1", "classroom": room.pk}
        assert "CE1 (CE1 de M. Blanc)" in client.post(address, sent, follow=True).content.decode()
        assert f'<option value="{room.pk}" selected>' in client.get(address).content.decode()
        elsewhere = client.post(address, sent | {"school": SchoolFactory().pk}).content.decode()
        assert "choisissez-en une autre, ou aucune" in elsewhere and Enrolment.objects.get().school == school

    def test_a_booking_page_says_it_before_ticking(self) -> None:
        shop = open_shop(days=2, children=2)
        Activity.objects.update(min_age=3, max_age=12)
        Beneficiary.objects.filter(pk=shop.children[0].pk).update(birth_date=dt.date(2010, 1, 1), first_name="Théo")
        client = Client()
        client.force_login(shop.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        page = client.get(shop.activity.get_absolute_url()).content.decode().replace("\xa0", " ")
        assert "Réservé aux enfants de 3 à 12 ans." in page
        age = Beneficiary.objects.get(pk=shop.children[0].pk).age
        assert f"Théo a {age} ans : réservé aux enfants de 3 à 12 ans." in page and page.count(" disabled") == 1

    def test_ages_the_wrong_way_round(self) -> None:
        with pytest.raises(IntegrityError, match="ages_are_in_order"), transaction.atomic():
            ActivityFactory(min_age=12, max_age=3)


class TestLimits:
    @pytest.mark.parametrize(
        "born, says",
        [
            ("2014-06-17", ""),  # 13 tomorrow
            (
                "2014-06-16",
                "Louane aura 13 ans le mercredi 16 juin 2027 : « Mercredis » est réservé aux enfants de 3 à 12 ans.",
            ),
            ("2024-06-16", ""),
            ("2024-06-17", "Louane aura 2 ans le mercredi 16 juin 2027"),
            (None, "La date de naissance de Louane manque"),
        ],
    )
    def test_the_age_on_the_day(self, born: str | None, says: str) -> None:
        told = why(ActivityFactory(name="Mercredis", min_age=3, max_age=12), child(born))
        assert told.startswith(says) if says else not told

    @pytest.mark.parametrize(
        "ages, says", [((6, None), "à partir de 6 ans"), ((None, 5), "jusqu’à 5 ans"), ((10, 11), "de 10 à 11 ans")]
    )
    def test_one_sided_ages(self, ages: tuple[int | None, int | None], says: str) -> None:
        activity = ActivityFactory(min_age=ages[0], max_age=ages[1])
        assert says in why(activity, child("2021-06-17" if ages[0] else "2019-01-01"))

    def test_a_school_and_a_class(self) -> None:
        school, other = SchoolFactory(name="École du Rocher"), SchoolFactory(name="École du Velay")
        activity, person = ActivityFactory(name="Étude", levels=["cp", "ce1"]), child()
        activity.schools.add(school)
        pupils = "réservé aux élèves de CP et CE1 de « École du Rocher »"
        assert why(activity, person) == (
            f"L’école de Louane pour 2026-2027 n’est pas déclarée : « Étude » est {pupils}. "
            "Déclarez-la dans « Mes filiations »."
        )
        row = EnrolmentFactory(beneficiary=person, school=school, level="cp", year=2026)
        assert why(activity, person) == ""
        assert "pour 2027-2028 n’est pas déclarée" in why(activity, person, dt.date(2027, 9, 1))
        Enrolment.objects.filter(pk=row.pk).update(school=other)
        assert why(activity, person) == f"Louane est en CP à « École du Velay » en 2026-2027 : « Étude » est {pupils}."
        Enrolment.objects.filter(pk=row.pk).update(school=school, level=Level.CM2)
        assert "Louane est en CM2" in why(activity, person)

    def test_nothing_is_asked_where_nothing_is_limited(self, django_assert_num_queries: Any) -> None:
        activity, person = ActivityFactory(), child(None)
        with django_assert_num_queries(1):
            assert Limits(activity, [person]).why_not(person, DAY) == ""


class TestBooking:
    @pytest.fixture
    def shop(self) -> Shop:
        shop = open_shop(days=3, children=2)
        Beneficiary.objects.filter(pk=shop.children[0].pk).update(birth_date=dt.date(2010, 1, 1), first_name="Théo")
        Activity.objects.update(min_age=3, max_age=12)
        shop.activity.refresh_from_db()
        return shop

    def test_who_is_too_old_is_refused_and_nothing_is_added(self, shop: Shop) -> None:
        with pytest.raises(Refused, match="Théo aura") as refused:
            shop.add()
        assert refused.value.code == "not_for_this_child" and len(refused.value.messages) == 2
        assert not Booking.objects.exists()
        assert shop.add(children=shop.children[1:]).total == Decimal("23.70")

    def test_the_database_refuses_it_too(self, shop: Shop) -> None:
        shop.add(children=shop.children[1:], days=shop.days[:1])
        row = Booking.objects.get()
        for person in (shop.children[0], child(None)):
            row.pk, row.beneficiary = None, person
            guarded(
                "bookings.Booking:booking_keeps_the_ages",
                lambda: Booking.objects.bulk_create([row]),
                "the age of the activity on the day",
                lambda: Booking.objects.count() == 2,
            )

    @pytest.mark.parametrize("born", ["2024-02-29", "2014-02-28", "2014-03-01", "2014-02-27"])
    def test_both_count_ages_alike(self, shop: Shop, born: str) -> None:
        """The 29th of February, and the days around."""
        person = child(born)
        for date in (dt.date(2027, 2, 27), dt.date(2027, 2, 28), dt.date(2027, 3, 1)):
            from django.db import connection

            with connection.cursor() as cursor:
                cursor.execute("SELECT date_part('year', age(%s::date, %s::date))", [date, person.birth_date])
                (years,) = cursor.fetchone()
            assert years == person.age_on(date)

    def test_an_error_of_the_database_is_a_sentence(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bookings.actions.check_limits", lambda *_facts: None)
        with pytest.raises(Refused, match="n’a pas l’âge"):
            shop.add()
        assert not Booking.objects.exists()


class TestWaiting:
    def test_a_waiting_list_keeps_the_limits(self) -> None:
        shop = full_shop()
        other = neighbour(shop)
        Activity.objects.update(min_age=15)
        for who in (shop, other):
            who.activity.refresh_from_db()
        with pytest.raises(Refused, match="liste d’attente") as refused:
            wait(other)
        assert refused.value.code == "not_for_this_child" and not entries(other)
        Activity.objects.update(min_age=None)
        other.activity.refresh_from_db()
        wait(other)
        # Who has grown out of the activity meanwhile is passed over.
        Activity.objects.update(min_age=15)
        cancel_bookings(ids=[Booking.objects.get(made_by=shop.user).pk], by=shop.user)
        assert statuses(other) == ["waiting"]


def test_a_wrong_sql_level_is_refused() -> None:
    with pytest.raises(Error, match="school_has_classes"), transaction.atomic():
        SchoolFactory(levels=[])
