"""The HTTP face: the life of a client's request on its way to the engine and back.

A route parses the body into valid types (`openai.protocol`), asks whether there is room, makes
one heart `Request` for each prompt (`octavo.asking`) and submits them to the `EngineClient`
(`octavo.process`). Its thread makes text of what the engine makes; the route's coroutine turns
text into JSON or into server-sent events.

Processes: `octavo serve` answers HTTP itself, runs the engine in a process of its own, and with
`--api-processes` starts `siblings` that answer on the same port. Each drains for itself
(`running`, `door`). A client that hangs up cancels its coroutine, whose `finally` ends its
requests.

To test: `create_app` over a thread's engine on the null program, driven by the `openai` client;
for signals, `octavo serve` as a process.
"""
