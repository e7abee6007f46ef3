"""Saving, changing and deleting a family's lists."""

from collections.abc import Collection, Mapping

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from bookings.lists import SavedList, SavedListRow
from families.models import Beneficiary
from portal.common.db import refusing
from portal.common.errors import Refused
from services.models import AccessProfile, Slot

MOST_LISTS = 50
LONGEST_NAME = 60


def _sentences(name: str) -> dict[str, str]:
    return {"one_list_per_name": _("Vous avez déjà une liste « %s » : donnez-lui un autre nom.") % name}


def save_list(
    *, user: User, name: str, slot: Slot, profile: AccessProfile, days: Mapping[int, Collection[int]], by: User
) -> SavedList:
    """Keep a selection under a name: the weekdays (0 is Monday) of each beneficiary, by key.

    Raises Refused with a sentence: no name or one that is taken, no day, somebody else's child, too many lists.
    """
    name = _checked_name(name)
    with refusing(_sentences(name)):
        User.objects.select_for_update(no_key=True).get(pk=user.pk)  # the lists are counted one after the other
        if SavedList.objects.of(user).count() >= MOST_LISTS:
            raise Refused(
                _("Vous avez déjà %d listes : supprimez d’abord celles qui ne servent plus.") % MOST_LISTS,
                code="too_many",
            )
        saved = SavedList.objects.create(user=user, name=name, slot=slot, profile=profile)
        _write_rows(saved, days)
    return saved


def change_list(*, saved: SavedList, name: str, days: Mapping[int, Collection[int]], by: User) -> SavedList:
    """Give a list another name and other days. Raises Refused as save_list does, and for a list of somebody else."""
    name = _checked_name(name)
    with refusing(_sentences(name)):
        row = _locked(saved, by)
        row.name = name
        row.save(update_fields=["name"])
        row.rows.all().delete()
        _write_rows(row, days)
    return row


@transaction.atomic
def delete_list(*, saved: SavedList, by: User) -> None:
    """Delete a list; bookings made with it stay. Raises Refused for a list of somebody else, or one that is gone."""
    row = _locked(saved, by)
    row.rows.all().delete()
    row.delete()


def _locked(saved: SavedList, by: User) -> SavedList:
    row = SavedList.objects.of(by).select_for_update(of=("self",)).filter(pk=saved.pk).first()
    if row is None:
        raise Refused(_("Cette liste n’existe plus, ou n’est pas la vôtre. Rien n’a été changé."), code="not_yours")
    return row


def _checked_name(name: str) -> str:
    name = " ".join(name.replace("\0", "").split())
    if not name:
        raise Refused(_("Donnez un nom à votre liste, par exemple « Semaine d’école »."), code="name_missing")
    if len(name) > LONGEST_NAME:
        raise Refused(_("Le nom d’une liste a %d lettres au plus.") % LONGEST_NAME, code="name_too_long")
    return name


def _write_rows(saved: SavedList, days: Mapping[int, Collection[int]]) -> None:
    chosen = {person: sorted(set(weekdays)) for person, weekdays in days.items() if weekdays}
    if not chosen:
        raise Refused(
            _("Choisissez au moins un jour de la semaine pour au moins un bénéficiaire."), code="nothing_chosen"
        )
    own = set(Beneficiary.objects.of(saved.user).filter(pk__in=chosen).values_list("pk", flat=True))
    if own != set(chosen):
        raise Refused(
            _("Un des bénéficiaires choisis ne fait pas partie de vos filiations. Rien n’a été enregistré."),
            code="not_yours",
        )
    if not all(0 <= weekday <= 6 for weekdays in chosen.values() for weekday in weekdays):
        raise Refused(_("Un des jours n’existe pas : choisissez du lundi au dimanche."), code="no_such_day")
    SavedListRow.objects.bulk_create(
        SavedListRow(saved_list=saved, beneficiary_id=person, weekdays=weekdays)
        for person, weekdays in sorted(chosen.items())
    )
