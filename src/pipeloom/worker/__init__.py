"""What runs wherever the user's function runs; it knows nothing of a ledger, a writer, a channel or a database."""
