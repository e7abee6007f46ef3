"""What every page of the administration stands on: who reaches which rows, and refusals that become sentences.

Law 6, deny by default: an admin class says what agents and operators may do with its table, nothing being the default;
rows, choices, filters and inlines all pass through `visible_rows`; a stranger's row answers 404 like a missing one.
"""

import enum
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.admin.widgets import (
    AdminSplitDateTime,
    AdminTimeWidget,
    AutocompleteSelect,
    RelatedFieldWidgetWrapper,
)
from django.core.exceptions import NON_FIELD_ERRORS, ImproperlyConfigured, PermissionDenied, ValidationError
from django.db import DatabaseError, IntegrityError, InternalError, models
from django.db.models import PROTECT
from django.forms.utils import ErrorList
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_history import Happening, history_of, signatures
from accounts.models import User
from portal.common.db import violated_constraint
from portal.common.errors import Refused
from portal.common.formats import enumeration

logger = logging.getLogger(__name__)

UNKNOWN_REFUSAL = gettext_lazy(
    "Ces valeurs ne vont pas avec ce qui est déjà enregistré, ou quelqu’un vient de modifier les mêmes données\u00a0: rien n’a "
    "été enregistré. Vérifiez, puis recommencez."
)

# What Django's filters and date hierarchy write behind a field's name.
FILTER_LOOKUPS = {"exact", "id__exact", "isnull", "gte", "lt", "year", "month", "day"}


class Right(enum.Flag):
    """What a role may do with a table of the administration."""

    NONE = 0
    VIEW = enum.auto()
    ADD = enum.auto()
    CHANGE = enum.auto()
    DELETE = enum.auto()
    DECIDE = enum.auto()
    EDIT = VIEW | ADD | CHANGE
    ALL = VIEW | ADD | CHANGE | DELETE


@dataclass(frozen=True)
class Todo:
    """One line of « À valider » on the administration's home page."""

    label: str
    count: int
    url: str


def works_here(user: Any) -> bool:
    """Whether the administration exists for this person: validated staff with at least one role."""
    return bool(
        user.is_authenticated
        and user.is_active
        and user.is_staff
        and user.is_approved
        and (user.is_operator or user.commune_ids)
    )


def staff(request: HttpRequest) -> User:
    """Who asks; the site's guard has let nobody else through."""
    assert isinstance(request.user, User)
    return request.user


def visible_rows(queryset: models.QuerySet[Any], user: User) -> models.QuerySet[Any]:
    """The rows this member of staff may reach. A table that does not say whose its rows are belongs to operators."""
    if user.is_operator:
        return queryset
    scope = getattr(queryset, "visible_to", None)
    return scope(user) if scope else queryset.none()


# --- Forms whose refusals are sentences --------------------------------------------------------------------------------


class ScopedForm(forms.ModelForm):
    """A form that says in French which rule of the database was broken, whether it is found before or on saving."""

    # The name of a constraint -> the field it concerns ("" for the whole form) and the sentence.
    constraint_messages: Mapping[str, tuple[str, Any]] = {}
    violations: Sequence[str] = ()
    # What an action refused while the row was being saved, in sentences.
    refusals: Sequence[str] = ()

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        self._translate_constraints()
        for name in self.violations:
            self._add_violation(name)
        for sentence in self.refusals:
            self.add_error(None, ValidationError(sentence, code="refused"))

    def _translate_constraints(self) -> None:
        """Replace « Constraint “x” is violated » where we have a better sentence."""
        constraints = self._meta.model._meta.constraints
        by_sentence = {str(each.get_violation_error_message()): each.name for each in constraints}
        by_fields = {each.fields: each.name for each in constraints if isinstance(each, models.UniqueConstraint)}
        errors = self.errors.get(NON_FIELD_ERRORS)
        if not errors:
            return
        kept, found = [], []
        for error in errors.as_data():
            fields: Any = (error.params or {}).get("unique_check")
            name = by_sentence.get(str(error.message)) or by_fields.get(fields, "")
            found.append(name) if name in self.constraint_messages else kept.append(error)
        if not found:
            return
        if kept:
            self.errors[NON_FIELD_ERRORS] = ErrorList(kept, error_class="nonfield", renderer=self.renderer)
        else:
            del self.errors[NON_FIELD_ERRORS]
        for name in found:
            self._add_violation(name)

    def _add_violation(self, name: str) -> None:
        field, sentence = self.constraint_messages.get(name, ("", UNKNOWN_REFUSAL))
        self.add_error(field if field in self.fields else None, ValidationError(sentence, code=name or "refused"))


