"""The walls around a chat template: what it can reach, and what it is charged for.

The environment is that of transformers: immutable values, `tojson` without HTML escapes, loop
controls, `generation` blocks, `raise_exception`, `strftime_now`. Inside, every call, filter, test,
operator that can grow, and printed value goes by the budget of the rendering, which travels in the
context under a name that no template can write.

Left out are filters that set web pages and can blow a text up (`center`, `pprint`, `urlize`,
`wordwrap`, `xmlattr`, `striptags`, `filesizeformat`) and `lipsum`.

Knows nothing of messages or models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import cast

from jinja2 import Environment, Template, TemplateError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from octavo.chat.budget import Budget
from octavo.chat.guards import (
    GUARDED_OPERATORS,
    Guards,
    check_filter,
    check_method,
    check_operator,
)

Clock = Callable[[], datetime]
Function = Callable[..., object]

FILENAME = "<chat template>"
BUDGET = "\0budget"
_LEFT_OUT = "center filesizeformat pprint striptags urlize wordwrap xmlattr".split()


class Sandbox(ImmutableSandboxedEnvironment):
    """Where chat templates run; `clock` tells the date to those that print one."""

    intercepted_binops = GUARDED_OPERATORS

    def __init__(self, clock: Clock) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            finalize=_printed,
        )
        for name in _LEFT_OUT:
            del self.filters[name]
        self.filters["tojson"] = _tojson
        self.filters = {name: _charged_filter(name, each) for name, each in self.filters.items()}
        tests = cast(Mapping[str, Function], self.tests)
        self.tests = {name: _charged_test(each) for name, each in tests.items()}
        del self.globals["lipsum"]
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = lambda form: clock().strftime(form)
        self.globals["dict"] = _Dict()
        self.globals["namespace"] = _ClosedNamespace

    def template_of(self, syntax: nodes.Template) -> Template:
        """Compile a parsed template, with its steps counted.

        Effects: changes what it is given.
        """
        code = self.compile(Guards(self).rewrite(syntax), filename=FILENAME)
        return self.template_class.from_code(self, code, self.make_globals(None))

    def call(__self, __context: Context, __obj: object, *args: object, **kwargs: object) -> object:
        """Call something for a template."""
        budget = _budget(__context)
        budget.step()
        # A text's own `format` is wrapped by the sandbox.
        method = getattr(__obj, "__wrapped__", __obj)
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str | bytes | int):
            check_method(budget, getattr(method, "__name__", ""), owner, args, kwargs)
        for each in (*args, *kwargs.values()):
            budget.expect(budget.size(each))
        return budget.made(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """Apply an operator whose result may be long."""
        budget = _budget(context)
        check_operator(budget, operator, left, right)
        return budget.made(super().call_binop(context, operator, left, right))

    @staticmethod
    @pass_context
    def count_turn(context: Context, num_chars: int) -> None:
        """Count the plain text of a loop's turn or a macro's body; the call was its step."""
        _budget(context).spend(num_chars)

    @staticmethod
    @pass_context
    def join_text(context: Context, *values: object) -> str:
        """Join the texts of values, as `~` does."""
        budget = _budget(context)
        budget.expect(sum(map(budget.size, values)))
        return "".join(map(str, values))

    @staticmethod
    def count_made(value: object) -> object:
        """Give a list or mapping as it is; the call has counted it."""
        return value


def _budget(context: Context) -> Budget:
    budget = context.parent[BUDGET]
    assert isinstance(budget, Budget)
    return budget


@pass_context
def _printed(context: Context, value: object) -> str:
    budget = _budget(context)
    if not isinstance(value, str):
        budget.expect(budget.size(value))
        value = str(value)
    budget.spend(len(value))
    return value


def _charged_filter(name: str, plain: Function) -> Function:
    run = _with_context(plain)

    @pass_context
    def charged(context: Context, value: object, *args: object, **kwargs: object) -> object:
        budget = _budget(context)
        budget.step()
        if name == "join" and isinstance(value, Iterator):
            value = list(value)
        budget.expect(budget.size(value))
        check_filter(budget, name, value, [*args, *kwargs.values()])
        return budget.made(run(context, value, *args, **kwargs))

    return charged


def _charged_test(plain: Function) -> Function:
    run = _with_context(plain)

    @pass_context
    def charged(context: Context, *args: object, **kwargs: object) -> object:
        _budget(context).step()
        return run(context, *args, **kwargs)

    return charged


def _with_context(plain: Function) -> Function:
    """Give a filter or test a context as its first argument, whatever it takes itself."""
    wanted = getattr(plain, "jinja_pass_arg", None)
    match None if wanted is None else wanted.name:
        case "context":
            return plain
        case "eval_context":
            return lambda context, *args, **kwargs: plain(context.eval_ctx, *args, **kwargs)
        case "environment":
            return lambda context, *args, **kwargs: plain(context.environment, *args, **kwargs)
    return lambda _, *args, **kwargs: plain(*args, **kwargs)


class _Generation(Extension):
    """Lets `{% generation %}`, which marks a model's own words for training, be as if not there."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(lineno)


class _ClosedNamespace(Namespace):
    """A namespace whose names cannot reach into Python's inside."""

    def __init__(*args: object, **kwargs: object) -> None:  # `self` may be one of its names
        self, *given = args
        assert isinstance(self, _ClosedNamespace)
        names = dict(*cast(list[Mapping[str, object]], given), **kwargs)
        for name in names:
            _check_open(name)
        Namespace.__init__(self, names)

    def __setitem__(self, name: str, value: object) -> None:
        _check_open(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"  # what it holds may be any size


def _check_open(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace may not set {name!r}")


class _Dict:
    """Stands for `dict`: a call makes one, and there is no class to reach."""

    def __call__(self, *pairs: Mapping[str, object], **entries: object) -> dict[str, object]:
        return dict(*pairs, **entries)

    def fromkeys(self, keys: Iterable[object], value: object = None) -> dict[object, object]:
        """Make a mapping of keys that all have one value."""
        return dict.fromkeys(keys, value)


@pass_context
def _tojson(
    context: Context,
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as it is, where Jinja's own filter would escape it for HTML.

    Source: transformers, utils/chat_template_utils.py, `tojson`.
    """
    if indent is None and separators is None:
        return json.dumps(value, ensure_ascii=ensure_ascii, sort_keys=sort_keys)
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    pieces: list[str] = []
    budget = _budget(context)
    for piece in encoder.iterencode(value):  # indents can blow it up
        budget.spend(len(piece))
        pieces.append(piece)
    return "".join(pieces)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)
