"""PayFiP régie, the payment service of the State's public finances, that every public body must offer (decree 2018-689).

From its public « guide de mise en œuvre, régies, web-service » and its WSDL: a payment is created (which gives an idOp),
the browser goes there with it, PayFiP calls back with the idOp alone, and is asked what became of it. Nothing that
arrives here is believed: only the answer of the service, for our own régie and in our own mode.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from django.conf import settings
from django.utils import timezone
from lxml import etree

from checkout.providers.base import (
    Arrival,
    Departure,
    Forged,
    Health,
    Impossible,
    Known,
    Message,
    Outcome,
    Provider,
    Request,
    Unreachable,
)
from portal.common.formats import sort_key

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
NAMESPACE = (
    "http://securite.service.tpa.cp.finances.gouv.fr/services/mas_securite/"
    "contrat_paiement_securise/PaiementSecuriseService"
)
CREATE, RESULT, CLIENT = "creerPaiementSecurise", "recupererDetailPaiementSecurise", "recupererDetailClient"
# Test, activation (one real payment that proves the contract), production.
MODES = {"T", "X", "W"}
IDOP = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# resultrans: paid by card (P) or by direct debit (V), refused (R, Z), given up (A).
OUTCOMES = {
    "P": Outcome.CAPTURED,
    "V": Outcome.CAPTURED,
    "R": Outcome.REFUSED,
    "Z": Outcome.REFUSED,
    "A": Outcome.ABANDONED,
}
# Faults: an idOp that is none, or was never used and swept away the night after; one whose end is not known yet.
UNKNOWN, NOT_YET = "P1", "P5"

TIMEOUT = (3, 5)  # seconds to connect, to answer: somebody waits in front of the page


@dataclass
class Fault(Exception):
    """The service understood, and answers that it will not: its code and its sentence."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()


