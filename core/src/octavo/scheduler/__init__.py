"""The scheduler: who computes what in the next step, and what a step's result changes.

Catch-up: a step gives each running request tokens until its computed positions equal those of
its context. One token short is what others call decoding, many short is a prompt; here both
are the same thing, and so are prompts in parts, prefix hits and resumed requests.

    queue      who waits, in the order of turns
    admission  seats who waits: blocks for the whole known context, what is remembered first
    policy     whose turn comes before whose
    gates      reasons to wait although it is one's turn; `pausing` has one of them
    roster     who runs, in the order of turns
    budget     a step's tokens: first those one token short, then longer ones in order
    pace       which steps have prompts, where not every one may
    making     a step of shares: how far each gets, and who gets a token
    turns      the `Scheduler`: one step after the other, and what their results change
    limits     what the model, the memory and the operator allow

A step that was launched and not read *promises* a token to each of its rows. A promised token
counts as part of the context: the next step takes it from the device, which has it, before the
host has it too. So a request can be in several unread steps. That it has met a stop token is
found out when a step is read; its rows in later steps are then dropped by their tickets.

Running requests stand in the order of their turns, and nobody is seated before one whose turn
is first, unless a gate holds that one. The first always advances, and by arrival everybody is
first in the end, so nobody starves. Where blocks are short, steps are read before anybody is
preempted, since reading may end requests; then it is the last who waits again. Whoever is seated
beside others leaves as many blocks as all of them may want while they fill one each, so between
a seat given and a seat lost lie as many steps as a block has slots.

One thread owns a scheduler. To test it, put the model without weights behind it
(`octavo.testing.null`) and hold its books against each other after each move.

Knows nothing of devices, programs or text.
"""

from __future__ import annotations

from octavo.scheduler.gates import Bell, Gate
from octavo.scheduler.limits import Limits
from octavo.scheduler.pausing import PauseMode
from octavo.scheduler.turns import Scheduler

__all__ = ["Bell", "Gate", "Limits", "PauseMode", "Scheduler"]
