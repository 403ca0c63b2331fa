"""A live view of a ledger in the browser: ``pipeloom web``. Read-only; needs the extra ``web``.

::

    requests ─▶ same_origin ─▶ app ─▶ a few reader threads (one short read per request)
                                │
    EventSource ◀─── events ◀─ hub ◀── one reader thread: file changed? ▸ build each part once ▸ send to all viewers
"""