class PayfipProvider(Provider):
    slug = "payfip"
    label = "PayFiP (finances publiques)"
    smallest = Decimal("1.00")

    variables = ("PAYFIP_NUMCLI",)

    def __init__(self) -> None:
        self.client, self.mode = settings.PAYFIP_NUMCLI, settings.PAYFIP_SAISIE
        self.service, self.page = settings.PAYFIP_SERVICE_URL, settings.PAYFIP_PAGE_URL

    @property
    def origins(self) -> Sequence[str]:
        parts = urlsplit(self.page)
        return [f"{parts.scheme}://{parts.netloc}"]

    def faults(self) -> Sequence[str]:
        found = []
        if self.client and not re.fullmatch(r"\d{6}", self.client):
            found.append("PAYFIP_NUMCLI doit être le numéro de client que la DGFiP a donné à la régie : 6 chiffres.")
        if self.mode not in MODES:
            found.append("PAYFIP_SAISIE vaut W (production, d’office), X (activation) ou T (test).")
        return found

    def start(self, request: Request) -> Departure:
        if self.missing or self.faults():
            raise Impossible(" ".join([*self.missing, *self.faults()]))
        try:
            answer = self._call(
                CREATE,
                {
                    "exer": f"{timezone.localdate().year}",
                    "mel": request.email,
                    "montant": f"{int(request.amount * 100)}",
                    "numcli": self.client,
                    "objet": _plain(request.label),
                    # 6 to 30 letters and digits, unique for the régie: what our references are made of.
                    "refdet": request.reference,
                    "saisie": self.mode,
                    "urlnotif": request.notify_url,
                    "urlredirect": request.return_url,
                },
            )
        except Fault as fault:
            raise Impossible(str(fault)) from fault
        idop = answer.get("idOp", "")
        if not IDOP.fullmatch(idop):
            raise Unreachable("no idOp")
        return Departure(f"{self.page}?idop={quote(idop)}", provider_reference=idop)

    def read(self, arrival: Arrival) -> Message:
        idop = _idop(arrival)
        if not IDOP.fullmatch(idop):
            raise Forged("no idOp")
        try:
            return self._message(idop)
        except Fault as fault:
            if fault.code == UNKNOWN:
                raise Forged(str(fault)) from fault
            # Nothing to apply yet, and no reference to apply it to: it says it again, and we ask.
            raise Unreachable(str(fault)) from fault

    def about(self, arrival: Arrival) -> str:
        return _idop(arrival)

    def query(self, known: Known) -> Message:
        if not known.provider_reference:
            # The idOp is stored before any browser is sent there with it: nobody can have paid without.
            return Message(known.reference, Outcome.PENDING, known.amount)
        try:
            message = self._message(known.provider_reference)
        except Fault as fault:
            if fault.code not in {UNKNOWN, NOT_YET}:
                raise Unreachable(str(fault)) from fault
            outcome = Outcome.PENDING if fault.code == NOT_YET else Outcome.ABANDONED
            return Message(known.reference, outcome, known.amount, known.provider_reference)
        if message.reference != known.reference:
            raise Forged(f"the idOp is of {message.reference}")
        return message

    def health(self) -> Health:
        if self.missing:
            return Health(False, False, "Il manque PAYFIP_NUMCLI, le numéro de client de la régie.")
        if self.faults():
            return Health(False, False, " ".join(self.faults()))
        try:
            answer = self._call(CLIENT, {"numCli": self.client})
        except Unreachable:
            return Health(True, False, "PayFiP ne répond pas.")
        except Fault as fault:
            return Health(True, False, f"PayFiP refuse la régie {self.client} : {fault}.")
        name = " ".join(answer[part] for part in ("libelleN1", "libelleN2", "libelleN3") if answer.get(part))
        return Health(
            True,
            True,
            f"PayFiP répond pour « {name or self.client} » (mode {self.mode}). Il ne rembourse rien : un remboursement se "
            "fait au porte-monnaie, au guichet ou par virement.",
        )

    def _message(self, idop: str) -> Message:
        """What became of a payment. Raises Fault, Unreachable, and Forged for one of another régie or another mode.

        Anybody may create a payment in our régie's name, and in test mode pay it with nothing: its mode counts.
        """
        detail = self._call(RESULT, {"idOp": idop})
        if (detail.get("numcli"), detail.get("saisie")) != (self.client, self.mode):
            raise Forged(f"of the régie {detail.get('numcli')} in mode {detail.get('saisie')}")
        if detail.get("idOp", idop).lower() != idop.lower():
            raise Forged("another idOp was answered")
        amount, result, reference = detail.get("montant", ""), detail.get("resultrans", ""), detail.get("refdet", "")
        if not (reference and re.fullmatch(r"[0-9]{1,11}", amount) and result in {"", *OUTCOMES}):
            raise Forged(f"amount {amount!r}, result {result!r}, reference {reference!r}")
        return Message(reference, OUTCOMES.get(result, Outcome.PENDING), Decimal(amount) / 100, idop)

    def _call(self, operation: str, values: Mapping[str, str]) -> dict[str, str]:
        """Ask the service: one level of named texts in, one out. Raises Fault, Unreachable."""
        try:
            response = requests.post(
                self.service,
                data=_envelope(operation, values),
                headers={"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'},
                timeout=TIMEOUT,
                allow_redirects=False,
            )
            # A fault comes with status 500: what it says is in its body.
            root = etree.fromstring(response.content, etree.XMLParser(resolve_entities=False, no_network=True))
        except (requests.RequestException, etree.XMLSyntaxError, ValueError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}"[:200]) from error
        body = root.find(f"{{{ENVELOPE}}}Body")
        fault = None if body is None else body.find(f"{{{ENVELOPE}}}Fault")
        if fault is not None:
            raise _fault(fault)
        answer = None if body is None else body.find(f"{{{NAMESPACE}}}{operation}Response/return")
        if answer is None or not response.ok:
            raise Unreachable(f"no answer to {operation} (HTTP {response.status_code})")
        return _texts(answer)


def _idop(arrival: Arrival) -> str:
    """The idOp that a notification names, as it came; empty: none."""
    return {name.lower(): value for name, value in arrival.fields.items()}.get("idop", "")


def _envelope(operation: str, values: Mapping[str, str]) -> bytes:
    """The SOAP message of an operation. Raises ValueError for a text that XML cannot hold."""
    envelope = etree.Element(f"{{{ENVELOPE}}}Envelope", nsmap={"soapenv": ENVELOPE, "pai": NAMESPACE})
    body = etree.SubElement(envelope, f"{{{ENVELOPE}}}Body")
    arguments = etree.SubElement(etree.SubElement(body, f"{{{NAMESPACE}}}{operation}"), "arg0")
    for name, value in values.items():
        etree.SubElement(arguments, name).text = value
    return etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")


def _fault(fault: Any) -> Fault | Unreachable:
    """A functional fault with its code; a technical one passes."""
    detail = fault.find(f"detail/{{{NAMESPACE}}}FonctionnelleErreur")
    if detail is None:
        return Unreachable((fault.findtext("faultstring") or "SOAP fault")[:200])
    texts = _texts(detail)
    return Fault(texts.get("code", ""), texts.get("libelle") or texts.get("descriptif", ""))


def _texts(element: Any) -> dict[str, str]:
    return {child.tag: (child.text or "").strip() for child in element if isinstance(child.tag, str)}


def _plain(text: str) -> str:
    """As the service takes an object: capitals without accents, digits and spaces, 100 of them."""
    return re.sub(r"[^A-Z0-9]+", " ", sort_key(text).upper()).strip()[:100]


def provider() -> PayfipProvider:
    """The provider, as the environment configures it."""
    return PayfipProvider()
