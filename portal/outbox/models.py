"""What must leave: e-mails and calls to providers, written with the change they follow, done after it is committed."""

from typing import Self

import pgtrigger
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


def its_turn() -> Q:
    """The condition of what waits and is due."""
    return Q(status=Leaving.WAITING, next_attempt_at__lte=timezone.now())


SILENT = _("Le serveur d’en face n’a pas répondu.")
REFUSED = _("Le serveur de courriel a refusé l’envoi\u00a0: l’adresse n’existe sans doute pas, ou plus.")
# By the class of the error that `last_error` begins with.
TROUBLES = {
    **dict.fromkeys(
        ["ConnectionRefusedError", "ConnectionResetError", "TimeoutError", "gaierror", "SMTPConnectError",
         "SMTPServerDisconnected", "OSError", "Later", "Unreachable"],
        SILENT,
    ),
    **dict.fromkeys(["SMTPRecipientsRefused", "SMTPDataError", "SMTPSenderRefused"], REFUSED),
    "SMTPAuthenticationError": _("Le serveur de courriel a refusé notre mot de passe\u00a0: l’hébergeur doit le corriger."),
    "FileNotFoundError": _("La pièce jointe n’est plus à sa place\u00a0: l’hébergeur doit regarder les fichiers."),
}  # fmt: skip


class Leaving(models.Model):
    """One thing that must leave: tried until it has left, after ever longer waits, at last left to an operator.

    Each kind has its own choices of `status`, these two among them.
    """

    WAITING, DEAD = "waiting", "dead"

    key = models.CharField(_("clé d’unicité"), max_length=120, unique=True)
    attempts = models.PositiveSmallIntegerField(_("essais"), default=0)
    next_attempt_at = models.DateTimeField(_("prochain essai"), default=timezone.now)
    last_error = models.TextField(_("dernière erreur"), blank=True)
    created_at = models.DateTimeField(_("écrit le"), auto_now_add=True)
    status = models.CharField(_("statut"), max_length=10, default=WAITING)

    class Meta:
        abstract = True

    @property
    def trouble(self) -> str:
        """Why it has not left, for who reads no English; what the machine said stands in `last_error`."""
        if not self.last_error:
            return ""
        said = TROUBLES.get(self.last_error.partition(":")[0])
        return str(said or _("L’envoi a échoué. Le détail technique aide l’hébergeur."))


class CallQuerySet(models.QuerySet["Call"]):
    def due(self) -> Self:
        """Calls whose turn it is."""
        return self.filter(its_turn())


class Call(Leaving):
    """One call to somebody else's server that must happen: at least once, its key keeping it from counting twice there.

    `name` is that of a registered handler (portal.outbox.calls), `payload` what it is given.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("En attente")
        DONE = "done", _("Fait")
        DEAD = "dead", _("Abandonné")

    name = models.CharField(_("appel"), max_length=60)
    payload = models.JSONField(_("contenu"))
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.WAITING)
    done_at = models.DateTimeField(_("fait le"), null=True)

    objects = CallQuerySet.as_manager()

    class Meta:
        verbose_name = _("appel à un prestataire")
        verbose_name_plural = _("appels aux prestataires")
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="done", done_at__isnull=False) | (~Q(status="done") & Q(done_at=None)),
                name="done_call_is_dated",
            )
        ]
        triggers = [
            pgtrigger.FSM(
                name="call_transitions",
                field="status",
                transitions=[("waiting", "done"), ("waiting", "dead"), ("dead", "waiting")],
            ),
            pgtrigger.ReadOnly(name="call_is_frozen", fields=["key", "name", "payload", "created_at"]),
            pgtrigger.Protect(name="calls_are_kept", operation=pgtrigger.Delete),
        ]
        indexes = [models.Index(fields=["next_attempt_at"], condition=Q(status="waiting"), name="call_waiting")]

    def __str__(self) -> str:
        return f"{self.name} {self.key}"


class EmailQuerySet(models.QuerySet["Email"]):
    def due(self) -> Self:
        """E-mails whose turn it is."""
        return self.filter(its_turn())


class Email(Leaving):
    """One e-mail to one person, at least once tried, never sent twice under the same key."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("En attente")
        SENT = "sent", _("Envoyé")
        DEAD = "dead", _("Abandonné")

    to = models.EmailField(_("destinataire"))
    subject = models.CharField(_("objet"), max_length=200)
    body = models.TextField(_("texte"))
    html = models.TextField(_("texte mis en forme"), blank=True)
    # What goes with it, made when it leaves: the name of a maker and its subject (portal.outbox.attachments).
    attachment = models.CharField(_("pièce jointe"), max_length=60, blank=True, default="", db_default="")
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.WAITING)
    sent_at = models.DateTimeField(_("envoyé le"), null=True)

    objects = EmailQuerySet.as_manager()

    class Meta:
        verbose_name = _("courriel")
        verbose_name_plural = _("courriels")
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="sent", sent_at__isnull=False) | (~Q(status="sent") & Q(sent_at=None)),
                name="sent_email_is_dated",
            )
        ]
        triggers = [
            # What was sent stays so: back in line, its reader would get it twice.
            pgtrigger.FSM(
                name="email_transitions",
                field="status",
                transitions=[("waiting", "sent"), ("waiting", "dead"), ("dead", "waiting")],
            ),
            # The key is what keeps the same letter from being written again.
            pgtrigger.ReadOnly(name="email_is_frozen", fields=["key", "to", "attachment", "created_at"]),
        ]
        indexes = [models.Index(fields=["next_attempt_at"], condition=Q(status="waiting"), name="email_waiting")]

    def __str__(self) -> str:
        return f"{self.subject} → {self.to}"
