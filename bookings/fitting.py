"""Dates ticked for several children at once: which of them each may have."""

from collections.abc import Collection, Sequence

from django.utils.translation import ngettext

from bookings.actions import Wish
from bookings.closures.pupils import ClosedSchools
from families.limits import Limits
from families.models import Beneficiary
from services.models import Activity


def fitting(
    activity: Activity, people: Collection[Beneficiary], wishes: Sequence[Wish]
) -> tuple[list[Wish], list[str]]:
    """The wishes without those of a child whom the activity is not for that day, and a sentence for each such child.

    Where that leaves nothing they all stand, for the action to refuse with its reason. A date is ticked once for all who
    are chosen: nobody asked for this child on that very day, and the page has never counted it.
    """
    limits = Limits(activity, people)
    closed = ClosedSchools(activity, people, {wish.date for wish in wishes})
    children = {row.pk: row for row in people}
    fits: list[Wish] = []
    reasons: dict[int, list[str]] = {}
    for wish in wishes:
        child = children.get(wish.beneficiary_id)
        why = child and (limits.why_not(child, wish.date) or closed.why_not(child, wish.date))
        if why:
            reasons.setdefault(wish.beneficiary_id, []).append(why)
        else:
            fits.append(wish)
    if not fits:
        return list(wishes), []
    sentences = [
        ngettext(
            "%(count)d jour laissé de côté pour %(child)s. %(why)s",
            "%(count)d jours laissés de côté pour %(child)s. Le premier\u00a0: %(why)s",
            len(found),
        )
        % {"count": len(found), "child": children[pk].first_name, "why": found[0][:1].upper() + found[0][1:]}
        for pk, found in reasons.items()
    ]
    return fits, sentences
