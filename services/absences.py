"""What a rule of absences says to a parent."""

from django.utils.translation import gettext as _

from portal.common.formats import NBSP
from services.models import AbsenceRule

HOURS_OF_DAY = 24
MOST_HOURS = 72  # beyond that a delay is told in days


def sentence(rule: AbsenceRule | None) -> str:
    """`Le jour de l’absence et les deux suivants ne sont pas remboursés ; les autres le sont…`; None: never refunded."""
    if rule is None or rule.refund == AbsenceRule.Refund.NEVER:
        return _("Une absence n’est pas remboursée, mais elle prévient le service.")
    waiting = _waiting(rule.waiting_days)
    if rule.refund == AbsenceRule.Refund.WAITING:
        if not waiting:
            return _("Une absence est remboursée, une fois vérifiée par le service.")
        return _("%s ; les jours d’après le sont, une fois l’absence vérifiée par le service.") % waiting
    assert rule.certificate_hours is not None
    within = delay(rule.certificate_hours)
    if not waiting:
        return _("Une absence est remboursée sur certificat, envoyé sous %s.") % within
    return _("%(waiting)s ; les jours d’après le sont sur certificat, envoyé sous %(within)s.") % {
        "waiting": waiting,
        "within": within,
    }


def delay(hours: int) -> str:
    """`48 heures`, `7 jours`."""
    if hours > MOST_HOURS and hours % HOURS_OF_DAY == 0:
        return f"{hours // HOURS_OF_DAY}{NBSP}{_('jours')}"
    return f"{hours}{NBSP}{_('heures')}"


def _waiting(days: int) -> str:
    if days == 0:
        return ""
    if days == 1:
        return _("Le jour de l’absence n’est pas remboursé")
    following = {2: _("le suivant"), 3: _("les deux suivants")}.get(days)
    return _("Le jour de l’absence et %s ne sont pas remboursés") % (
        following or f"{_('les')} {days - 1}{NBSP}{_('suivants')}"
    )
