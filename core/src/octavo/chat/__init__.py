"""Chats: from messages to the text that a model was trained to continue.

A model's chat template is a small program that came with its weights. `template` runs it, walled
in (`sandbox`), with a budget (`budget`, `guards`), and gives what `transformers` gives. `messages`
is the form that it sees messages in. To test: compare the two on the same template.

Knows nothing of tokens, of the HTTP API or of requests.
"""

from octavo.chat.template import ChatTemplate

__all__ = ["ChatTemplate"]
