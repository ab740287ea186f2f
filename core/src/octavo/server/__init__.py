"""The HTTP face: the life of a client's request on its way to the engine and back.

A route parses the body into valid types (`openai.protocol`), makes one heart `Request` for each
prompt (`octavo.asking`) and submits them (`lifecycle`). There ends the event loop's part: the
engine thread, the only owner of the `Engine`, takes submissions and aborts from a queue, steps,
and hands everything that a step made back to the event loop in one call. The route's coroutine
turns tokens into text and text into JSON or into server-sent events.

Threads: one for the event loop and one for the engine; they share two queues and nothing else.
A client that hangs up cancels its coroutine, whose `finally` aborts its requests.

To test: `create_app` over an engine on the null program, driven by the `openai` client.
"""
