"""The contract's number, which is its own: no package's version stands in for it.

It is 0.n until a native program, an XLA program and a Triton platform pass the conformance
suite; until then every change of the contract raises n.
"""

from __future__ import annotations

CONTRACT = (0, 5)
DISTRIBUTION = "octavo-platforms"
