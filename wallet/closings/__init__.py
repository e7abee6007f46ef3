"""« Arrêtés »: a day or a month of the ledger that is over, its totals kept, nothing inside it written any more."""
