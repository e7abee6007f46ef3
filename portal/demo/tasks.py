"""The bank's worker: it tells the platform how a payment ended, over HTTP."""

import urllib.request
from urllib.parse import urlencode

from celery import shared_task

from portal.demo.models import BankPayment

TIMEOUT_SECONDS = 10


@shared_task(name="demo.notify", autoretry_for=(OSError,), retry_backoff=2, max_retries=5)
def notify(payment_id: int) -> int:
    """POST the signed statement to the platform's notification address; returns the HTTP status."""
    from portal.demo.bank import statement

    payment = BankPayment.objects.get(pk=payment_id)
    body = urlencode(statement(payment)).encode()
    with urllib.request.urlopen(payment.notify_url, data=body, timeout=TIMEOUT_SECONDS) as response:
        return int(response.status)
