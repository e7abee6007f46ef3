"""Paybox's other side: the page that a signed form opens, the message (IPN) that it signs, and Paybox Direct.

It checks our form's HMAC over the bytes that arrived, signs its messages with a real RSA key that is made for the test,
and keeps books of its own. It shares no line with the provider: what both compute, each computes by itself.
"""

import base64
import hashlib
import hmac
import html
import itertools
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from unittest import mock
from urllib.parse import parse_qsl, quote, urlencode

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.urls import reverse
from lxml import etree

from checkout.models import Payment
from checkout.providers import paybox
from portal.common.money import ZERO
from tests.faults.bank import Bank, Notification, Server, call

SITE, RANK, IDENTIFIER, DIRECT_KEY = "1999888", "032", "107904482", "1999888I"
HMAC_KEY = "0123456789ABCDEF" * 8
# Made once: a key takes as long as a whole test.
KEY = rsa.generate_private_key(65537, 2048)
ANOTHERS_KEY = rsa.generate_private_key(65537, 2048)
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

PAGE = "/cgi/MYchoix_pagepaiement.cgi"
CARDS = {"CB", "VISA", "EUROCARD_MASTERCARD", "E_CARD"}
PAID, REFUSED, GIVEN_UP = "00000", "00105", "00001"


@dataclass
class Transaction:
    """A payment or a refund in the bank's books; `site` is the shop's that it was taken for."""

    number: str
    call: str
    reference: str
    cents: int
    status: str
    site: str = SITE
    authorisation: str = ""
    back: int = 0  # cents of it that were paid back


@dataclass
class Books:
    """What the bank knows, whoever of its threads asks."""

    forms: dict[str, dict[str, str]] = field(default_factory=dict)
    transactions: list[Transaction] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(642475))

    def add(self, reference: str, cents: int, status: str, **more: Any) -> Transaction:
        with self.lock:
            number = next(self.numbers)
            row = Transaction(f"{number:010}", f"{number + 400000:010}", reference, cents, status, **more)
            self.transactions.append(row)
            return row

    def last(self, reference: str) -> Transaction | None:
        with self.lock:
            rows = [row for row in self.transactions if row.reference == reference and row.site == SITE]
            return rows[-1] if rows else None


def sign(text: str, key: rsa.RSAPrivateKey = KEY) -> str:
    """The text with its signature behind it, as a message leaves the bank."""
    signature = base64.b64encode(key.sign(text.encode(), PKCS1v15(), SHA1())).decode()  # noqa: S303 - what Paybox signs with
    return f"{text}&signature={quote(signature, safe='')}"


