"""What a server answers to the unmodified `openai` client, as it was sent.

Parameters that the client does not know travel beside those that it does. Does not know what is
served.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from openai import OpenAI

Json: TypeAlias = dict[str, Any]  # an answer, whose form the test knows

PROMPT = "the quick brown fox"
SAID = {"role": "user", "content": "x"}


def completion(client: OpenAI, **wish: object) -> Json:
    """Ask for a completion, of `PROMPT` where no other is wished for."""
    raw = client.completions.with_raw_response.create(
        model="null", prompt="", extra_body={"prompt": PROMPT, **wish}
    )
    found: Json = json.loads(raw.text)
    return found


def conversation(client: OpenAI, **wish: object) -> Json:
    """Ask for a chat, which is `SAID` where no other is wished for."""
    raw = client.chat.completions.with_raw_response.create(
        model="null", messages=[], extra_body={"messages": [SAID], **wish}
    )
    found: Json = json.loads(raw.text)
    return found


def chunks(client: OpenAI, *, chat: bool, **wish: object) -> list[Json]:
    """Ask for a stream of either, and give its chunks."""
    if chat:
        talk = client.chat.completions.create(
            model="null", messages=[], stream=True, extra_body={"messages": [SAID], **wish}
        )
        return [chunk.to_dict() for chunk in talk]
    text = client.completions.create(
        model="null", prompt="", stream=True, extra_body={"prompt": PROMPT, **wish}
    )
    return [chunk.to_dict() for chunk in text]
