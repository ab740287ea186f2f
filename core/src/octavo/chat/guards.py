"""What may grow without bounds in a template, and how large it would become.

A short operation that makes a long value ('a' * 10**9, a width, a replacement) is looked at before
it runs. `Guards` rewrites a parsed template so that each turn of a loop is a step, and joined text
and new lists are counted; operators, filters and methods are asked about here by name.

Knows nothing of messages; the counting itself is `budget`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Sized

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer

from octavo.chat.budget import Budget, OverBudget

GUARDED_OPERATORS = frozenset(("+", "*", "**", "%"))
COUNT_TURN, JOIN_TEXT, COUNT_MADE = "count_turn", "join_text", "count_made"

_MAX_WIDTH = 10_000
_MAX_BITS = 100_000
_WIDE = re.compile(r"\d{5,}|\*")
_WIDE_FIELD = re.compile(r"\{[^{}]*(?:\d{5,}|\{)")
# Filters that make a list of what may be a text, one item for each character.
_LISTING = frozenset(("batch", "list", "slice", "sort", "unique"))
_MAX_LISTED = 1_000_000


class Guards(NodeTransformer):
    """Makes a parsed template count what it does."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def rewrite(self, template: nodes.Template) -> nodes.Template:
        """Give the template with its steps counted.

        Effects: changes the template that it is given.
        """
        rewritten = self.visit(template)
        rewritten.set_environment(self._environment)
        assert isinstance(rewritten, nodes.Template)
        return rewritten

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """Count each turn."""
        return self._counted(node, node.body)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        """Count the plain text of a macro."""
        return self._counted(node, node.body)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        """Count the plain text of a block that is called."""
        return self._counted(node, node.body)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """Count joined text."""
        self.generic_visit(node)
        return _call(JOIN_TEXT, node.nodes, node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Node:
        """Count a new list."""
        self.generic_visit(node)
        return _made(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        """Count a new mapping."""
        self.generic_visit(node)
        return _made(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        """Count a new tuple, unless names are being set."""
        self.generic_visit(node)
        return _made(node) if node.ctx == "load" else node

    def _counted(self, node: nodes.Node, body: list[nodes.Node]) -> nodes.Node:
        num_chars = sum(map(_plain_chars, body))
        self.generic_visit(node)
        call = _call(COUNT_TURN, [nodes.Const(num_chars)], node.lineno)
        body.insert(0, nodes.ExprStmt(call).set_lineno(node.lineno))
        return node


def check_operator(budget: Budget, operator: str, left: object, right: object) -> None:
    """Refuse an operation whose result would be too large.

    Raises: OverBudget.
    """
    if operator == "%":
        if isinstance(left, str):
            _check_format(budget, left, _WIDE, "%", right)
    elif isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        num_bits = bits * max(right, 0) if operator == "**" else bits + right.bit_length()
        if num_bits > _MAX_BITS:
            raise OverBudget(f"a number of more than {_MAX_BITS} bits")
    elif operator == "+":
        budget.expect(budget.size(left) + budget.size(right))
    elif operator == "*":
        times = left if isinstance(left, int) else right
        thing = right if isinstance(left, int) else left
        if isinstance(times, int) and isinstance(thing, Sized):
            budget.expect(max(times, 0) * budget.size(thing))


def check_filter(budget: Budget, name: str, value: object, given: Sequence[object]) -> None:
    """Refuse a filter whose result would be too large.

    Raises: OverBudget.
    """
    if name in ("batch", "slice", "indent", "round", "tojson"):
        _check_widths(given)
    if name in _LISTING and isinstance(value, str) and len(value) > _MAX_LISTED:
        raise OverBudget(f"a list of more than {_MAX_LISTED} characters")
    if name == "indent" and isinstance(value, str) and given:
        width = given[0]
        budget.expect((value.count("\n") + 1) * (len(width) if isinstance(width, str) else 1))
    elif name == "format" and isinstance(value, str):
        _check_format(budget, value, _WIDE, "%", tuple(given))
    elif name == "replace":
        _check_replace(budget, str(value), given)
    elif name == "join" and isinstance(value, Sized):
        separator = str(given[0]) if given else ""
        budget.expect(budget.size(value) + len(separator) * len(value))
    elif name == "sum" and any(isinstance(each, Sized) for each in given):
        raise OverBudget("a sum of what is no number")


def check_method(
    budget: Budget, name: str, owner: object, args: Sequence[object], named: Mapping[str, object]
) -> None:
    """Refuse a method of a text whose result would be too large.

    Raises: OverBudget.
    """
    given = [*args, *named.values()]
    if name in ("center", "expandtabs", "ljust", "rjust", "zfill", "to_bytes"):
        _check_widths(given)
    elif name == "translate":
        raise OverBudget("a text translated by a table")
    elif name in ("format", "format_map") and isinstance(owner, str):
        text = owner.replace("{{", "").replace("}}", "")
        _check_format(budget, text, _WIDE_FIELD, "{", given)
    elif name == "replace" and isinstance(owner, str | bytes):
        _check_replace(budget, owner, given)
    elif name == "join" and isinstance(owner, str | bytes) and given:
        if not isinstance(given[0], Sized):
            raise OverBudget("texts joined that were not counted; make a list of them first")
        budget.expect(budget.size(given[0]) + len(owner) * len(given[0]))


def _made(node: nodes.Expr) -> nodes.Expr:
    if node.find(nodes.Name) is None and node.find(nodes.Call) is None:
        return node  # no longer than the template
    return _call(COUNT_MADE, [node], node.lineno)


def _call(name: str, args: list[nodes.Expr], lineno: int) -> nodes.Call:
    call = nodes.Call(nodes.EnvironmentAttribute(name), args, [], None, None)
    call.set_lineno(lineno)
    return call


def _plain_chars(node: nodes.Node) -> int:
    if isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock):
        return 0  # counts its own
    if isinstance(node, nodes.TemplateData):
        return len(node.data)
    return sum(map(_plain_chars, node.iter_child_nodes()))


def _check_widths(given: Sequence[object]) -> None:
    for each in given:
        wide = len(each) if isinstance(each, str) else each
        if isinstance(wide, int) and abs(wide) > _MAX_WIDTH:
            raise OverBudget(f"a width or count of more than {_MAX_WIDTH}")


def _check_format(
    budget: Budget, text: str, wide: re.Pattern[str], mark: str, given: object
) -> None:
    if wide.search(text):
        raise OverBudget("a format with a width that is not known or has five digits")
    budget.expect(len(text) + text.count(mark) * budget.size(given))


def _check_replace(budget: Budget, text: str | bytes, given: Sequence[object]) -> None:
    match given:
        case [str(old), str(new), *_] if isinstance(text, str):
            budget.expect(len(text) + text.count(old) * len(new))
        case [bytes(), bytes(), *_]:
            raise OverBudget("bytes replaced")
