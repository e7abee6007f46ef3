"""An e-mail backend that keeps what it is given, for /demo/courriels/."""

from collections.abc import Sequence

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from portal.demo.models import Mail


class MailboxBackend(BaseEmailBackend):
    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        for message in email_messages:
            # What would be attached is named: the files themselves are under « Mes factures ».
            attached = "".join(f"\n[Pièce jointe : {file[0]}]" for file in message.attachments)
            Mail.objects.create(
                to=", ".join(message.to),
                subject=str(message.subject),
                body=f"{message.body}{attached}",
                message_id=message.extra_headers.get("Message-ID", ""),
            )
        return len(email_messages)