def handler(bank: "PayboxBank") -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/load.html":
                self.answer(b'<html><div id="server_status" style="text-align:center;">OK</div></html>')
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            fields = parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True)
            if self.path == PAGE:
                fault = bank.look_at_form(fields)
                self.answer(fault.encode() if fault else bank.page(dict(fields)), 400 if fault else 200)
            elif self.path == "/PPPS.php":
                self.answer(urlencode(bank.direct(dict(fields)), encoding="latin-1").encode(), kind="text/plain")
            elif self.path == "/autre":
                self.answer(b"CODEREPONSE=00000&NUMQUESTION=0000000000", kind="text/plain")
            elif self.path == "/decision":
                self.send_response(302)
                self.send_header("Location", bank.decide(dict(fields)))
                self.end_headers()
            else:
                self.send_error(404)

        def answer(self, body: bytes, status: int = 200, kind: str = "text/html; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


class PayboxBank(Bank):
    slug = "paybox"

    def __init__(self, site: str) -> None:
        super().__init__(site)
        self.books = Books()
        self.server = Server(handler(self))
        self.tells = True  # whether a decision on its page is told by a message
        self.loses_the_answer = False  # whether a refund is made and its answer lost
        self.key_file = tempfile.NamedTemporaryFile(suffix=".pem")  # noqa: SIM115 - closed by __exit__
        Path(self.key_file.name).write_bytes(PUBLIC_PEM)
        self.settings = {
            "PAYBOX_SITE": SITE,
            "PAYBOX_RANG": RANK,
            "PAYBOX_IDENTIFIANT": IDENTIFIER,
            "PAYBOX_HMAC_KEY": HMAC_KEY,
            "PAYBOX_DIRECT_KEY": DIRECT_KEY,
            "PAYBOX_PAGE_URLS": [f"{self.server.url}{PAGE}"],
            "PAYBOX_DIRECT_URL": f"{self.server.url}/PPPS.php",
            "PAYBOX_PUBLIC_KEY_FILE": self.key_file.name,
        }

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.stop()
        self.key_file.close()

    # -- Its servers --

    def look_at_form(self, fields: Sequence[tuple[str, str]]) -> str:
        """What is wrong with a form; empty when it opens the page."""
        *signed, (name, given) = fields
        text = "&".join(f"{name}={value}" for name, value in signed)
        wanted = hmac.new(bytes.fromhex(HMAC_KEY), text.encode(), hashlib.sha512).hexdigest().upper()
        form = dict(signed)
        if name != "PBX_HMAC" or not hmac.compare_digest(wanted, given):
            return "HMAC"
        if (form["PBX_SITE"], form["PBX_RANG"], form["PBX_IDENTIFIANT"]) != (SITE, RANK, IDENTIFIER):
            return "merchant"
        if form["PBX_DEVISE"] != "978" or form["PBX_HASH"] != "SHA512" or not form["PBX_TOTAL"].isdecimal():
            return "amount"
        if form.get("PBX_TYPECARTE", "CB") not in CARDS or form["PBX_RUF1"] != "POST":
            return "card"
        if not form["PBX_RETOUR"].endswith(":K"):
            return "signature is not last"
        address = etree.fromstring(form["PBX_BILLING"].encode()).find("Address")
        needed = ("FirstName", "LastName", "Address1", "ZipCode", "City", "CountryCode")
        if address is None or not all(address.findtext(part) for part in needed):
            return "3-D Secure: address"
        if etree.fromstring(form["PBX_SHOPPINGCART"].encode()).findtext("total/totalQuantity", "0") == "0":
            return "3-D Secure: cart"
        with self.books.lock:
            self.books.forms[form["PBX_CMD"]] = form
        return ""

    def page(self, form: Mapping[str, str]) -> bytes:
        """The page in front of which the payer stands."""
        buttons = "".join(
            f'<button name="erreur" value="{code}">{words}</button>'
            for code, words in ((PAID, "Valider"), (REFUSED, "Carte refusée"), (GIVEN_UP, "Retour boutique"))
        )
        return (
            f'<!doctype html><html lang="fr"><link rel="icon" href="data:,"><title>Paiement</title><h1>Paiement sécurisé</h1>'
            f"<p>{int(form['PBX_TOTAL']) / 100:.2f} EUR, {html.escape(form.get('PBX_TYPECARTE', ''))}</p>"
            f'<form method="post" action="/decision"><input type="hidden" name="reference" value="{form["PBX_CMD"]}">'
            f"{buttons}</form></html>"
        ).encode()

    def decide(self, choice: Mapping[str, str]) -> str:
        """What the payer pressed; the address that the browser is sent to."""
        reference, error = choice["reference"], choice["erreur"]
        form = self.books.forms[reference]
        self._book(reference, error)
        answer = self._answer(reference, error)
        if self.tells:
            call(form["PBX_REPONDRE_A"], answer.encode(), {"Content-Type": "application/x-www-form-urlencoded"})
        back = {PAID: "PBX_EFFECTUE", GIVEN_UP: "PBX_ANNULE"}.get(error, "PBX_REFUSE")
        return f"{form[back]}?{answer}"

    def direct(self, question: Mapping[str, str]) -> dict[str, str]:
        """Paybox Direct's answer (PPPS)."""
        found: Transaction | None = None
        code = "00000"
        if (question["SITE"], question["RANG"], question["CLE"]) != (SITE, RANK, DIRECT_KEY):
            code = "00006"
        elif question["TYPE"] == "00011":
            found = self.books.last(question["REFERENCE"])
            if found is None or found.cents != int(question["MONTANT"]):
                found, code = None, "00018"
        else:
            rows = [row for row in self.books.transactions if row.number == question["NUMTRANS"] and row.site == SITE]
            found = rows[0] if rows and rows[0].call == question["NUMAPPEL"] else None
            code = "00000" if found else "00018"
        if found is not None and question["TYPE"] == "00014":
            found, code = self._pay_back(found, question)
            if self.loses_the_answer:
                return {}
        return {
            "NUMTRANS": found.number if found else "",
            "NUMAPPEL": found.call if found else "",
            "NUMQUESTION": question["NUMQUESTION"],
            "SITE": SITE,
            "RANG": RANK,
            "AUTORISATION": found.authorisation if found else "",
            "CODEREPONSE": code,
            "COMMENTAIRE": "Demande traitée avec succès" if code == "00000" else "Transaction non trouvée",
            "STATUS": found.status if found and question["TYPE"] == "00017" else "",
        }

    def _pay_back(self, paid: Transaction, question: Mapping[str, str]) -> tuple[Transaction | None, str]:
        cents = int(question["MONTANT"])
        with self.books.lock:
            if paid.status not in {"Capturé", "Remboursé"} or paid.back + cents > paid.cents:
                return None, "00011"
            paid.back += cents
            paid.status = "Remboursé"
            return self.books.add(question["REFERENCE"], cents, "Remboursé", authorisation="XXXXXX"), "00000"

    # -- The payer --

    def pay(self, payment: Payment) -> None:
        self._book(payment.reference, PAID)

    def refuse(self, payment: Payment) -> None:
        self._book(payment.reference, REFUSED)

    def abandon(self, payment: Payment) -> None:
        self._book(payment.reference, GIVEN_UP)

    def _book(self, reference: str, error: str) -> None:
        form = self.books.forms[reference]
        with self.books.lock:
            last = self.books.last(reference)
            if last is not None and last.status == "Capturé":
                return  # a reference is charged once
            status = {PAID: "Capturé", GIVEN_UP: "Annulé"}.get(error, "Refusé")
            self.books.add(reference, int(form["PBX_TOTAL"]), status, authorisation="168753" if error == PAID else "")

    def way_back(self, payment: Payment) -> str:
        address = reverse("payment_return", args=[self.slug, payment.reference])
        return f"{address}?{self._answer(payment.reference)}" if self.books.last(payment.reference) else address

    # -- What it says --

    def notification(self, payment: Payment) -> Notification:
        return Notification(self._answer(payment.reference).encode())

    def history(self, payment: Payment) -> Sequence[Notification]:
        told = []
        for step in (self.refuse, self.abandon, self.pay):
            step(payment)
            told.append(self.notification(payment))
        return told

    def forged(self, payment: Payment) -> Sequence[Notification]:
        claimed = self._text(payment.reference, int(payment.amount * 100), PAID, "0000000001", "0000000002", "168753")
        refused = sign(claimed.replace("erreur=00000", "erreur=00105"))
        honest = sign(claimed)
        return [
            Notification(claimed.encode()),
            Notification(f"{claimed}&signature=".encode()),
            Notification(f"{claimed}&signature=é".encode()),
            Notification(refused.replace("erreur=00105", "erreur=00000").encode()),
            Notification(f"{refused}&erreur=00000".encode()),
            Notification(f"erreur=00000&{refused}".encode()),
            Notification(sign(claimed, ANOTHERS_KEY).encode()),
            # Signed by the bank, and not for us: taken by another shop, authorised by nobody, by the tests' bank.
            Notification(honest.encode()),
            Notification(sign(claimed.replace("autorisation=168753", "autorisation=")).encode()),
            Notification(sign(claimed.replace("168753", "XXXXXX")).encode()),
            # Signed, but not in what the message is made of.
            Notification(b"", query=honest),
            Notification(b"\xff\x00"),
            Notification(),
        ]

    def of_another_amount(self, payment: Payment) -> Notification:
        cents = int(payment.amount * 100) - 1
        # In the books of another of our own shops' tills, which a message cannot tell from this one's.
        row = self.books.add(payment.reference, cents, "Capturé", authorisation="168753", back=cents)
        return Notification(sign(self._text(row.reference, cents, PAID, row.number, row.call, "168753")).encode())

    def of_nobody(self) -> Notification:
        row = self.books.add("REFERENCEINCONNUE", 3160, "Capturé", authorisation="168753", back=3160)
        return Notification(sign(self._text(row.reference, row.cents, PAID, row.number, row.call, "168753")).encode())

    def _answer(self, reference: str, error: str = "") -> str:
        row = self.books.last(reference)
        assert row is not None, "nothing was decided"
        error = error or {"Refusé": REFUSED, "Annulé": GIVEN_UP}.get(row.status, PAID)
        return sign(self._text(reference, row.cents, error, row.number, row.call, row.authorisation))

    def _text(self, reference: str, cents: int, error: str, number: str, call: str, authorisation: str) -> str:
        """The answer's values in the order of PBX_RETOUR; those that are empty are left out, as the bank does."""
        values = {
            "montant": str(cents),
            "reference": reference,
            "autorisation": authorisation,
            "erreur": error,
            "transaction": number.lstrip("0"),
            "appel": call.lstrip("0"),
        }
        return urlencode({name: value for name, value in values.items() if value})

    # -- The network, its books --

    @contextmanager
    def down(self) -> Iterator[None]:
        with self.server.down():
            yield

    @contextmanager
    def slow(self) -> Iterator[None]:
        with mock.patch.object(paybox, "TIMEOUT", (0.5, 0.2)), self.server.slow():
            yield

    def taken(self) -> Decimal:
        paid = sum(row.cents - row.back for row in self.books.transactions if row.authorisation == "168753")
        return Decimal(paid) / 100 if paid else ZERO
