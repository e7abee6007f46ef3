"""What nobody may write past accounts and families."""

import datetime as dt

from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils import timezone

from families.models import IncomeQuotient
from tests.admin.world import Town
from tests.factories import BeneficiaryFactory, FiliationFactory, QuotientFactory
from tests.faults_of import Fault, added, agent, changed, doubled, now, somebody

NOTHING = DateRange(empty=True)


def child(_place: Town) -> object:
    return BeneficiaryFactory()


def adult_of_themselves(_place: Town) -> object:
    """Somebody who is a beneficiary as well."""
    return FiliationFactory(kind="self").user


def family_with_quotient(place: Town) -> object:
    """Somebody whose quotient is verified, for the days of the place's own."""
    row = QuotientFactory()
    IncomeQuotient.objects.filter(pk=row.pk).update(
        status="validated", decided_at=timezone.now(), decided_by=place.agent
    )
    return row.user


DECIDED = {"decided_at": now, "decided_by": agent}

ACCOUNTS: dict[str, list[Fault]] = {
    "accounts.User:user_email_is_lower_case": [changed(email="Parent@exemple.fr")],
    "accounts.User:user_decision_is_dated": [changed(status="approved", decided_by=agent), changed(decided_at=now)],
    "accounts.User:user_refusal_has_a_reason": [changed(status="refused", **DECIDED)],
    "accounts.User:user_transitions": [
        changed(after={"status": "approved", **DECIDED}, status="pending", decided_at=None, decided_by=None)
    ],
    "accounts.StaffRole:one_role_per_commune": [doubled("user", "commune")],
    "accounts.StaffRole:agent_has_a_commune": [added(commune=None), added(kind="operator", user=somebody)],
    "accounts.CommuneFile:one_file_per_reason": [doubled("user", "commune", "reason")],
    "accounts.Address:one_default_address": [doubled("user", is_default=True)],
    "accounts.Terms:one_text_per_version": [doubled("kind", "version")],
    "accounts.Consent:one_consent_per_version": [doubled("user", "terms")],
    "accounts.SupportingDocument:document_is_not_empty": [changed(size=0)],
}

FAMILIES: dict[str, list[Fault]] = {
    "families.Filiation:one_link_per_beneficiary": [doubled("user", "beneficiary")],
    "families.Filiation:one_self_per_user": [added(kind="self", user=adult_of_themselves, beneficiary=child)],
    "families.Enrolment:one_school_a_year": [doubled("beneficiary", "year")],
    "families.Enrolment:confirmed_enrolment_is_signed": [
        changed(status="confirmed"),
        changed(status="confirmed", confirmed_at=now),
        changed(status="confirmed", confirmed_by=agent),
        changed(confirmed_at=now),
    ],
    "families.IncomeQuotient:one_quotient_at_a_time": [
        added(user=family_with_quotient, status="validated", **DECIDED),
    ],
    "families.IncomeQuotient:one_quotient_to_verify": [doubled("user", "status")],
    "families.IncomeQuotient:quotient_is_plausible": [added(user=somebody, value=20001)],
    "families.IncomeQuotient:quotient_has_a_first_day": [
        changed(valid=DateRange(None, dt.date(2027, 1, 1))),
        changed(valid=NOTHING),
    ],
    "families.IncomeQuotient:quotient_decision_is_signed": [
        changed(status="validated"),
        changed(status="validated", decided_at=now),
        changed(status="validated", decided_by=agent),
        changed(decided_at=now),
    ],
    "families.IncomeQuotient:quotient_refusal_has_a_reason": [changed(status="refused", **DECIDED)],
    "families.IncomeQuotient:quotient_transitions": [
        changed(after={"status": "refused", "reason": "Illisible", **DECIDED}, status="validated"),
        changed(after={"status": "validated", **DECIDED}, status="pending", decided_at=None, decided_by=None),
    ],
    "families.IncomeQuotient:declared_quotient_is_frozen": [
        changed(value=10),
        changed(user=somebody),
        changed(declared_at=now),
    ],
}

FAULTS = ACCOUNTS | FAMILIES
