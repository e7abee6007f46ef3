"""PayFiP's other side: its SOAP service, held to its public WSDL both ways, and the page in front of which people pay.

It refuses what the guide of the régies' web service refuses, with the codes of the guide, and shares no line with the
provider.
"""

import html
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

from django.urls import reverse
from lxml import etree

from checkout.models import Payment
from checkout.providers import payfip
from tests.faults.bank import Bank, Notification, Server, call

CLIENT, MODE = "090909", "W"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
WSDL = Path(__file__).with_name("payfip_wsdl")
SCHEMA = etree.XMLSchema(etree.parse(WSDL / "PaiementSecuriseService_schema1.xsd"))
(DEFINITIONS,) = etree.parse(WSDL / "PaiementSecuriseService.wsdl").xpath("/*")
TNS = DEFINITIONS.get("targetNamespace")
ADDRESS = urlsplit(DEFINITIONS.find(".//{*}address").get("location")).path  # /tpa/services/securite
PAGE, DECISION = "/tpa/paiementws.web", "/tpa/decision"
PAID, DEBITED, REFUSED, GIVEN_UP = "P", "V", "R", "A"


class Fault(Exception):
    """A functional fault, by its code in the guide."""


@dataclass
class Operation:
    """A payment that was created: what it is for, and its result once there is one."""

    idop: str
    values: dict[str, str]
    result: str = ""
    planted: bool = False  # made by somebody else than the platform: its money is not ours to account for


@dataclass
class Books:
    operations: dict[str, Operation] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, values: Mapping[str, str], **more: Any) -> Operation:
        row = Operation(str(uuid.uuid4()), dict(values), **more)
        with self.lock:
            self.operations[row.idop] = row
        return row

    def ours(self, reference: str) -> Operation:
        """What the platform created last under a reference."""
        rows = [row for row in self.operations.values() if row.values["refdet"] == reference and not row.planted]
        return rows[-1]


# What the guide asks of each value, and the code of its refusal.
RULES: Mapping[str, tuple[str, str]] = {
    "numcli": (CLIENT, "T2"),
    "exer": (r"\d{4}", "E1"),
    "refdet": (r"[A-Za-z0-9]{6,30}", "R3"),
    "objet": (r"[A-Za-z0-9 ]{0,100}", "O1"),
    "montant": (r"[1-9]\d{2,10}", "M3"),
    "mel": (r"(?=.{6,80}$)[^@\s]+@[^@\s]+\.[^@\s]+", "A2"),
    "saisie": (r"[TXW]", "S1"),
    "urlnotif": (r"(?=.{1,250}$)https?://\S+", "N1"),
    "urlredirect": (r"(?=.{1,250}$)https?://\S+", "D1"),
}


