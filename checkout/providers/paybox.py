"""Paybox System (Up2pay): a signed form takes the browser to the bank's page, a signed message (IPN) says how it ended.

From the public manuals of Paybox System and Paybox Direct; docs/adr says why by hand, and what each signature proves.
The key that signs the messages is the same for every merchant and for the tests: a message that announces money is
believed only when Paybox Direct confirms that our own site has taken it, wherever that contract exists.
"""

import base64
import datetime as dt
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings
from django.utils import timezone

from checkout.providers.base import (
    Arrival,
    Departure,
    Forged,
    Health,
    Impossible,
    Known,
    Message,
    Method,
    Outcome,
    Payer,
    Provider,
    Request,
    Unreachable,
)
from portal.common.formats import sort_key

TEST, PRODUCTION = "test", "production"
# Where the browser goes, in the order in which they are tried, and where Paybox Direct answers.
PAGES: Mapping[str, Sequence[str]] = {
    TEST: ["https://preprod-tpeweb.paybox.com/cgi/MYchoix_pagepaiement.cgi"],
    PRODUCTION: [
        "https://tpeweb.paybox.com/cgi/MYchoix_pagepaiement.cgi",
        "https://tpeweb1.paybox.com/cgi/MYchoix_pagepaiement.cgi",
    ],
}
DIRECT = {TEST: "https://preprod-ppps.paybox.com/PPPS.php", PRODUCTION: "https://ppps.paybox.com/PPPS.php"}
PUBLIC_KEY = Path(__file__).with_name("paybox.pem")  # published by Paybox for all its merchants

DIRECT_KEY = "PAYBOX_DIRECT_KEY"

SHAPES = (
    ("PAYBOX_SITE", r"\d{7}", "doit être le numéro de site : 7 chiffres"),
    ("PAYBOX_RANG", r"\d{2,3}", "doit être le numéro de rang : 2 ou 3 chiffres"),
    ("PAYBOX_IDENTIFIANT", r"\d{1,9}", "doit être l’identifiant : 1 à 9 chiffres"),
    ("PAYBOX_HMAC_KEY", r"([0-9A-Fa-f]{2}){32,}", "doit être la clé HMAC : 64 chiffres hexadécimaux au moins"),
    (DIRECT_KEY, r"\S{1,10}", "doit être la clé de Paybox Direct : 10 signes au plus"),
    ("PAYBOX_MODE", f"{TEST}|{PRODUCTION}", f"vaut {PRODUCTION} (d’office) ou {TEST}"),
)

EURO = "978"  # ISO 4217
FRANCE = "250"  # ISO 3166
# What the message carries, in this order; the signature last, for it covers all that stands before it.
ANSWER = "montant:M;reference:R;autorisation:A;erreur:E;transaction:S;appel:T;signature:K"
SIGNATURE = b"&signature="
NO_REAL_AUTHORISATION = "XXXXXX"  # what the tests' bank gives instead of a number

PAID = "00000"
# The person went away: gave up (1, 117), let a quarter of an hour pass on the bank's page (30).
GIVEN_UP = {"00001", "00117", "00030"}
# Not the end: « already paid » (15: the form was sent twice, another message tells of it), « waiting for the issuer ».
NOT_THE_END = {"00015", "99999"}

# Paybox Direct (PPPS): questions, and what answers mean besides « done ».
VERSION = "00103"
FIND, INQUIRE, REFUND = "00011", "00017", "00014"
DONE = "00000"
NOT_FOUND = {"00015", "00018"}
LATER = {"00001", "00003", "00097", "00098", "00099", "00190", "00191", "00196", "00198"}
# How a transaction stands, by the first letters of its STATUS: what comes behind them is accented in some charset.
STATUS = {
    "Captur": Outcome.CAPTURED,
    "Autoris": Outcome.PENDING,
    "Refus": Outcome.REFUSED,
    "Rejet": Outcome.REFUSED,
    "Annul": Outcome.ABANDONED,
    "Rembours": Outcome.ABANDONED,  # paid back by hand at the bank: nothing of it is with us
}

# The bank's page ends after a quarter of an hour. What it does not know after so long was never paid there.
PAGE_IS_OVER = dt.timedelta(hours=1)
TIMEOUT = (3, 5)  # seconds to connect, to answer: somebody waits in front of the page
AVAILABLE = b">OK<"  # what /load.html of a server that takes payments holds


def _read_public_key() -> RSAPublicKey:
    """The key that Paybox signs with. Raises OSError, ValueError or TypeError for a file that holds none."""
    key = load_pem_public_key(Path(settings.PAYBOX_PUBLIC_KEY_FILE or PUBLIC_KEY).read_bytes())
    if not isinstance(key, RSAPublicKey):
        raise TypeError("not an RSA key")
    return key