# --- Scope -------------------------------------------------------------------------------------------------------------


class ScopedRelatedFilter(admin.RelatedFieldListFilter):
    """A filter on a relation whose choices are the rows that the person may reach."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: "admin.ModelAdmin[Any]") -> Any:
        rows = field.remote_field.model._default_manager.all()
        if field.name not in getattr(model_admin, "shared", ()):
            rows = visible_rows(rows, staff(request))
        return [(row.pk, str(row)) for row in rows]

    def has_output(self) -> bool:
        """Also with a single choice when the address names one: it must not be passed over in silence."""
        return super().has_output() or bool(self.used_parameters)


class NamedAutocomplete(AutocompleteSelect):
    """Django's, whose empty box would otherwise have no name for a screen reader."""

    def build_attrs(self, base_attrs: dict[str, Any], extra_attrs: dict[str, Any] | None = None) -> dict[str, Any]:
        attrs = super().build_attrs(base_attrs, extra_attrs)
        return {**attrs, "data-placeholder": _("Choisir\u00a0: %s") % self.field.verbose_name}


class Scoped:
    """Scope for a table's own pages and for inlines alike; the two classes below are the ones to inherit from."""

    agents = Right.NONE
    operators = Right.NONE
    # Relations to tables that belong to no commune, whose rows every member of staff may choose (univers, délais).
    shared: Sequence[str] = ()
    constraint_messages: Mapping[str, tuple[str, Any]] = {}
    form: Any = ScopedForm
    formfield_overrides: Any = {models.TimeField: {"widget": AdminTimeWidget(format="%H:%M")}}

    def rights(self, request: HttpRequest) -> Right:
        if not works_here(request.user):
            return Right.NONE
        return self.operators if staff(request).is_operator else self.agents

    def may(self, request: HttpRequest, right: Right, obj: Any = None) -> bool:
        return right in self.rights(request) and self.reaches(request, obj)

    def reaches(self, request: HttpRequest, obj: Any) -> bool:
        return True

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.rights(request) != Right.NONE

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Right.VIEW, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Right.ADD)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Right.CHANGE, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Right.DELETE, obj)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return visible_rows(super().get_queryset(request), staff(request))  # type: ignore[misc]

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> models.QuerySet[Any]:
        """The choices of a relation, below whatever widget shows them."""
        remote = db_field.remote_field.model
        rows = super().get_field_queryset(db, db_field, request)  # type: ignore[misc]
        rows = remote._default_manager.all() if rows is None else rows
        target = self.admin_site._registry.get(remote)  # type: ignore[attr-defined]
        if related := getattr(target, "label_related", ()):
            rows = rows.select_related(*related)
        return rows if db_field.name in self.shared else visible_rows(rows, staff(request))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if isinstance(db_field, models.DecimalField):
            kwargs["localize"] = True  # 8,20 as people write it; 8.20 is understood too
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if field is not None and isinstance(field.widget, AdminSplitDateTime):
            # Two boxes under one label: each says which it is.
            for box, part in zip(field.widget.widgets, (_("date"), _("heure")), strict=True):
                box.attrs["aria-label"] = f"{capfirst(str(field.label))} – {part}"
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            # Beside a choice one may add what is missing; changing or deleting has its own page.
            field.widget.can_change_related = field.widget.can_delete_related = field.widget.can_view_related = False
        return field

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if "queryset" in kwargs:
            raise ImproperlyConfigured(f"{db_field}: choices are scoped in get_field_queryset")
        if db_field.name in self.get_autocomplete_fields(request):  # type: ignore[attr-defined]
            kwargs["widget"] = NamedAutocomplete(db_field, self.admin_site)  # type: ignore[attr-defined]
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]
        target = self.admin_site._registry.get(db_field.remote_field.model)  # type: ignore[attr-defined]
        if field is not None and isinstance(target, ScopedAdmin):
            field.label_from_instance = target.label_for
        return field


