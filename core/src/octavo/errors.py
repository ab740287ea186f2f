"""Every error on purpose, one tree. A class says who can act on it.

    OctavoError
    ├── OperatorError          whoever starts Octavo: a setting, a file, a device
    │   ├── ModelError         a model path, file, tensor or config that cannot be used
    │   │   └── NotBuilt       a sound config that asks a family for what it does not have
    │   ├── DeviceError        no platform, no device, or a platform that refuses
    │   └── FitError           the model or its cache does not fit into memory
    ├── ClientError            whoever sent the request (HTTP 400, or the status it carries)
    │   ├── UnsupportedParameter   a parameter that is known, but not offered here
    │   ├── PromptTooLong      more tokens than the model or the cache can hold
    │   └── UnknownModel       a model that is not served (HTTP 404)
    ├── LaterError             nobody is at fault; the same call may succeed later (HTTP 503)
    └── InternalError          us: a bug, with what is needed to report it (HTTP 500)

A message gives the fact, the limit and the remedy. Knows nothing of HTTP bodies.
"""

from __future__ import annotations


class OctavoError(Exception):
    """Root of every error that Octavo raises on purpose."""


class OperatorError(OctavoError):
    """Something that whoever starts Octavo can mend."""


class ModelError(OperatorError):
    """A model path, file, tensor or config that cannot be used."""


class NotBuilt(ModelError):
    """A config that asks a family for what it does not have here; another road may run it."""


class DeviceError(OperatorError):
    """No platform, no device, or a platform that refuses to start."""


class FitError(OperatorError):
    """The model or its cache does not fit into the memory that it may use."""


class ClientError(OctavoError):
    """Something that whoever sent the request can mend.

    `status` is the HTTP status it becomes; `param` names the offending parameter.
    """

    status = 400
    kind = "invalid_request_error"
    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnsupportedParameter(ClientError):
    """A parameter that the API knows, but that is not offered here."""

    code = "unsupported_parameter"

    def __init__(self, param: str, *, why: str = "it is not supported yet") -> None:
        super().__init__(f"The parameter '{param}' cannot be used: {why}.", param=param)


class PromptTooLong(ClientError):
    """More tokens than the model or the cache can hold."""

    code = "context_length_exceeded"

    def __init__(self, *, prompt_tokens: int, limit_tokens: int, why: str) -> None:
        super().__init__(
            f"The prompt has {prompt_tokens} tokens, but at most {limit_tokens} fit: {why}. "
            "Send a shorter prompt, or start the server with a larger limit.",
            param="prompt",
        )
        self.prompt_tokens = prompt_tokens
        self.limit_tokens = limit_tokens


class UnknownModel(ClientError):
    """A model that is not served here."""

    status = 404
    kind = "not_found_error"
    code = "model_not_found"

    def __init__(self, name: str, served: tuple[str, ...]) -> None:
        super().__init__(
            f"The model '{name}' is not served here. Served: {', '.join(served)}.", param="model"
        )


class LaterError(OctavoError):
    """Nobody is at fault; the same call may succeed later, best after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InternalError(OctavoError):
    """A bug of ours, or a device that broke under a request."""
