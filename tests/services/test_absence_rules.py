"""What an absence gives back, by the service's rule: said in a sentence, and one thing at a time."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from services.absences import sentence
from services.models import AbsenceRule

pytestmark = pytest.mark.django_db


class TestRule:
    @pytest.mark.parametrize(
        "rule, words",
        [
            (None, "n’est pas remboursée"),
            (AbsenceRule(refund="never"), "n’est pas remboursée"),
            (AbsenceRule(refund="waiting", waiting_days=3), "Le jour de l’absence et les deux suivants ne sont pas"),
            (
                AbsenceRule(refund="waiting", waiting_days=1),
                "Le jour de l’absence n’est pas remboursé ; les jours d’après",
            ),
            (AbsenceRule(refund="certificate", certificate_hours=48), "sur certificat, envoyé sous 48\u00a0heures"),
            (AbsenceRule(refund="certificate", certificate_hours=168), "sous 7\u00a0jours"),
            (AbsenceRule(refund="certificate", certificate_hours=48, waiting_days=5), "les 4\u00a0suivants"),
        ],
    )
    def test_is_said_in_a_sentence(self, rule: AbsenceRule | None, words: str) -> None:
        assert words in sentence(rule)

    @pytest.mark.parametrize(
        "name, fields",
        [
            ("certificate_has_its_hours", {"refund": "certificate"}),
            ("certificate_has_its_hours", {"refund": "waiting", "certificate_hours": 48}),
            ("what_is_never_refunded_waits_for_nothing", {"refund": "never", "waiting_days": 3}),
        ],
    )
    def test_says_one_thing(self, name: str, fields: dict[str, Any]) -> None:
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            AbsenceRule.objects.create(name="X", **fields)
