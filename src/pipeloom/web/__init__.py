"""A ledger in the browser, live: ``pipeloom web``. Reads only; needs the extra ``web`` (Starlette, uvicorn).

::

    requests ─▶ same_origin ─▶ app ─▶ a few reading threads (each request its own short look)
                                │
    EventSource ◀─── events ◀─ hub ◀── one reader thread: file changed? ▸ build each part once ▸ hand to all viewers
"""