class ScopedFormSet(forms.BaseInlineFormSet):
    """The lines of an inline; the box that deletes one says so, its column's head being out of a screen reader's way."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if "DELETE" in form.fields:
            form.fields["DELETE"].widget.attrs["aria-label"] = _("Supprimer cette ligne")


class ScopedInline(Scoped, admin.TabularInline):
    """Rows shown inside the page of what they hang on."""

    extra = 0
    formset = ScopedFormSet
    show_change_link = False
    # A sentence or two above the lines: what a line is, and what none stands for.
    description: Any = ""

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        formset.form.constraint_messages = self.constraint_messages  # type: ignore[attr-defined]
        return formset

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """A cell's box has only its column's head for a label: say it to those who do not see the column."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and field.label:
            field.widget.attrs["aria-label"] = capfirst(str(field.label))
        return field

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Right.ADD)


class ScopedAdmin(Scoped, admin.ModelAdmin):
    """The pages of a table. The administration's site accepts no other kind (portal.admin_site)."""

    # Sentences of `Service – activité – prestation` read their parents: what to join when many are shown.
    label_related: Sequence[str] = ()
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions_on_top = True  # without either, Django writes a style into the page, which our CSP refuses
    save_as = False
    view_on_site: Any = False
    delete_selected_confirmation_template = None

    # The fields that say who did what, to be read on the row's page through `signature`.
    signers: Sequence[str] = ()

    def label_for(self, obj: Any) -> str:
        """How a row is named where it is chosen among many."""
        return str(obj)

    def todo(self, request: HttpRequest) -> list[Todo]:
        """What waits for somebody's decision, for the home page."""
        return []

    def pages(self, request: HttpRequest) -> list[tuple[str, str]]:
        """What the menu offers under the table's name: titles and addresses."""
        return []

    # -- Rows --

    def reaches(self, request: HttpRequest, obj: Any) -> bool:
        if obj is None or staff(request).is_operator:
            return True
        known = self._reached(request)
        if obj.pk not in known:
            known[obj.pk] = self.get_queryset(request).filter(pk=obj.pk).exists()
        return known[obj.pk]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        obj = super().get_object(request, object_id, from_field)
        if obj is not None:
            self._reached(request)[obj.pk] = True
            if self.signers:
                obj.signed = signatures(staff(request), [getattr(obj, f"{name}_id") for name in self.signers])
        return obj

    def signature(self, obj: Any, signer: str) -> str:
        """The name that stands under an act on the row's page; which one depends on who reads."""
        name: str = obj.signed.get(getattr(obj, f"{signer}_id"), "–")
        return name

    def guarded(self, view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        """A view of this table that only its staff reaches."""
        site: Any = self.admin_site
        protected: Callable[..., HttpResponseBase] = site.guard(self)(view)
        return protected

    def object_or_404(self, request: HttpRequest, object_id: str) -> Any:
        """The row for a page of ours, 404 when it is missing or a stranger's."""
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        return obj

    def _reached(self, request: HttpRequest) -> dict[Any, bool]:
        """What this request already knows of rows: their permissions are asked for a dozen times a page."""
        return self._kept(request, "reached")

    def _kept(self, request: HttpRequest, what: str) -> dict[Any, Any]:
        """What this table keeps on a request, for as long as it lasts."""
        key = f"_{what}_{self.opts.label_lower}"
        if not hasattr(request, key):
            setattr(request, key, {})
        kept: dict[Any, Any] = getattr(request, key)
        return kept

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        raise Http404(_("Cette page n’existe pas."))

    # -- Lists --

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """Found with or without accents; the lookup is Django's `icontains` over what `unaccent` leaves."""
        return [f"{name}__unaccent" for name in super().get_search_fields(request)]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [self._scoped_filter(entry) for entry in super().get_list_filter(request)]

    def _scoped_filter(self, entry: Any) -> Any:
        """A filter whose choices cannot name another commune's rows; one that could is a mistake of ours."""
        if isinstance(entry, type):
            return entry
        path, chosen = entry if isinstance(entry, list | tuple) else (entry, None)
        field: Any = get_fields_from_path(self.model, path)[-1]
        if field.remote_field:
            if chosen is not None and not issubclass(chosen, ScopedRelatedFilter):
                raise ImproperlyConfigured(f"{path}: a filter on a relation is a ScopedRelatedFilter")
            return (path, chosen or ScopedRelatedFilter)
        if chosen is None and not (field.choices or isinstance(field, models.BooleanField | models.DateField)):
            raise ImproperlyConfigured(f"{path}: Django would list the values of every commune")
        return entry

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Only what a filter of ours asks: `?password__startswith=` would otherwise tell secrets letter by letter."""
        assert request is not None
        allowed = {self.date_hierarchy} if self.date_hierarchy else set()

        for entry in self.get_list_filter(request):
            if isinstance(entry, type):
                allowed.add(str(getattr(entry, "parameter_name", "")))
            else:
                allowed.add(entry[0] if isinstance(entry, tuple) else entry)
        return any(
            lookup == name or (lookup.startswith(f"{name}__") and lookup.removeprefix(f"{name}__") in FILTER_LOOKUPS)
            for name in allowed
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's page under the table's name rather than « Sélectionnez l’objet… »."""
        title = {"title": capfirst(str(self.opts.verbose_name_plural))}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Under the row's own name, rather than « Modification de activité »."""
        obj = kwargs.get("obj")
        title = self.label_for(obj) if obj else _("Ajouter\u00a0: %s") % self.opts.verbose_name
        context |= {"title": capfirst(title), "subtitle": None}
        return super().render_change_form(request, context, *args, **kwargs)

    # -- Writing --

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.constraint_messages = self.constraint_messages
        form.violations = self._kept(request, "violations").get("all", ())
        form.refusals = self._kept(request, "refusals").get("all", ())
        return form

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Django's page; what an action or only the database (a race, a count it keeps) refuses is shown on the form again."""
        if request.method == "POST" and object_id is not None and not self.has_change_permission(request):
            self.object_or_404(request, object_id)  # a stranger's row is missing, before it is forbidden
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except (IntegrityError, InternalError) as error:
            self._reached(request).clear()
            self._kept(request, "violations")["all"] = [self._violation(error)]
        except Refused as refusal:
            self._reached(request).clear()
            self._kept(request, "refusals")["all"] = refusal.messages
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _violation(self, error: DatabaseError) -> str:
        name = violated_constraint(error) if isinstance(error, IntegrityError) else ""
        if name not in self.constraint_messages:
            logger.error("The administration has no sentence for this refusal: %s", error)
        return name

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        # The form offers only the person's own rows; were it ever wrong, the transaction ends here.
        self._reached(request).pop(obj.pk, None)
        if not self.reaches(request, obj):
            raise PermissionDenied

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        written = {row.pk for row in formset.new_objects} | {row.pk for row, _fields in formset.changed_objects}
        rows = visible_rows(formset.model._default_manager.filter(pk__in=written), staff(request))
        if written and rows.count() != len(written):
            raise PermissionDenied

    # Django says « L'objet bon de réduction « X » a été ajouté avec succès »: ours is said in its place.

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> Any:
        self._say_instead(request, _("Ajouté"), obj)
        return super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Any) -> Any:
        self._say_instead(request, _("Enregistré"), obj)
        return super().response_change(request, obj)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> Any:
        self._say_instead(request, _("Supprimé"), obj_display)
        return super().response_delete(request, obj_display, obj_id)

    def _say_instead(self, request: HttpRequest, done: str, obj: Any) -> None:
        words = {"done": done, "kind": self.opts.verbose_name, "name": obj}
        self._kept(request, "said")["next"] = _("%(done)s\u00a0: %(kind)s «\u00a0%(name)s\u00a0».") % words

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **kwargs: Any) -> None:
        super().message_user(request, self._kept(request, "said").pop("next", message), *args, **kwargs)

    # -- Deleting: only what nothing hangs on --

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's page, unless something hangs on the row: that is said instead of listed, row by row.

        What an action refuses is said above the list.
        """
        obj = self.object_or_404(request, object_id)  # a stranger's row is missing, before it is forbidden
        if self.has_delete_permission(request, obj) and (used_by := self._used_by(obj)):
            return self._refuse_delete(request, obj, used_by)
        try:
            return super().delete_view(request, object_id, extra_context)
        except (models.ProtectedError, IntegrityError):  # used between the two looks
            return self._refuse_delete(request, obj, self._used_by(obj))
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
            return redirect(self.url("changelist"))

    def _used_by(self, obj: Any) -> list[str]:
        counts = []
        for relation in obj._meta.related_objects:
            if relation.on_delete is PROTECT:
                count = relation.related_model._default_manager.filter(**{relation.field.name: obj}).count()
                if count:
                    names = relation.related_model._meta
                    counts.append(f"{count} {names.verbose_name if count == 1 else names.verbose_name_plural}")
        return counts

    def _refuse_delete(self, request: HttpRequest, obj: Any, used_by: list[str]) -> HttpResponse:
        messages.error(
            request,
            _("«\u00a0%(name)s\u00a0» ne peut pas être supprimé\u00a0: %(rows)s en dépendent. Rien n’a changé.")
            % {"name": obj, "rows": enumeration(used_by) or _("d’autres données")},
        )
        return redirect(self.url("change", obj.pk))

    # -- Pages --

    def story(self, request: HttpRequest, obj: Any) -> list[Happening]:
        """What happened to the row, for its history."""
        return history_of(obj, staff(request))

    def elsewhere(self, obj: Any) -> str:
        """What an empty history says: a link for a row that only others' rows move, or that nothing has changed."""
        return ""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        obj = self.object_or_404(request, object_id)
        if not self.has_view_or_change_permission(request, obj):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": _("Historique de «\u00a0%s\u00a0»") % self.label_for(obj),
            "subtitle": None,
            "label": self.label_for(obj),
            "history": self.story(request, obj),
            "elsewhere": self.elsewhere(obj),
            "module_name": capfirst(str(self.opts.verbose_name_plural)),
            "object": obj,
            "opts": self.opts,
            **(extra_context or {}),
        }
        return self.page(request, "admin/object_history.html", context)

    def page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        """A page of ours inside the administration's frame."""
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "media": self.media,
                "subtitle": None,
                **context,
            },
        )

    def url(self, name: str, *args: Any) -> str:
        """The address of one of this table's pages: `url("changelist")`, `url("change", 12)`."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=args)

    @staticmethod
    def say(request: HttpRequest, level: int, sentences: Sequence[str | SafeString]) -> None:
        for sentence in sentences:
            messages.add_message(request, level, sentence)


class ReadOnlyAdmin(ScopedAdmin):
    """Money and states: written by the actions alone, whatever address is tried here."""

    operators = Right.VIEW

    def decided(self, request: HttpRequest, pk: int, act: Callable[[Any], str]) -> HttpResponse:
        """A decision posted on a row's page by whoever may decide of it: what `act` answers or refuses is said there."""
        obj = self.object_or_404(request, str(pk))
        if not self.may(request, Right.DECIDE, obj):
            raise PermissionDenied
        if request.method == "POST":
            try:
                said = act(obj)
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
            else:
                self.say(request, messages.SUCCESS, [said])
        return redirect(self.url("change", pk))


class ReadOnlyInline(ScopedInline):
    """Rows that are only shown: `fields` names columns and methods alike."""

    operators = Right.VIEW
    can_delete = False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return list(self.get_fields(request, obj))
