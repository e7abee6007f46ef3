"""What exists only in the demonstration: a fictitious bank's books, and the e-mails that would have left."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from portal.common.money import MoneyField


class BankPayment(models.Model):
    """A payment as the fictitious bank knows it; the platform sees it only through HTTP."""

    class Outcome(models.TextChoices):
        PENDING = "pending", _("En attente")
        CAPTURED = "captured", _("Payé")
        REFUSED = "refused", _("Refusé")
        ABANDONED = "abandoned", _("Abandonné")

    reference = models.CharField(max_length=40, unique=True)
    amount = MoneyField()
    label = models.CharField(max_length=160)
    return_url = models.URLField()
    notify_url = models.URLField()
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.PENDING)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("paiement de la banque de démonstration")
        verbose_name_plural = _("paiements de la banque de démonstration")

    def __str__(self) -> str:
        return self.label

    @property
    def bank_reference(self) -> str:
        """The bank's own number of the payment."""
        return f"DEMO-{self.pk:08d}"


class BankRefund(models.Model):
    """What the fictitious bank paid back of a payment, once for each key of the platform's."""

    payment = models.ForeignKey(BankPayment, on_delete=models.PROTECT, related_name="refunds")
    key = models.CharField(max_length=120, unique=True)
    amount = MoneyField()

    class Meta:
        verbose_name = _("remboursement de la banque de démonstration")
        verbose_name_plural = _("remboursements de la banque de démonstration")

    def __str__(self) -> str:
        return self.key

    @property
    def bank_reference(self) -> str:
        """The bank's own number of the refund."""
        return f"DEMO-R-{self.pk:08d}"


class Mail(models.Model):
    """An e-mail that the demonstration kept instead of sending."""

    to = models.CharField(max_length=254)
    subject = models.CharField(max_length=255)
    body = models.TextField()
    message_id = models.CharField(max_length=255)
    sent_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("courriel de démonstration")
        verbose_name_plural = _("courriels de démonstration")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.subject