def handler(bank: "PayfipBank") -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            row = bank.books.operations.get(dict(parse_qsl(parts.query)).get("idop", ""))
            if parts.path != PAGE or row is None:
                self.send_error(404)
            else:
                self.answer(bank.page(row), "text/html; charset=utf-8")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == ADDRESS:
                status, answer = bank.soap(body)
                self.answer(answer, "text/xml; charset=utf-8", status)
            elif self.path == DECISION:
                self.send_response(302)
                self.send_header("Location", bank.decide(dict(parse_qsl(body.decode()))))
                self.end_headers()
            else:
                self.send_error(404)

        def answer(self, body: bytes, kind: str, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


class PayfipBank(Bank):
    slug = "payfip"

    def __init__(self, site: str) -> None:
        super().__init__(site)
        self.books = Books()
        self.server = Server(handler(self))
        self.tells = True  # whether a decision on its page is told by a notification
        self.is_ill = False  # whether the service answers by a technical fault
        self.settings = {
            "PAYFIP_NUMCLI": CLIENT,
            "PAYFIP_SAISIE": MODE,
            "PAYFIP_SERVICE_URL": f"{self.server.url}{ADDRESS}",
            "PAYFIP_PAGE_URL": f"{self.server.url}{PAGE}",
        }

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.stop()

    # -- Its servers --

    def soap(self, body: bytes) -> tuple[int, bytes]:
        """The answer to a SOAP message, and its HTTP status."""
        request = etree.fromstring(body).find(f"{{{SOAP}}}Body")[0]
        SCHEMA.assertValid(request)  # a request that the WSDL does not know fails its test: the handler dies
        operation = etree.QName(request).localname
        if DEFINITIONS.find(f"{{*}}portType/{{*}}operation[@name='{operation}']") is None:
            raise LookupError(operation)
        values = {child.tag: child.text or "" for child in request.find("arg0")}
        if self.is_ill:
            return 500, self._fault("TechIndisponibiliteErreur", "I1", "Service indisponible")
        try:
            answer = self._answers()[operation](values)
        except Fault as fault:
            return 500, self._fault("FonctionnelleErreur", str(fault), "Refus du service")
        element = etree.Element(f"{{{TNS}}}{operation}Response")
        inside = etree.SubElement(element, "return")
        for name in sorted(answer, key=str.lower):
            etree.SubElement(inside, name).text = answer[name]
        SCHEMA.assertValid(element)
        return 200, self._envelope(element)

    def _answers(self) -> Mapping[str, Callable[[Mapping[str, str]], dict[str, str]]]:
        return {
            "creerPaiementSecurise": self._create,
            "recupererDetailPaiementSecurise": self._result,
            "recupererDetailClient": self._client,
        }

    def _create(self, values: Mapping[str, str]) -> dict[str, str]:
        for name, (pattern, code) in RULES.items():
            if not re.fullmatch(pattern, values.get(name, "")):
                raise Fault(code)
        return {"idOp": self.books.add(values).idop}

    def _result(self, values: Mapping[str, str]) -> dict[str, str]:
        row = self.books.operations.get(values["idOp"])
        if row is None:
            raise Fault("P1")
        if not row.result:
            raise Fault("P5")
        kept = ("exer", "mel", "montant", "numcli", "objet", "refdet", "saisie")
        return {name: row.values.get(name, "") for name in kept} | {
            "idOp": row.idop,
            "resultrans": row.result,
            "numauto": "168753" if row.result == PAID else "",
            "dattrans": "22112026",
            "heurtrans": "1430",
        }

    def _client(self, values: Mapping[str, str]) -> dict[str, str]:
        if values["numCli"] != CLIENT:
            raise Fault("T2")
        return {"libelleN1": "REGIE ENFANCE", "libelleN2": "LE PUY-EN-VELAY", "libelleN3": "", "numcli": CLIENT}

    def _fault(self, name: str, code: str, text: str) -> bytes:
        detail = etree.Element(f"{{{TNS}}}{name}")
        for part, value in (
            ("code", code),
            ("descriptif", ""),
            ("libelle", text),
            ("message", text),
            ("severite", "2"),
        ):
            etree.SubElement(detail, part).text = value
        SCHEMA.assertValid(detail)
        fault = etree.Element(f"{{{SOAP}}}Fault")
        etree.SubElement(fault, "faultcode").text = "S:Server"
        etree.SubElement(fault, "faultstring").text = f"fr.gouv.finances.cp.tpa.webservice.exceptions.{name}"
        etree.SubElement(fault, "detail").append(detail)
        return self._envelope(fault)

    def _envelope(self, inside: Any) -> bytes:
        envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"S": SOAP})
        etree.SubElement(envelope, f"{{{SOAP}}}Body").append(inside)
        return etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")

    def page(self, row: Operation) -> bytes:
        """The page in front of which the payer stands."""
        buttons = "".join(
            f'<button name="result" value="{result}">{words}</button>'
            for result, words in ((PAID, "Payer par carte"), (REFUSED, "Carte refusée"), (GIVEN_UP, "Annuler"))
        )
        return (
            f'<!doctype html><html lang="fr"><link rel="icon" href="data:,"><title>PayFiP</title><h1>Paiement en ligne PayFiP</h1>'
            f"<p>{html.escape(row.values['objet'])}, {int(row.values['montant']) / 100:.2f} EUR</p>"
            f'<form method="post" action="{DECISION}"><input type="hidden" name="idop" value="{row.idop}">'
            f"{buttons}</form></html>"
        ).encode()

    def decide(self, choice: Mapping[str, str]) -> str:
        """What the payer pressed; the address that the browser is sent to."""
        row = self.books.operations[choice["idop"]]
        self._end(row, choice["result"])
        if self.tells:
            told = self._told(row)
            call(row.values["urlnotif"], told.body, told.headers)
        return f"{row.values['urlredirect']}?idop={row.idop}"

    # -- The payer --

    def pay(self, payment: Payment) -> None:
        self._end(self.books.ours(payment.reference), PAID)

    def refuse(self, payment: Payment) -> None:
        self._end(self.books.ours(payment.reference), REFUSED)

    def abandon(self, payment: Payment) -> None:
        self._end(self.books.ours(payment.reference), GIVEN_UP)

    def _end(self, row: Operation, result: str) -> None:
        with self.books.lock:
            if row.result not in {PAID, DEBITED}:  # an idOp is paid once
                row.result = result

    def way_back(self, payment: Payment) -> str:
        address = reverse("payment_return", args=[self.slug, payment.reference])
        return f"{address}?idop={self.books.ours(payment.reference).idop}"

    # -- What it says: the idOp and nothing else --

    def _told(self, row: Operation) -> Notification:
        return Notification(f"idop={row.idop}".encode())

    def notification(self, payment: Payment) -> Notification:
        return self._told(self.books.ours(payment.reference))

    def history(self, payment: Payment) -> Sequence[Notification]:
        told = []
        for step in (self.refuse, self.abandon, self.pay):
            step(payment)
            told.append(self.notification(payment))
        return told

    def plant(self, reference: str, cents: int, **changes: str) -> Operation:
        """A payment that somebody else created, and that is paid: the service asks nobody for a secret."""
        values = {"refdet": reference, "montant": str(cents), "numcli": CLIENT, "saisie": MODE} | changes
        return self.books.add(values, result=PAID, planted=True)

    def forged(self, payment: Payment) -> Sequence[Notification]:
        cents = int(payment.amount * 100)
        with_nothing = self.plant(payment.reference, cents, saisie="T")
        anothers = self.plant(payment.reference, cents, numcli="123456")
        return [
            self._told(with_nothing),
            self._told(anothers),
            Notification(f"idop={uuid.uuid4()}".encode()),
            Notification(f"idop={payment.reference}&resultrans=P&montant={cents}".encode()),
            Notification(b"idop=' OR 1=1 --"),
            Notification(b"idop="),
            Notification(b"\xff\x00"),
            Notification(),
        ]

    def of_another_amount(self, payment: Payment) -> Notification:
        return self._told(self.plant(payment.reference, int(payment.amount * 100) - 1))

    def of_nobody(self) -> Notification:
        return self._told(self.plant("REFERENCEINCONNUE", 3160))

    # -- The network, its books --

    @contextmanager
    def down(self) -> Iterator[None]:
        with self.server.down():
            yield

    @contextmanager
    def slow(self) -> Iterator[None]:
        with mock.patch.object(payfip, "TIMEOUT", (0.5, 0.2)), self.server.slow():
            yield

    def taken(self) -> Decimal:
        paid = [row for row in self.books.operations.values() if row.result in {PAID, DEBITED} and not row.planted]
        return sum((Decimal(row.values["montant"]) / 100 for row in paid), Decimal("0.00"))
