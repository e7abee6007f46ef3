"""« Ajouter un service »: every situation of every commune, to be ticked."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from portal.common.formats import sort_key
from services.models import AccessProfile, Service, Subscription


@dataclass
class ServiceChoice:
    service: Service
    profiles: list[AccessProfile] = field(default_factory=list)


@dataclass
class CommuneChoices:
    """What one commune (or the agglomération) offers, with what the person has already asked for."""

    name: str
    key: str
    is_home: bool
    services: list[ServiceChoice] = field(default_factory=list)
    is_open: bool = False


class ProfilesField(forms.ModelMultipleChoiceField):
    default_error_messages = {
        "required": _("Cochez au moins un élément correspondant à votre situation."),
        "invalid_choice": _("L’un des services choisis n’est plus proposé : vérifiez vos choix et validez de nouveau."),
        "invalid_pk_value": _(
            "L’un des services choisis n’est plus proposé : vérifiez vos choix et validez de nouveau."
        ),
    }
    widget = forms.CheckboxSelectMultiple


class SubscriptionForm(forms.Form):
    """Ticked access profiles; drawn by templates/services/subscriptions_choices.html."""

    profiles = ProfilesField(queryset=AccessProfile.objects.none(), label=_("Ajouter un service"))

    def __init__(self, *args: object, user: User, required: bool = True, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.user = user
        profiles: forms.ModelMultipleChoiceField = self.fields["profiles"]  # type: ignore[assignment]
        profiles.required = required
        profiles.queryset = AccessProfile.objects.filter(is_active=True, service__is_active=True)

    def communes(self) -> list[CommuneChoices]:
        """The choices by commune, the person's own first, then the agglomération's, then by name."""
        asked = {each.profile_id: each for each in Subscription.objects.of(self.user)}
        ticked = {str(value) for value in self["profiles"].value() or []}
        offered: Iterable[AccessProfile] = (
            self.fields["profiles"]
            .queryset.select_related(  # type: ignore[attr-defined]
                "service__commune"
            )
            .order_by("service__name", "service", "position", "pk")
        )
        communes: dict[int | None, CommuneChoices] = {}
        services: dict[int, ServiceChoice] = {}
        for profile in offered:
            service = profile.service
            commune = communes.setdefault(
                service.commune_id,
                CommuneChoices(
                    name=service.commune_name,
                    key=str(service.commune_id or "agglo"),
                    is_home=service.commune_id is not None and service.commune_id == self.user.commune_id,
                ),
            )
            if service.pk not in services:
                services[service.pk] = ServiceChoice(service)
                commune.services.append(services[service.pk])
            profile.request = asked.get(profile.pk)  # type: ignore[attr-defined]
            profile.ticked = str(profile.pk) in ticked  # type: ignore[attr-defined]
            services[service.pk].profiles.append(profile)
            commune.is_open |= commune.is_home or profile.ticked  # type: ignore[attr-defined]
        ordered = sorted(
            communes.values(), key=lambda each: (not each.is_home, each.key != "agglo", sort_key(each.name))
        )
        if len(ordered) == 1:
            ordered[0].is_open = True
        return ordered
