"""What the régie has issued: numbered within a series, frozen with its file, ended only by another paper.

PostgreSQL gives the numbers: a paper's INSERT moves its series forward by one under the series' lock, or is refused. A
transaction that fails takes its number back with it, so that no series has a gap.
"""

import datetime as dt
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Self

import pghistory
import pgtrigger
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce, Left, Substr
from django.db.models.lookups import Exact
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from schwifty import BIC
from schwifty.exceptions import SchwiftyException

from portal.common.db import annotated, not_truncated
from portal.common.errors import Refused
from portal.common.formats import PARIS
from portal.common.money import MoneyField
from wallet.models import Movement
from wallet.transfers import Debtor
from wallet.withdrawals.actions import read_iban

if TYPE_CHECKING:
    from accounts.models import User


MOST_FEE = 5  # euros
MOST_PERCENT = 10
MOST_TAKEN = 10000  # euros

LONGEST_REASON = 200  # why a paper ends
# A bank overseas has a BIC of its territory's own, and accounts whose IBAN is of FR.
FRENCH = "BL|GF|GP|MF|MQ|NC|PF|PM|RE|TF|WF|YT"


def siret_number(text: str) -> None:
    """Raises ValidationError for what is no SIRET: fourteen digits whose check digit (Luhn's) is right."""
    digits = [int(c) for c in text if c.isdecimal()]
    doubled = [digit if index % 2 else sum(divmod(2 * digit, 10)) for index, digit in enumerate(digits)]
    if len(text) != 14 or len(digits) != 14 or sum(doubled) % 10:
        raise ValidationError(_("Un SIRET a quatorze chiffres, sans espaces ; celui-ci n’est pas juste."))


def account_number(text: str) -> None:
    """Raises ValidationError for what is no IBAN of the SEPA zone, written without spaces."""
    try:
        compact = read_iban(text)
    except Refused as refusal:
        raise ValidationError(list(refusal.messages)) from refusal
    if compact != text:
        raise ValidationError(_("Écrivez l’IBAN sans espaces."))


def bank_code(text: str) -> None:
    """Raises ValidationError for what is no BIC."""
    try:
        BIC(text)
    except SchwiftyException as error:
        raise ValidationError(_("Ce BIC n’est pas juste : huit ou onze lettres et chiffres.")) from error


class RegieQuerySet(models.QuerySet["Regie"]):
    def current(self) -> "Regie":
        """The régie, or what a new one starts with; writes nothing. One query."""
        return self.order_by("pk").first() or Regie()


