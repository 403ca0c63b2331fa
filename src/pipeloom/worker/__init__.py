"""Code that runs where the user's function runs; it does not depend on the ledger, the writer or the channel."""
