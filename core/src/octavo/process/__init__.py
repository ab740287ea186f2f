"""The one process boundary: the engine on one side, those who ask it on the other.

    asking process                                   engine process (or a thread of the same)
    EngineClient ── Add, Abort, Control, Stop ───▶ EngineService ── Queue ── Engine
    Stream ◀── text ── OutputText ◀── Made, Refused, Failed, Ready, Said ──┘
         └────────────────── Board: beats and steps, in shared memory ─────┘

`messages` says what is said, `channel` how it travels, `board` what is seen without a message.
`service` is the loop around an engine, `queue` who waits before it, `ledger` which request is
whose. `client` turns tokens into text and hands them to event loops. A `Host` is where the engine
lives: `thread` in this process, `child` in its own (entered by `python -m octavo.process`), kept
alive by `keeper`.

The life of an engine process: it binds its address, loads while it says so, is ready, steps
while there is work, and ends when it is told to, when its device fails, or when the process that
started it is gone. The life of a request: it is added under a number that its client chose, gets
tokens, and ends; or its client ends it; or the engine dies, and the client's thread fails it.

Several clients share an engine; each connection has its own numbers. Threads: the service's is
the only one that touches the engine; a second one beats on the board and watches for the end of
the starting process. Each client has one, which owns its socket.

To test: `ThreadHost` over the model without weights; for signals, real processes with a loader of
`octavo.testing`. Knows nothing of HTTP.
"""