class PayboxProvider(Provider):
    slug = "paybox"
    label = "Carte bancaire (Paybox)"
    methods: Sequence[Method] = (
        Method("CB", "Carte CB"),
        Method("VISA", "Carte Visa"),
        Method("EUROCARD_MASTERCARD", "Carte Mastercard"),
        Method("E_CARD", "e-Carte Bleue"),
    )
    wants_payer = True

    variables: Sequence[str] = ("PAYBOX_SITE", "PAYBOX_RANG", "PAYBOX_IDENTIFIANT", "PAYBOX_HMAC_KEY")

    def __init__(self) -> None:
        self.site, self.rank = settings.PAYBOX_SITE, settings.PAYBOX_RANG
        self.hmac_key, self.direct_key = settings.PAYBOX_HMAC_KEY, settings.PAYBOX_DIRECT_KEY
        self.mode = settings.PAYBOX_MODE
        if self.mode != TEST:  # see _check_money: any merchant of Paybox could announce money here
            self.variables = (*self.variables, DIRECT_KEY)
        self.pages = settings.PAYBOX_PAGE_URLS or PAGES.get(self.mode, ())
        self.direct_url = settings.PAYBOX_DIRECT_URL or DIRECT.get(self.mode, "")
        self.can_refund = bool(self.direct_key)

    @property
    def origins(self) -> Sequence[str]:
        return [_origin(page) for page in self.pages]

    def faults(self) -> Sequence[str]:
        found = [
            f"{name} {words}."
            for name, pattern, words in SHAPES
            if getattr(settings, name) and not re.fullmatch(pattern, getattr(settings, name))
        ]
        try:
            _read_public_key()
        except (OSError, ValueError, TypeError):
            found.append("PAYBOX_PUBLIC_KEY_FILE doit nommer un fichier lisible qui tient une clé publique RSA (PEM).")
        return found

    def start(self, request: Request) -> Departure:
        if self.missing or self.faults():
            raise Impossible(" ".join([*self.missing, *self.faults()]))
        fields = {
            "PBX_SITE": self.site,
            "PBX_RANG": self.rank,
            "PBX_IDENTIFIANT": settings.PAYBOX_IDENTIFIANT,
            "PBX_TOTAL": _cents(request.amount),
            "PBX_DEVISE": EURO,
            "PBX_CMD": request.reference,
            "PBX_PORTEUR": request.email,
            "PBX_RETOUR": ANSWER,
            "PBX_LANGUE": "FRA",
            "PBX_SOURCE": "RWD",  # the page that fits a phone
            "PBX_EFFECTUE": request.return_url,
            "PBX_REFUSE": request.return_url,
            "PBX_ANNULE": request.return_url,
            "PBX_ATTENTE": request.return_url,
            "PBX_REPONDRE_A": request.notify_url,
            "PBX_RUF1": "POST",  # how the message comes
            "PBX_SHOPPINGCART": _cart(request.quantity),
            "PBX_HASH": "SHA512",
            "PBX_TIME": timezone.now().isoformat(timespec="seconds"),
        }
        if request.payer is not None:
            fields["PBX_BILLING"] = _billing(request.payer)
        if request.method:
            fields |= {"PBX_TYPEPAIEMENT": "CARTE", "PBX_TYPECARTE": request.method}
        return Departure(self._open_page(), {**fields, "PBX_HMAC": self.signature(fields)})

    def signature(self, fields: Mapping[str, str]) -> str:
        """The HMAC of a form's fields in their order, as Paybox computes it over what arrives."""
        text = "&".join(f"{name}={value}" for name, value in fields.items())
        return hmac.new(bytes.fromhex(self.hmac_key), text.encode(), hashlib.sha512).hexdigest().upper()

    def read(self, arrival: Arrival) -> Message:
        fields = self._signed(arrival.body)
        message = self._message(fields)
        if message.outcome == Outcome.CAPTURED:
            self._check_money(message, fields.get("autorisation", ""))
        return message

    def about(self, arrival: Arrival) -> str:
        return arrival.fields.get("reference", "")

    def query(self, known: Known) -> Message:
        found = self._find(known.reference, known.amount)
        if found is not None:
            return Message(known.reference, self._inquire(found), known.amount, _numbers(found))
        over = known.since is not None and timezone.now() - known.since > PAGE_IS_OVER
        return Message(known.reference, Outcome.ABANDONED if over else Outcome.PENDING, known.amount)

    def refund(self, *, known: Known, amount: Decimal, key: str) -> str:
        transaction, _slash, call = known.provider_reference.partition("/")
        if not (transaction and call):
            raise Impossible("sans numéro de transaction, rien ne peut être remboursé")
        if not self.direct_key:  # ours to correct: an earlier try may have paid
            raise Unreachable("PAYBOX_DIRECT_KEY manque : sans contrat Paybox Direct, rien ne peut être remboursé")
        # The refund has a reference of its own, made from its key: an answer that was lost is looked for, not paid again.
        reference = "R" + hashlib.sha256(key.encode()).hexdigest()[:19].upper()
        done = self._find(reference, amount)
        if done is not None:
            return _numbers(done)
        numbers = {"NUMTRANS": transaction.zfill(10), "NUMAPPEL": call.zfill(10)}
        answer = self._ask(REFUND, {"MONTANT": _cents(amount), "REFERENCE": reference, **numbers})
        if answer["CODEREPONSE"] != DONE:
            raise Impossible(_words(answer))
        return _numbers(answer)

    def health(self) -> Health:
        if self.missing:
            why = (
                " Sans Paybox Direct, un paiement annoncé ne peut pas être vérifié."
                if DIRECT_KEY in self.missing
                else ""
            )
            return Health(False, False, f"Il manque {', '.join(self.missing)}.{why}")
        if self.faults():
            return Health(False, False, " ".join(self.faults()))
        try:
            self._open_page()
        except Unreachable:
            return Health(True, False, "Aucun serveur de paiement de Paybox ne répond.")
        if not self.direct_key:
            return Health(
                True,
                True,
                "Paybox répond. Sans Paybox Direct (PAYBOX_DIRECT_KEY), aucun paiement n’est vérifié, interrogé ni remboursé.",
            )
        return Health(True, True, "Paybox répond ; Paybox Direct vérifie les paiements et les rembourse.")

    # --- The message ------------------------------------------------------------------------------------------------

    @cached_property
    def _public_key(self) -> RSAPublicKey:
        return _read_public_key()

    def _signed(self, body: bytes) -> dict[str, str]:
        """The values that the signature covers. Raises Forged without a valid one.

        SHA-1 is what Paybox signs with: forging a message for somebody else's key needs a second preimage, which
        nobody can find, and not a collision.
        """
        signed, mark, signature = body.rpartition(SIGNATURE)
        try:
            # Nothing may stand behind it: what is not covered is not base64 either.
            given = base64.b64decode(unquote(signature.decode("ascii")), validate=True)
            self._public_key.verify(given, signed, PKCS1v15(), SHA1())  # noqa: S303
        except (InvalidSignature, ValueError) as error:
            raise Forged("signature" if mark else "no signature") from error
        return dict(parse_qsl(signed.decode("latin-1"), keep_blank_values=True))

    def _message(self, fields: Mapping[str, str]) -> Message:
        try:
            amount, error, reference = fields["montant"], fields["erreur"], fields["reference"]
        except KeyError as missing:
            raise Forged(f"no {missing}") from missing
        if not re.fullmatch(r"[0-9]{1,10}", amount):
            raise Forged(f"amount {amount!r}")
        if error == PAID:
            outcome = Outcome.CAPTURED
        elif error in GIVEN_UP:
            outcome = Outcome.ABANDONED
        else:
            outcome = Outcome.PENDING if error in NOT_THE_END else Outcome.REFUSED
        numbers = {"NUMTRANS": fields.get("transaction", ""), "NUMAPPEL": fields.get("appel", "")}
        return Message(reference, outcome, Decimal(amount) / 100, _numbers(numbers) if all(numbers.values()) else "")

    def _check_money(self, message: Message, authorisation: str) -> None:
        """Money is announced: a bank has authorised it, and our own site has taken it. Raises Forged, Unreachable.

        Where money is real it is believed of no signature alone: without Paybox Direct it is Unreachable, and comes again.
        """
        if not authorisation:
            raise Forged("paid without an authorisation")
        if authorisation == NO_REAL_AUTHORISATION and self.mode != TEST:
            raise Forged("an authorisation of the tests")
        if not self.direct_key and self.mode == TEST:
            return
        found = self._find(message.reference, message.amount)
        if found is None or found["NUMTRANS"].lstrip("0") != message.provider_reference.partition("/")[0]:
            # Another shop's money under our reference. Should our own books only lag behind, we ask about it later.
            raise Forged("paid to another site")

    # --- Paybox Direct ------------------------------------------------------------------------------------------------

    def _find(self, reference: str, amount: Decimal) -> dict[str, str] | None:
        """The transaction of our site with that reference and amount; None where there is none. Raises Unreachable."""
        answer = self._ask(FIND, {"MONTANT": _cents(amount), "REFERENCE": reference})
        if answer["CODEREPONSE"] in NOT_FOUND:
            return None
        return _understood(answer)

    def _inquire(self, found: Mapping[str, str]) -> Outcome:
        """How a transaction stands. Raises Unreachable when its status is none that we know."""
        answer = _understood(self._ask(INQUIRE, {"NUMTRANS": found["NUMTRANS"], "NUMAPPEL": found["NUMAPPEL"]}))
        status = answer.get("STATUS", "")
        for beginning, outcome in STATUS.items():
            if status.startswith(beginning):
                return outcome
        raise Unreachable(f"unknown status {status!r}")

    def _ask(self, question: str, values: Mapping[str, str]) -> dict[str, str]:
        """Put a question to Paybox Direct. Raises Unreachable, also where there is no contract for it."""
        if not self.direct_key:
            raise Unreachable("PAYBOX_DIRECT_KEY manque : sans contrat Paybox Direct, Paybox n’est pas interrogé")
        data = {
            "VERSION": VERSION,
            "TYPE": question,
            "SITE": self.site,
            "RANG": self.rank,
            "CLE": self.direct_key,
            "NUMQUESTION": f"{secrets.randbelow(2**31 - 1) + 1:010}",
            "DATEQ": timezone.localtime().strftime("%d%m%Y%H%M%S"),
            "DEVISE": EURO,
            **values,
        }
        try:
            response = requests.post(self.direct_url, data=data, timeout=TIMEOUT, allow_redirects=False)
            response.raise_for_status()
        except requests.RequestException as error:
            raise Unreachable(type(error).__name__) from error  # its text holds the address, not the key
        answer = dict(parse_qsl(response.content.decode("latin-1"), keep_blank_values=True, encoding="latin-1"))
        code = answer.get("CODEREPONSE", "")
        if not code or answer.get("NUMQUESTION", "").zfill(10) != data["NUMQUESTION"]:
            raise Unreachable("no answer to this question")
        if code in LATER:
            raise Unreachable(_words(answer))
        return answer

    def _open_page(self) -> str:
        """The first payment page whose server says that it takes payments. Raises Unreachable when none does."""
        for page in self.pages:
            try:
                response = requests.get(f"{_origin(page)}/load.html", timeout=TIMEOUT, allow_redirects=False)
            except requests.RequestException:
                continue
            if response.ok and AVAILABLE in response.content:
                return page
        raise Unreachable("no payment server is available")


