"""A Stripe of our own on a local port: Checkout Sessions, refunds, balance, its page, and webhooks signed as Stripe signs.

It speaks what `stripe-python` speaks: form-encoded requests with bracketed names, a bearer key, idempotency keys that
answer again what they answered before, errors in Stripe's shape. It refuses what Stripe refuses (a page that can be paid
for less than 30 minutes, less than 50 cents, a refund of more than was paid), so that we learn it here.
"""

import hashlib
import hmac
import html
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from stripe.params.checkout import SessionCreateParams

from tests.faults.bank import Notification, Server

SHORTEST, LONGEST = 30 * 60, 24 * 60 * 60
SMALLEST = 50  # cents
# Of the version of the API that the library speaks, from its specification: Stripe refuses any other.
KNOWN_PARAMETERS = set(SessionCreateParams.__annotations__)

Answer = tuple[int, Any]


class Refused(Exception):
    """What Stripe answers instead of doing it."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "invalid_request_error", **more: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **more}}


def nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """`line_items[0][price_data][currency]=eur` as Stripe reads it."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        *path, last = re.findall(r"[^\[\]]+", name)
        node = root
        for key in path:
            node = node.setdefault(key, {})
        node[last] = value
    return root


@dataclass
class StripeServer:
    """Its books, and what may be done with them: `pay`, `fail_later`, `expire`, `event`."""

    key: str = "sk_test_la_cle_du_banc"
    secret: str = "whsec_le_secret_du_banc"
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)  # « POST /v1/refunds »
    # How the next refund ends; and whether the next answer is lost on its way, its request having been carried out.
    refund_status: str = "succeeded"
    loses_answers: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._answered: dict[str, tuple[str, Answer]] = {}
        self.server = Server(type("Handler", (Handler,), {"bank": self}))

    # -- What the payer does --

    def pay(self, session: str) -> None:
        """The card is charged; once for a session."""
        with self._lock:
            row = self._open(session)
            row.update(status="complete", payment_status="paid", payment_intent=self._intent(row, "succeeded"))

    def complete_unpaid(self, session: str) -> None:
        """The payer is done, the money is still on its way."""
        with self._lock:
            row = self._open(session)
            row.update(status="complete", payment_intent=self._intent(row, "processing"))

    def succeed_later(self, session: str) -> None:
        with self._lock:
            row = self.sessions[session]
            self.intents[row["payment_intent"]]["status"] = "succeeded"
            row["payment_status"] = "paid"

    def fail_later(self, session: str) -> None:
        with self._lock:
            self.intents[self.sessions[session]["payment_intent"]]["status"] = "requires_payment_method"

    def expire(self, session: str) -> None:
        with self._lock:
            self._open(session)["status"] = "expired"

    def _open(self, session: str) -> dict[str, Any]:
        row = self.sessions[session]
        if row["status"] != "open":
            raise Refused(f"This Checkout Session is {row['status']}: only an open one can be paid or expired.")
        return row

    def _intent(self, session: dict[str, Any], status: str) -> str:
        name = f"pi_{secrets.token_hex(12)}"
        amount = session["amount_total"]
        self.intents[name] = {"id": name, "object": "payment_intent", "status": status, "amount": amount}
        return name

    # -- What it sends --

    def event(self, kind: str, session: str, **changes: Any) -> Notification:
        """A signed webhook that shows the session as it is now, but for the changes."""
        with self._lock:
            shown = {**self.sessions.get(session, {}), **changes}
        return self.signed({"object": "event", "type": kind, "data": {"object": shown}})

    def failed_refund(self) -> Notification:
        """A bank has sent the latest refund back: the money is with Stripe again, and the platform is told."""
        with self._lock:
            row = list(self.refunds.values())[-1]
            row["status"] = "failed"
            shown = {**row, "failure_reason": "lost_or_stolen_card"}
        return self.signed({"object": "event", "type": "refund.failed", "data": {"object": shown}})

    def signed(self, event: Any, *, secret: str = "", at: float | None = None) -> Notification:
        body = json.dumps({"id": f"evt_{secrets.token_hex(12)}", **event} if isinstance(event, dict) else event)
        return Notification(body.encode(), self.headers(body, secret=secret, at=at))

    def headers(self, body: str, *, secret: str = "", at: float | None = None) -> dict[str, str]:
        moment = int(time.time() if at is None else at)
        mac = hmac.new((secret or self.secret).encode(), f"{moment}.{body}".encode(), hashlib.sha256).hexdigest()
        return {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": f"t={moment},v1={mac}"}

    # -- What it is asked --

    def answer(self, method: str, path: str, params: dict[str, Any], key: str, idempotency_key: str) -> Answer:
        """What the API answers; a POST under a key that it knows gets the same answer again."""
        with self._lock:
            self.requests.append(f"{method} {path}")
            if key != f"Bearer {self.key}":
                return 401, Refused("Invalid API Key provided", status=401).body
            fingerprint = json.dumps([path, params], sort_keys=True)
            if method == "POST" and idempotency_key in self._answered:
                before, answer = self._answered[idempotency_key]
                if before != fingerprint:
                    return 400, Refused("Keys can only be used with the same parameters", kind="idempotency_error").body
                return answer
            try:
                answer = 200, self._route(method, path, params)
            except Refused as refusal:
                answer = refusal.status, refusal.body
            if method == "POST" and idempotency_key:
                self._answered[idempotency_key] = fingerprint, json.loads(json.dumps(answer))
            return answer

    def forget_keys(self) -> None:
        """A day later, Stripe no longer knows the idempotency keys."""
        self._answered.clear()

    def _route(self, method: str, path: str, params: dict[str, Any]) -> Any:
        match [method, *path.strip("/").split("/")[1:]]:
            case ["POST", "checkout", "sessions"]:
                return self._create(params)
            case ["GET", "checkout", "sessions", session]:
                return self._expanded(self._find(self.sessions, session), params)
            case ["POST", "checkout", "sessions", session, "expire"]:
                self._find(self.sessions, session)
                self.expire(session)
                return self.sessions[session]
            case ["GET", "refunds"]:
                rows = [row for row in self.refunds.values() if row["payment_intent"] == params["payment_intent"]]
                return {"object": "list", "data": rows, "has_more": False, "url": "/v1/refunds"}
            case ["POST", "refunds"]:
                return self._refund(params)
            case ["GET", "balance"]:
                return {"object": "balance", "livemode": False, "available": [], "pending": []}
        raise Refused(f"Unrecognized request URL ({method}: {path})", status=404)

    def _find(self, rows: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
        if name not in rows:
            raise Refused(f"No such object: '{name}'", status=404, code="resource_missing")
        return rows[name]

    def _expanded(self, session: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        wanted = "payment_intent" in params.get("expand", {}).values() and session["payment_intent"]
        return {**session, "payment_intent": self.intents[wanted]} if wanted else session

    def _create(self, params: dict[str, Any]) -> dict[str, Any]:
        if unknown := set(params) - KNOWN_PARAMETERS:
            raise Refused(f"Received unknown parameters: {', '.join(sorted(unknown))}", code="parameter_unknown")
        (item,) = params["line_items"].values()
        price = item["price_data"]
        amount = int(price["unit_amount"]) * int(item["quantity"])
        left = int(params["expires_at"]) - time.time()
        if params["mode"] != "payment" or not params["success_url"] or not price.get("product_data", {}).get("name"):
            raise Refused("Missing required param")
        if not SHORTEST <= left <= LONGEST:
            raise Refused("The `expires_at` timestamp must be between 30 minutes and 24 hours", param="expires_at")
        if price["currency"] == "eur" and amount < SMALLEST:
            raise Refused("The Checkout Session's total amount must be at least €0.50", code="amount_too_small")
        name = f"cs_test_{secrets.token_hex(29)}"
        self.sessions[name] = {
            "id": name,
            "object": "checkout.session",
            "allowed_payment_method_types": list(params["allowed_payment_method_types"].values()),
            "amount_total": amount,
            "currency": price["currency"],
            "client_reference_id": params["client_reference_id"],
            "customer_email": params["customer_email"],
            "expires_at": int(params["expires_at"]),
            "metadata": params["metadata"],
            "name": price["product_data"]["name"],
            "payment_intent": None,
            "payment_status": "unpaid",
            "status": "open",
            "success_url": params["success_url"],
            "cancel_url": params["cancel_url"],
            "url": f"{self.server.url}/c/pay/{name}",
        }
        return self.sessions[name]

    def _refund(self, params: dict[str, Any]) -> dict[str, Any]:
        intent = self._find(self.intents, params["payment_intent"])
        amount = int(params["amount"])
        before = sum(row["amount"] for row in self.refunds.values() if row["payment_intent"] == intent["id"])
        if intent["status"] != "succeeded":
            raise Refused("This PaymentIntent does not have a successful charge to refund.")
        if before >= intent["amount"]:
            raise Refused("Charge has already been refunded.", code="charge_already_refunded")
        if before + amount > intent["amount"]:
            raise Refused("Refund amount is greater than unrefunded amount on charge", param="amount")
        row = {
            "id": f"re_{secrets.token_hex(12)}",
            "object": "refund",
            "amount": amount,
            "currency": "eur",
            "metadata": params.get("metadata", {}),
            "payment_intent": intent["id"],
            "status": self.refund_status,
        }
        self.refunds[row["id"]] = row
        return row

    # -- Its page --

    def page(self, session: str) -> str:
        row = self.sessions[session]
        amount = f"{row['amount_total'] / 100:.2f}".replace(".", ",")
        buttons = "".join(
            f'<button name="choice" value="{value}">{words}</button>'
            for value, words in (("pay", "Payer"), ("cancel", "Retour"))
        )
        return (
            '<!DOCTYPE html><html lang="fr"><meta charset="utf-8"><title>Paiement</title>'
            f"<h1>Payer {amount} €</h1><p>{html.escape(row['name'])}</p><form method=post>{buttons}</form></html>"
        )

    def choose(self, session: str, choice: str) -> str:
        """A button of the page; the address where the browser goes."""
        if choice == "pay":
            self.pay(session)
            return str(self.sessions[session]["success_url"])
        return str(self.sessions[session]["cancel_url"])


class Handler(BaseHTTPRequestHandler):
    """Reads requests as Stripe's servers do, and asks the books."""

    bank: StripeServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def _handle(self, method: str) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        pairs = parse_qsl(parts.query + "&" + self.rfile.read(length).decode(), keep_blank_values=True)
        if parts.path.startswith("/c/pay/"):
            self._page(method, parts.path.rpartition("/")[2], dict(pairs))
            return
        status, body = self.bank.answer(
            method,
            parts.path,
            nested(pairs),
            self.headers.get("Authorization", ""),
            self.headers.get("Idempotency-Key", ""),
        )
        if self.bank.loses_answers:
            self.close_connection = True
            return
        self._send(status, "application/json", json.dumps(body))

    def _page(self, method: str, session: str, choice: dict[str, str]) -> None:
        if session not in self.bank.sessions:
            self._send(404, "text/plain", "no such page")
        elif method == "POST":
            self._send(303, "text/plain", "", Location=self.bank.choose(session, choice["choice"]))
        else:
            self._send(200, "text/html; charset=utf-8", self.bank.page(session))

    def _send(self, status: int, kind: str, body: str, **headers: str) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
