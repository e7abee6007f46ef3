"""An e-mail backend that keeps what it is given, for /demo/courriels/."""

from collections.abc import Sequence

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from portal.demo.models import Mail


class MailboxBackend(BaseEmailBackend):
    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        for message in email_messages:
            Mail.objects.create(
                to=", ".join(message.to),
                subject=str(message.subject),
                body=str(message.body),
                message_id=message.extra_headers.get("Message-ID", ""),
            )
        return len(email_messages)
