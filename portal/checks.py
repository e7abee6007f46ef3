"""What `manage.py check` refuses to start with."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

from checkout import providers

MINIMUM_POSTGRESQL = 150000


@register(Tags.security)
def demonstration_stays_at_home(**_kwargs: Any) -> list[CheckMessage]:
    """The demonstration's bank and passwords must not be reachable from elsewhere."""
    errors: list[CheckMessage] = []
    public = set(settings.ALLOWED_HOSTS) - settings.LOOPBACK_HOSTS
    if settings.DEMO and (public or (not settings.DEBUG and settings.HTTPS)):
        errors.append(
            Error(
                "DEMO=on ouvre des mots de passe connus et une banque fictive : elle n'est permise que sur cette machine.",
                hint="Retirez DEMO de l'environnement.",
                id="portal.E001",
            )
        )
    if "demo" in settings.CARD_PROVIDERS and not settings.DEMO:
        errors.append(
            Error(
                "CARD_PROVIDERS nomme « demo » hors de la démonstration : n'importe qui pourrait payer sans argent.",
                hint="Nommez un vrai prestataire de paiement, ou aucun.",
                id="portal.E002",
            )
        )
    return errors


@register()
def card_providers_exist(**_kwargs: Any) -> list[CheckMessage]:
    """A provider that has no module would be found missing by the first parent who pays."""
    usable = providers.known_slugs()
    return [
        Error(
            f"CARD_PROVIDERS nomme « {slug} », qui n'existe pas.",
            hint=f"Les modules de paiement sont : {', '.join(usable)}.",
            id="portal.E005",
        )
        for slug in settings.CARD_PROVIDERS
        if slug not in {*usable, "demo"}  # which demonstration_stays_at_home refuses elsewhere
    ]


@register()
def card_providers_are_configured(**_kwargs: Any) -> list[CheckMessage]:
    """A provider without its secrets would be found out by the first parent who pays."""
    return [
        Error(
            f"CARD_PROVIDERS nomme « {provider.slug} », à qui il manque {', '.join(provider.missing)}.",
            hint="Donnez ces variables d'environnement (voir .env.example), ou retirez ce prestataire.",
            id="portal.E006",
        )
        for provider in map(providers.provider, set(settings.CARD_PROVIDERS) & set(providers.known_slugs()))
        if provider.missing
    ]


@register()
def card_providers_are_readable(**_kwargs: Any) -> list[CheckMessage]:
    """What a provider was given and cannot be right is said at the start, not by a bank in front of a parent."""
    return [
        Error(fault, hint="Corrigez cette variable d'environnement (voir .env.example).", id="portal.E007")
        for provider in map(providers.provider, set(settings.CARD_PROVIDERS) & set(providers.known_slugs()))
        for fault in provider.faults()
    ]


@register(Tags.security, deploy=True)
def demonstration_is_not_deployed(**_kwargs: Any) -> list[CheckMessage]:
    """`check --deploy` never passes with the demonstration on."""
    if settings.DEMO:
        return [Error("DEMO=on n'est jamais déployable.", hint="Retirez DEMO de l'environnement.", id="portal.E003")]
    return []


@register(Tags.database)
def postgresql_is_recent(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """PostgreSQL 15 brought UNIQUE NULLS NOT DISTINCT, which the schema uses."""
    errors: list[CheckMessage] = []
    for alias in databases or []:
        with connections[alias].cursor() as cursor:
            cursor.execute("SHOW server_version_num")
            version = int(cursor.fetchone()[0])
        if version < MINIMUM_POSTGRESQL:
            errors.append(
                Error(
                    f"PostgreSQL {version // 10000} est trop ancien : il faut la version 15 ou plus récente.",
                    id="portal.E004",
                )
            )
    return errors
