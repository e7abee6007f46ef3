"""What the price of a cart of 280 lines costs, where it depends on most: the rank among siblings present the same day.

Prints how many queries it took, and the milliseconds of the middle one of several runs.
"""

import json
import statistics
import time

import django
from django.db import connection
from django.db.models import Count
from django.test.utils import CaptureQueriesContext

LINES = 280
TIMES = 9


def measure() -> tuple[int, float]:
    from accounts.models import User
    from bookings.pricing import Place, Pricer
    from families.models import Beneficiary
    from services.models import OpenDay, Slot, TariffGrid

    slot = (
        Slot.objects.select_related("activity__service")
        .filter(tariffs__grid__rank_basis=TariffGrid.RankBasis.PRESENT)
        .earliest("pk")
    )
    profile = slot.tariffs.select_related("profile").earliest("pk").profile
    user = User.objects.annotate(children=Count("filiations")).filter(children=2, email__endswith="bench.example")[0]
    children = list(Beneficiary.objects.of(user))
    dates = OpenDay.objects.filter(activity=slot.activity, is_open=True).order_by("date").values_list("date", flat=True)
    places = [Place(child.pk, slot.pk, date) for date in dates[: LINES // 2] for child in children]
    assert len(places) == LINES
    spent = []
    for _time in range(TIMES):
        with CaptureQueriesContext(connection) as queries:
            begun = time.perf_counter()
            pricer = Pricer(user=user, profiles=[profile], slots=[slot], beneficiaries=children, choice=places)
            prices = [pricer.price(profile_id=profile.pk, place=place) for place in places]
            spent.append((time.perf_counter() - begun) * 1000)
        assert all(prices)
    return len(queries), statistics.median(spent)


if __name__ == "__main__":
    django.setup()
    print(json.dumps(measure()))