@pghistory.track(append_only=True)
class Regie(models.Model):
    """The public till that collects for every commune: who stands at the head of each paper from now on, and its rules.

    What its council decides (whether families may have a card's money back on the card, what it keeps of a commune's
    revenue, what a deposit of one's own amount costs) and the account that its transfers leave from are here rather than on
    the server: those who answer for the money change them, and what they were stays in the history. An app imports only
    downwards: the wallet's transfers are given the account (`debtor`) by the page that prepares them.
    """

    code = models.SlugField(_("code"), max_length=20, unique=True, default="regie", editable=False)
    name = models.CharField(
        _("nom"), max_length=120, default=_("Régie de recettes de la plateforme citoyenne"), db_default=""
    )
    authority = models.CharField(
        _("collectivité"), max_length=120, default=_("Communauté d’agglomération du Puy-en-Velay"), db_default=""
    )
    address = models.TextField(_("adresse"), blank=True, default="", db_default="")
    siret = models.CharField(
        _("SIRET"), max_length=14, blank=True, default="", db_default="", validators=[siret_number]
    )
    officer = models.CharField(
        _("qui signe"),
        max_length=120,
        default=_("Le régisseur"),
        db_default="",
        help_text=_("Titre et nom de la personne au nom de qui les pièces sont éditées."),
    )
    legal = models.TextField(
        _("mentions légales"),
        blank=True,
        default=_(
            "Services publics administratifs, sociaux, éducatifs, culturels et sportifs : hors du champ de la TVA "
            "(article 256 B du code général des impôts)."
        ),
        db_default="",
        help_text=_("Au bas de chaque pièce. Ce qui est déjà édité ne change pas."),
    )
    card_refunds = models.BooleanField(
        _("les familles peuvent se faire rembourser sur leur carte"),
        default=False,
        db_default=False,
        help_text=_(
            "Quand elles annulent, et si le prestataire sait rembourser ; sinon la somme va dans leur porte-monnaie, ce qui "
            "reste toujours possible. Les agents de la régie peuvent de toute façon rembourser une carte."
        ),
    )
    top_up_fee = MoneyField(
        _("frais d’un dépôt de montant personnalisé (€)"),
        default=Decimal("0.01"),
        db_default=Decimal("0.01"),
        help_text=_("Ajoutés au montant que la famille choisit elle-même ; les packs n’en ont pas."),
    )
    top_up_least = MoneyField(
        _("plus petit dépôt de montant personnalisé (€)"),
        default=Decimal("1.00"),
        db_default=Decimal("1.00"),
    )
    top_up_most = MoneyField(
        _("plus grand dépôt de montant personnalisé (€)"),
        default=Decimal("500.00"),
        db_default=Decimal("500.00"),
        help_text=_("Les packs valent ce qu’ils valent : ces limites ne les concernent pas."),
    )
    counter_most = MoneyField(
        _("plus grand encaissement au guichet (€)"),
        default=Decimal("2000.00"),
        db_default=Decimal("2000.00"),
        help_text=_("En espèces, la loi limite de toute façon à 300\u00a0€ (code général des impôts, article 1680)."),
    )
    remittance_percent = models.DecimalField(
        _("part des commissions retenue aux communes (%)"),
        max_digits=4,
        decimal_places=2,
        default=Decimal("0.00"),
        db_default=Decimal("0.00"),
        help_text=_(
            "Retenue sur ce que chaque commune a gagné, à chaque reversement ; 0 : l’agglomération paie seule les prestataires. "
            "Les relevés déjà émis ne changent pas."
        ),
    )
    iban = models.CharField(
        _("IBAN"),
        max_length=34,
        blank=True,
        default="",
        db_default="",
        validators=[account_number],
        help_text=_("Le compte de dépôt de fonds d’où partent les virements aux familles."),
    )
    bic = models.CharField(
        _("BIC"),
        max_length=11,
        blank=True,
        default="",
        db_default="",
        validators=[bank_code],
        help_text=_("Tel que l’écrit le contrat de la banque."),
    )

    objects = RegieQuerySet.as_manager()

    class Meta:
        verbose_name = _("régie")
        verbose_name_plural = _("régies")
        constraints = [
            models.CheckConstraint(
                condition=Q(top_up_fee__gte=0, top_up_fee__lte=MOST_FEE), name="regie_fee_is_moderate"
            ),
            models.CheckConstraint(
                condition=Q(top_up_least__gt=0, top_up_most__gte=F("top_up_least"), top_up_most__lte=MOST_TAKEN),
                name="regie_deposits_have_bounds",
            ),
            models.CheckConstraint(
                condition=Q(counter_most__gt=0, counter_most__lte=MOST_TAKEN), name="regie_counter_has_a_bound"
            ),
            models.CheckConstraint(
                condition=Q(remittance_percent__gte=0, remittance_percent__lte=MOST_PERCENT),
                name="regie_part_is_moderate",
            ),
            models.CheckConstraint(
                condition=Q(iban="") | Q(iban__regex=r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"),
                name="regie_iban_is_compact",
            ),
            models.CheckConstraint(
                condition=Q(bic="") | Q(bic__regex=r"^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$"),
                name="regie_bic_is_compact",
            ),
            models.CheckConstraint(
                condition=Q(iban="")
                | Q(bic="")
                | Q(Exact(Left("iban", 2), Substr("bic", 5, 2)))
                | Q(iban__regex="^FR", bic__regex=rf"^.{{4}}({FRENCH})"),
                name="regie_bic_is_of_its_iban",
            ),
        ]
        triggers = [
            pgtrigger.ReadOnly(name="regie_keeps_its_code", fields=["code"]),
            pgtrigger.Protect(name="regies_are_kept", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def debtor(self) -> Debtor:
        """The account that transfers leave from; its IBAN is empty until somebody has written it."""
        return Debtor(self.name, self.iban, self.bic)


class Kind(models.TextChoices):
    """What a paper is; each kind has its own series, so that none waits for another's lock."""

    RECEIPT = "receipt", _("Reçu")
    INVOICE = "invoice", _("Facture mensuelle")
    REFUND = "refund", _("Note de remboursement")
    PAYMENTS = "payments", _("Attestation de règlements")
    CHILDCARE = "childcare", _("Attestation fiscale de frais de garde")
    CANCELLATION = "cancellation", _("Annulation d’une pièce")


LETTERS = {
    Kind.RECEIPT: "R",
    Kind.INVOICE: "F",
    Kind.REFUND: "RB",
    Kind.PAYMENTS: "AR",
    Kind.CHILDCARE: "AF",
    Kind.CANCELLATION: "AN",
}
OF_A_PERIOD = (Kind.INVOICE, Kind.PAYMENTS, Kind.CHILDCARE)


class SeriesQuerySet(models.QuerySet["Series"]):
    def with_count(self) -> Self:
        """Each with `issued`, how many papers it has, and `highest`, their highest number: both are its last number."""
        return annotated(self, issued=models.Count("documents"), highest=Coalesce(models.Max("documents__number"), 0))


class Series(models.Model):
    """The numbers of one kind of paper in one year of the régie: 1, 2, 3… without a gap."""

    regie = models.ForeignKey(Regie, on_delete=models.PROTECT, related_name="series", verbose_name=_("régie"))
    kind = models.CharField(_("nature"), max_length=12, choices=Kind)
    year = models.PositiveSmallIntegerField(_("année"))
    last = models.PositiveIntegerField(_("dernier numéro"), default=0, editable=False)

    issued: int  # read by with_count
    highest: int

    objects = SeriesQuerySet.as_manager()

    class Meta:
        verbose_name = _("série de numéros")
        verbose_name_plural = _("séries de numéros")
        ordering = ["-year", "kind"]
        constraints = [models.UniqueConstraint(fields=["regie", "kind", "year"], name="one_series_per_kind_and_year")]
        triggers = [
            # The counter follows the papers (trigger `document_takes_the_next_number`), which run it one trigger deeper.
            pgtrigger.Trigger(
                name="counter_follows_documents",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("last"),
                condition=pgtrigger.Condition("OLD.last IS DISTINCT FROM NEW.last AND pg_trigger_depth() = 0"),
                func="RAISE EXCEPTION 'checkout_series.last moves only with its documents';",
            ),
            pgtrigger.Trigger(
                name="series_starts_at_zero",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.last <> 0"),
                func="RAISE EXCEPTION 'checkout_series: a series starts at zero';",
            ),
            pgtrigger.ReadOnly(name="series_is_frozen", fields=["regie", "kind", "year"]),
            pgtrigger.Protect(name="series_are_kept", operation=pgtrigger.Delete),
            not_truncated("series_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{Kind(self.kind).label} {self.year}"


TAKES_THE_NEXT_NUMBER = """
    UPDATE checkout_series SET last = last + 1
    WHERE id = NEW.series_id AND last + 1 = NEW.number AND kind = NEW.kind
      AND year = date_part('year', NEW.issued_at AT TIME ZONE 'Europe/Paris');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'checkout_document: a document has the next number of its series, its kind and its year'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""
# A cancellation ends a paper of the same person that is none itself, for the same amount; a new edition follows a cancelled one.
FOLLOWS_ANOTHER = """
    IF NEW.cancels_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM checkout_document d WHERE d.id = NEW.cancels_id AND d.user_id = NEW.user_id
          AND d.kind <> 'cancellation' AND d.amount = -NEW.amount
    ) THEN
        RAISE EXCEPTION 'checkout_document: a cancellation ends a document of the same person, for its whole amount'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.edition > 1 AND NOT EXISTS (
        SELECT 1 FROM checkout_document d JOIN checkout_document c ON c.cancels_id = d.id
        WHERE d.kind = NEW.kind AND d.subject = NEW.subject AND d.user_id = NEW.user_id AND d.edition = NEW.edition - 1
    ) THEN
        RAISE EXCEPTION 'checkout_document: a new edition follows a cancelled one'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""

# One refund, one note: what a cancellation sent on to cards stands on the cancellation's, once it is known where it arrived.
TELLS_OF_A_REFUND_ONCE = """
    IF EXISTS (SELECT 1 FROM checkout_refund WHERE movement_id = NEW.movement_id AND cancellation_id IS NOT NULL) THEN
        RAISE EXCEPTION 'checkout_document: the note of a cancellation tells of its refunds to cards'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF EXISTS (SELECT 1 FROM checkout_refund WHERE cancellation_id = NEW.movement_id AND status = 'requested') THEN
        RAISE EXCEPTION 'checkout_document: a note waits for the refunds that are on their way to cards'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


def folder(moment: dt.datetime) -> str:
    """Where the files of a month are kept, Paris time."""
    return f"pieces/{moment.astimezone(PARIS):%Y/%m}"


def file_path(document: "Document", _name: str) -> str:
    """A name that nobody guesses, in a folder of its month."""
    return f"{folder(document.issued_at)}/{uuid.uuid4().hex}.pdf"


class DocumentQuerySet(models.QuerySet["Document"]):
    def of(self, user: "User") -> Self:
        return self.filter(user=user)

    def visible_to(self, user: "User") -> Self:
        """A paper tells of every commune that a family pays: it is the régie's alone."""
        return self if user.is_operator else self.none()

    def with_state(self) -> Self:
        """Each with `is_cancelled`: whether another paper has ended it."""
        return annotated(self, is_cancelled=Exists(Document.objects.filter(cancels=OuterRef("pk"))))

    def live(self) -> Self:
        """Papers that no other paper has ended."""
        return self.filter(cancelled_by=None).exclude(kind=Kind.CANCELLATION)


class Document(models.Model):
    """One issued paper (« pièce »): its number, all that is printed on it, and its file.

    `subject` is what it is about, once for each kind and edition: `order:12`, `movement:7`, `2026-10-01/2026-10-31`.
    """

    series = models.ForeignKey(Series, on_delete=models.PROTECT, related_name="documents", verbose_name=_("série"))
    kind = models.CharField(_("nature"), max_length=12, choices=Kind)
    number = models.PositiveIntegerField(_("numéro"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="papers", verbose_name=_("usager")
    )
    issued_at = models.DateTimeField(_("éditée le"))
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("éditée par")
    )
    subject = models.CharField(_("objet"), max_length=60)
    edition = models.PositiveSmallIntegerField(_("édition"), default=1, validators=[MinValueValidator(1)])
    order = models.ForeignKey(
        "checkout.Order", on_delete=models.PROTECT, null=True, related_name="papers", verbose_name=_("commande")
    )
    movement = models.ForeignKey(
        Movement, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("mouvement")
    )
    first_day = models.DateField(_("du"), null=True)
    last_day = models.DateField(_("au"), null=True)
    amount = MoneyField(_("montant"))
    data = models.JSONField(_("contenu"))
    file = models.FileField(_("fichier"), upload_to=file_path, max_length=80)
    sha256 = models.CharField(_("empreinte"), max_length=64)
    size = models.PositiveIntegerField(_("taille en octets"))
    cancels = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, related_name="cancelled_by", verbose_name=_("annule")
    )
    reason = models.CharField(_("motif"), max_length=LONGEST_REASON, blank=True, default="")

    is_cancelled: bool  # read by with_state

    objects = DocumentQuerySet.as_manager()

    class Meta:
        verbose_name = _("pièce")
        verbose_name_plural = _("pièces")
        ordering = ["-issued_at", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["series", "number"], name="one_document_per_number"),
            models.UniqueConstraint(fields=["kind", "user", "subject", "edition"], name="one_document_per_subject"),
            models.CheckConstraint(
                condition=Q(kind=Kind.CANCELLATION, cancels__isnull=False) & ~Q(reason="")
                | ~Q(kind=Kind.CANCELLATION) & Q(cancels=None, reason=""),
                name="cancellation_has_its_reason",
            ),
            models.CheckConstraint(
                condition=Q(kind=Kind.RECEIPT, order__isnull=False) | ~Q(kind=Kind.RECEIPT) & Q(order=None),
                name="receipt_has_its_order",
            ),
            models.CheckConstraint(
                condition=Q(kind=Kind.REFUND, movement__isnull=False) | ~Q(kind=Kind.REFUND) & Q(movement=None),
                name="refund_has_its_movement",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=OF_A_PERIOD, first_day__isnull=False, last_day__gte=F("first_day"))
                & Q(last_day__isnull=False)
                | ~Q(kind__in=OF_A_PERIOD) & Q(first_day=None, last_day=None),
                name="document_has_its_period",
            ),
            models.CheckConstraint(
                condition=Q(sha256__regex=r"^[0-9a-f]{64}$", size__gt=0), name="document_has_a_file"
            ),
        ]
        triggers = [
            # In the order of their names: who follows nothing takes no number.
            pgtrigger.Trigger(
                name="document_follows_another",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.cancels_id IS NOT NULL OR NEW.edition > 1"),
                func=FOLLOWS_ANOTHER,
            ),
            # A CHECK would end a deployment at the notes over 0,00 € that were issued before this rule.
            pgtrigger.Trigger(
                name="document_gives_something_back",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.kind = 'refund' AND NEW.amount <= 0"),
                func="""
    RAISE EXCEPTION 'checkout_document: a note tells of money that was given back'
        USING ERRCODE = 'integrity_constraint_violation';
""",
            ),
            pgtrigger.Trigger(
                name="document_takes_the_next_number",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=TAKES_THE_NEXT_NUMBER,
            ),
            pgtrigger.Trigger(
                name="document_tells_of_a_refund_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.kind = 'refund'"),
                func=TELLS_OF_A_REFUND_ONCE,
            ),
            pgtrigger.Protect(name="documents_are_frozen", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("documents_are_kept"),
        ]
        indexes = [
            models.Index(fields=["user", "-issued_at"], name="document_by_user"),
            models.Index(fields=["issued_at"], name="document_by_moment"),
        ]

    def __str__(self) -> str:
        return f"{Kind(self.kind).label} {self.reference}"

    def get_absolute_url(self) -> str:
        return reverse("paper", args=[self.pk])

    @property
    def reference(self) -> str:
        """What stands on the paper and is quoted on the telephone: `F-2026-000012`."""
        return reference(Kind(self.kind), self.issued_at, self.number)

    @property
    def file_name(self) -> str:
        return f"{self.reference}.pdf"


def reference(kind: Kind, issued_at: dt.datetime, number: int) -> str:
    """The number of a paper with the letter of its kind and its year, in Paris time."""
    return f"{LETTERS[kind]}-{issued_at.astimezone(PARIS).year}-{number:06d}"


class InvoiceRun(models.Model):
    """The invoices of one month: how far they are, and since when they are all issued."""

    month = models.DateField(_("mois"), unique=True)
    started_at = models.DateTimeField(_("commencée le"), auto_now_add=True)
    families = models.PositiveIntegerField(_("familles à facturer"))
    issued = models.PositiveIntegerField(_("factures éditées"), default=0)
    failed = models.PositiveIntegerField(_("en échec au dernier passage"), default=0)
    last_error = models.TextField(_("dernière erreur"), blank=True, default="")
    finished_at = models.DateTimeField(_("terminée le"), null=True)

    class Meta:
        verbose_name = _("facturation d’un mois")
        verbose_name_plural = _("facturations mensuelles")
        ordering = ["-month"]
        constraints = [
            models.CheckConstraint(condition=Q(month__day=1), name="run_is_of_a_month"),
            models.CheckConstraint(condition=Q(finished_at=None) | Q(failed=0), name="finished_run_has_no_failure"),
        ]

    def __str__(self) -> str:
        return f"{self.month:%m/%Y}"
