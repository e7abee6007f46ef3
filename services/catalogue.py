"""What the catalogue's pages list: searched, filtered, sorted and paged by the address alone, so that a page can be kept.

A value that the page does not offer (an old bookmark, a hand in the address) counts as not chosen, never as a mistake.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any, Generic, TypeVar

from django import forms
from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.lookups import Unaccent
from django.core.paginator import Page, Paginator
from django.db.models import Count, Model, Prefetch, Q, QuerySet
from django.db.models.functions import Lower
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune, User
from portal.common.formats import sort_key
from services.deadlines import cancel_sentence, know_deadlines, sentence
from services.models import AGGLOMERATION, Activity, Category, Service, Slot, Subscription
from services.models.catalogue import ActivityQuerySet

M = TypeVar("M", bound=Model)

SIZES = (12, 24, 48)
AGGLO = "agglo"  # what « Commune » says for the services of the agglomération itself
MOST_LETTERS = 80
MOST_WORDS = 8
SMALL_WORDS = {"a", "au", "aux", "d", "de", "des", "du", "en", "et", "l", "la", "le", "les", "pour", "sur"}
# « St-Paulien » and « Saint-Paulien » are one place to who looks for it.
SHORT_WORDS = {"st": "saint", "ste": "sainte"}


@dataclass(frozen=True)
class Sort:
    """One entry of « Tri par »: its value in the address, its words, and what it orders by."""

    value: str
    label: Any
    order: tuple[Any, ...]


def by_name(path: str) -> Any:
    """Alphabetical for a French reader, É beside E, whatever collation the database has."""
    return Lower(Unaccent(path))


A_TO_Z = Sort("nom", _("Nom, de A à Z"), (by_name("name"), "pk"))
Z_TO_A = Sort("nom-z", _("Nom, de Z à A"), (by_name("name").desc(), "pk"))

COMMUNES = (
    Sort("nom", _("Nom, de A à Z"), ("name_key",)),
    Sort("nom-z", _("Nom, de Z à A"), ("-name_key",)),
    Sort("activites", _("Nombre d’activités"), ("-activity_count", "name_key")),
)
SERVICES = (Sort("commune", _("Commune"), ("commune__name_key", by_name("name"), "pk")), A_TO_Z, Z_TO_A)
ACTIVITIES_OF_A_SERVICE = (Sort("ordre", _("Ordre du service"), ("position", by_name("name"), "pk")), A_TO_Z, Z_TO_A)
_IN_SERVICE = (by_name("service__name"), "position", by_name("name"), "pk")
ACTIVITIES_OF_A_COMMUNE = (
    Sort("univers", _("Univers"), ("service__category__position", "service__category__name", *_IN_SERVICE)),
    A_TO_Z,
    Z_TO_A,
)
ACTIVITIES = (Sort("commune", _("Commune"), ("service__commune__name_key", *_IN_SERVICE)), *ACTIVITIES_OF_A_COMMUNE)


class CatalogueForm(forms.Form):
    """« Rechercher », the filters of the page, « Tri par », « Afficher ». Sent by GET; `chosen` holds what counts.

    `search` is the label of the words to look for; empty, the page is only sorted.
    """

    use_required_attribute = False

    def __init__(
        self,
        asked: QueryDict,
        *,
        sorts: Sequence[Sort],
        filters: Mapping[str, forms.ChoiceField] | None = None,
        search: str = "",
    ) -> None:
        super().__init__()
        self.asked, self.sorts = asked, sorts
        if search:
            self.fields["q"] = forms.CharField(
                label=search,
                widget=forms.TextInput(attrs={"type": "search", "maxlength": MOST_LETTERS, "autocomplete": "off"}),
            )
        self.fields |= filters or {}
        self.fields["tri"] = forms.ChoiceField(label=_("Tri par"), choices=[(sort.value, sort.label) for sort in sorts])
        self.fields["afficher"] = forms.ChoiceField(
            label=_("Afficher"), choices=[(str(size), _("%d par page") % size) for size in SIZES]
        )
        self.chosen = {name: _choice(field, asked.get(name, "")) for name, field in self.fields.items()}
        self.initial = dict(self.chosen)

    @property
    def narrows(self) -> bool:
        """Whether something was searched or filtered: an empty page then has another way out."""
        return any(value for name, value in self.chosen.items() if name not in {"tri", "afficher"})


def _choice(field: forms.Field, value: str) -> str:
    if isinstance(field, forms.ChoiceField):
        known = [str(key) for key, _label in field.widget.choices]
        return value if value in known else known[0]
    return value.replace("\0", "")[:MOST_LETTERS].strip()


class Listing(Generic[M]):
    """One page of `rows` in the order that the form asks for. Costs two queries: how many there are, and the page."""

    def __init__(self, form: CatalogueForm, rows: QuerySet[M]) -> None:
        self.form = form
        sort = next(sort for sort in form.sorts if sort.value == form.chosen["tri"])
        pages = Paginator(rows.order_by(*sort.order), int(form.chosen["afficher"]))
        self.page: Page[M] = pages.get_page(form.asked.get("page"))

    @property
    def total(self) -> int:
        return self.page.paginator.count

    @property
    def sortable(self) -> bool:
        """One row, or none, is in every order; its form still shows while it searches or filters."""
        return self.total > 1


# --- What can be chosen -----------------------------------------------------------------------------------------------


def commune_choice(services: QuerySet[Service]) -> forms.ChoiceField:
    """« Commune »: those of these services, and the agglomération when it runs one of them."""
    rows = list(services.order_by("commune__name_key").values_list("commune__insee_code", "commune__name").distinct())
    choices = [(code, name) for code, name in rows if code]
    if len(choices) < len(rows):
        choices.append((AGGLO, str(AGGLOMERATION)))
    return forms.ChoiceField(label=_("Commune"), choices=[("", _("Toutes")), *choices])


def univers_choice() -> forms.ChoiceField:
    """« Univers »: those of the top of each page."""
    return forms.ChoiceField(
        label=_("Univers"), choices=[("", _("Tous")), *Category.objects.values_list("slug", "name")]
    )


def of_commune(value: str, path: str = "") -> Q:
    """The rows of one entry of « Commune »; `path` leads from the row to its service (`service__`)."""
    if not value:
        return Q()
    if value == AGGLO:
        return Q(**{f"{path}commune": None})
    return Q(**{f"{path}commune__insee_code": value})


# --- Searching --------------------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """The words looked for, without accents, case, hyphens, plural and small words: « Cantine à St-Paulien »."""
    found = [SHORT_WORDS.get(word, word) for word in sort_key(text).split()]
    telling = [word for word in found if word not in SMALL_WORDS] or found
    return [word.removesuffix("s") if len(word) > 4 else word for word in telling[:MOST_WORDS]]


def matching_communes(text: str) -> Q:
    """Communes whose name holds each word."""
    return reduce(and_, (Q(name_key__contains=word) for word in words(text)), Q())


def matching_services(text: str) -> Q:
    """Services in which each word stands somewhere: in what they are and where, or in one of their activities."""
    return reduce(
        and_,
        (
            _in_service(word) | Q(pk__in=Activity.objects.filter(_in_activity(word), is_active=True).values("service"))
            for word in words(text)
        ),
        Q(),
    )


def matching_activities(text: str) -> Q:
    """Activities in which each word stands somewhere: in what they are, or in where they are."""
    return reduce(and_, (_in_activity(word) | _in_service(word, "service__") for word in words(text)), Q())


def _in_activity(word: str) -> Q:
    return Q(name__unaccent__icontains=word) | Q(description__unaccent__icontains=word)


def _in_service(word: str, path: str = "") -> Q:
    found = (
        Q(**{f"{path}name__unaccent__icontains": word})
        | Q(**{f"{path}category__name__unaccent__icontains": word})
        | Q(**{f"{path}commune__name_key__contains": word})
    )
    return found | Q(**{f"{path}commune": None}) if word in sort_key(str(AGGLOMERATION)) else found


# --- What is listed ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Offer:
    """An activity as the catalogue shows it: until when it is booked and cancelled, in words, empty for tickets and passes,
    which have no day that a deadline could count from; `may_book`: this person's access to its service is validated.
    """

    activity: Activity
    may_book: bool

    @property
    def rule(self) -> str:
        return sentence(self.activity.booking_rule) if self._has_days else ""

    @property
    def cancel_rule(self) -> str:
        return cancel_sentence(self.activity.cancel_rule) if self._has_days else ""

    @property
    def _has_days(self) -> bool:
        return self.activity.kind == Activity.Kind.CALENDAR


def offered(rows: ActivityQuerySet) -> ActivityQuerySet:
    """With all that the catalogue shows of an activity but its deadlines (offers), in one query more for the whole page."""
    return rows.select_related("service__commune", "service__category").prefetch_related(
        Prefetch("slots", Slot.objects.filter(is_active=True))
    )


def offers(activities: Iterable[Activity], requests: Iterable[Subscription]) -> list[Offer]:
    """The activities of a page for a person with these requests (with their profiles); one query for their deadlines."""
    activities = list(activities)
    know_deadlines(activities)
    approved = {row.profile.service_id for row in requests if row.status == Subscription.Status.APPROVED}
    return [Offer(row, row.service_id in approved) for row in activities]


def requests_of(user: User | AnonymousUser, services: Iterable[int]) -> list[Subscription]:
    """What this person has asked for in some services (keys); nothing, and no query, for a visitor."""
    if not user.is_authenticated:
        return []
    return list(Subscription.objects.of(user).filter(profile__service__in=services).select_related("profile"))


def communes() -> QuerySet[Commune]:
    """All communes, with how many activities each offers."""
    return Commune.objects.annotate(
        activity_count=Count(
            "services__activities",
            filter=Q(services__is_active=True, services__activities__is_active=True),
        )
    )