def _understood(answer: dict[str, str]) -> dict[str, str]:
    """The answer, when it is one. Raises Unreachable for a refusal to answer: a question is not the place to end a payment."""
    if answer["CODEREPONSE"] != DONE or not (answer.get("NUMTRANS") and answer.get("NUMAPPEL")):
        raise Unreachable(_words(answer))
    return answer


def _words(answer: Mapping[str, str]) -> str:
    """What the bank says of a question that it does not answer."""
    return f"{answer['CODEREPONSE']} {answer.get('COMMENTAIRE', '')}".strip()


def _numbers(answer: Mapping[str, str]) -> str:
    """The bank's two numbers of a transaction as we keep them, both needed for a refund: some answers pad them with zeros."""
    return f"{answer['NUMTRANS'].lstrip('0')}/{answer['NUMAPPEL'].lstrip('0')}"


def _cents(amount: Decimal) -> str:
    return str(int(amount * 100))


def _origin(address: str) -> str:
    parts = urlsplit(address.strip())
    return f"{parts.scheme}://{parts.netloc}"


def _plain(text: str, length: int) -> str:
    """As the bank's forms take it: capitals without accents, digits and spaces, cut to a length."""
    return re.sub(r"[^A-Z0-9]+", " ", sort_key(text).upper()).strip()[:length].strip()


def _cart(quantity: int) -> str:
    total = f"<totalQuantity>{min(max(quantity, 1), 99)}</totalQuantity>"
    return f'<?xml version="1.0" encoding="utf-8"?><shoppingcart><total>{total}</total></shoppingcart>'


def _billing(payer: Payer) -> str:
    values = {
        "FirstName": _plain(payer.first_name, 22),
        "LastName": _plain(payer.last_name, 22),
        "Address1": _plain(payer.street, 50),
        "ZipCode": _plain(payer.postal_code, 16),
        "City": _plain(payer.city, 50),
        "CountryCode": FRANCE,
    }
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    return f'<?xml version="1.0" encoding="utf-8"?><Billing><Address>{inside}</Address></Billing>'


def provider() -> PayboxProvider:
    """The provider, as the environment configures it."""
    return PayboxProvider()
