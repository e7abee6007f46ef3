"""The régie's papers: receipts, invoices, refund notes and yearly certificates, numbered without gaps and never changed."""
