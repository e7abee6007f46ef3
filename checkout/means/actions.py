"""Asking the providers of cards whether they are there: a régisseur by a button, the platform each hour."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Count
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.means.models import ProviderCheck
from checkout.models import Payment, ProviderEvent
from checkout.providers import known_providers
from checkout.providers.base import Health, Provider
from portal.common.errors import Refused

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MeansOfPayment:
    """A provider as the régisseur looks at it."""

    provider: Provider
    is_used: bool  # parents may choose it
    check: ProviderCheck | None
    last_event: ProviderEvent | None
    waiting: int  # payments whose end it has not told yet

    @property
    def is_broken(self) -> bool:
        """Parents may choose it, and cannot pay by it."""
        return self.is_used and _is_broken(self.provider, self.check)


def overview() -> Sequence[MeansOfPayment]:
    """Every provider that could be used here: those that are first, in the order in which parents see them."""
    checks, used = _checks(), list(settings.CARD_PROVIDERS)
    waiting = dict(
        Payment.objects.awaiting_provider()
        .order_by()
        .values_list("provider")
        .annotate(count=Count("pk"))
        .values_list("provider", "count")
    )
    return [
        MeansOfPayment(
            provider,
            is_used=provider.slug in used,
            check=checks.get(provider.slug),
            last_event=ProviderEvent.objects.notified_by(provider.slug).first(),
            waiting=waiting.get(provider.slug, 0),
        )
        for provider in sorted(known_providers(), key=lambda each: (*used, each.slug).index(each.slug))
    ]


def broken_providers() -> int:
    """How many providers that parents may choose lack a secret, or hold a wrong one, or did not answer the last time."""
    checks = _checks()
    return sum(_is_broken(provider, checks.get(provider.slug)) for provider in _used_providers())


def check_provider(*, slug: str, by: User) -> ProviderCheck:
    """Ask a provider whether it is configured and answers, and keep what it said.

    Not within a transaction: it may take its time. Raises Refused for a provider that this installation does not know.
    """
    provider = next((each for each in known_providers() if each.slug == slug), None)
    if provider is None:
        raise Refused(_("Ce moyen de paiement n’existe pas ici : rien n’a été vérifié."), code="unknown")
    return _keep(provider, provider.health(), by)


def check_used_providers(*, seconds: float = 120) -> int:
    """Ask every provider that parents may choose, and keep what has changed; returns how many do not answer.

    None is begun after `seconds`: a provider that says nothing takes its time, and a task has its own.
    """
    checks, silent = _checks(), 0
    end = time.monotonic() + seconds
    for provider in _used_providers():
        if time.monotonic() >= end:
            logger.error("The provider %s was not asked: the others took all the time", provider.slug)
            continue
        health, before = provider.health(), checks.get(provider.slug)
        if not health.answers:
            silent += 1
            logger.error("The provider %s does not answer: %s", provider.slug, health.sentence)
        if before is None or (before.configured, before.answers) != (health.configured, health.answers):
            _keep(provider, health, None)
    return silent


def _keep(provider: Provider, health: Health, by: User | None) -> ProviderCheck:
    return ProviderCheck.objects.create(
        provider=provider.slug,
        configured=health.configured,
        answers=health.answers,
        sentence=health.sentence[:400],
        asked_by=by,
    )


def _checks() -> dict[str, ProviderCheck]:
    return {check.provider: check for check in ProviderCheck.objects.latest_of_each()}


def _used_providers() -> list[Provider]:
    return [provider for provider in known_providers() if provider.slug in settings.CARD_PROVIDERS]


def _is_broken(provider: Provider, check: ProviderCheck | None) -> bool:
    return bool(provider.missing or provider.faults()) or (check is not None and not check.answers)
