DROP TABLE {acme_ledger};
