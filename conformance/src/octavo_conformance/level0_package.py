"""Level 0, the package: what can be known of a platform without opening a device.

Knows nothing of devices; a machine without one proves this level.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import get_args

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise
from octavo_conformance.verdict import Failed, NotClaimed, insist
from octavo_platforms.capabilities import RankForm
from octavo_platforms.errors import Refused
from octavo_platforms.tensor import DTYPES

HEAVY = frozenset({"torch", "jax", "jaxlib", "tensorflow", "triton", "transformers", "cupy", "mlx"})
MANDATORY = (
    "platform_info", "probe", "discover_devices", "open_device", "make_memory", "bind_op",
    "compile",
)  # fmt: skip
RANK_FORMS: tuple[RankForm, ...] = get_args(RankForm)
STANDINGS = ("run", "emulated", "interpreted", "traced", "compiled")
CLAIMS = frozenset({"step", "batch_invariant"})
IMPORT_S = 120

# Runs in a process of its own: what a plugin imports is known only where nothing else did.
_IMPORTS = """
import json, sys
from importlib.metadata import EntryPoint
sys.path[:0] = json.loads(sys.argv[1])
from octavo_platforms.loaded import Platform
Platform(EntryPoint("platform", sys.argv[2], "octavo.platforms").load()).probe()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

_LOADED_BY = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from octavo_conformance.untouched import loaded_by
print(json.dumps(loaded_by(sys.argv[2])))
"""
_CHANGED_BY = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from octavo_conformance.untouched import changed_by
print(json.dumps(changed_by(sys.argv[2], json.loads(sys.argv[3]))))
"""


@promise(level=0, area="package")
def implements_the_hooks_of_the_contract_and_no_others(bench: Bench) -> None:
    """Every hook it implements is one of the contract's, with the contract's arguments."""
    try:
        platform = bench.subject.load()
    except Refused as refusal:
        raise Failed(f"it cannot be loaded: {refusal}") from refusal
    missing = [hook for hook in MANDATORY if not platform.implementations(hook)]
    insist(not missing, f"nobody implements {', '.join(missing)}")


@promise(level=0, area="package")
def goes_by_the_name_of_its_entry_point(bench: Bench) -> None:
    """The name it gives itself is the one it is found by."""
    name = bench.platform.info.name
    insist(name == bench.subject.name, f"found as '{bench.subject.name}', it says '{name}'")


@promise(level=0, area="package")
def names_the_contract_it_was_made_for(bench: Bench) -> None:
    """Its package requires this contract's number, so that another is refused unimported."""
    candidate = bench.subject.candidate
    if candidate is None:
        raise NotClaimed("it comes from no package")
    insist(candidate.refusal is None, str(candidate.refusal))


@promise(level=0, area="package")
def imports_nothing_heavy_to_say_what_it_is(bench: Bench) -> None:
    """Importing it, asking platform_info and probing load no array framework."""
    found = HEAVY.intersection(_alone(_IMPORTS, bench.subject.origin))
    insist(not found, f"it imported {', '.join(sorted(found))}; import them in open_device")


@promise(level=0, area="package")
def changes_nothing_that_it_does_not_own(bench: Bench) -> None:
    """Importing and probing it leaves every module of Octavo's that it needs as it was."""
    origin = bench.subject.origin
    modules = _alone(_LOADED_BY, origin)
    found = _alone(_CHANGED_BY, origin, json.dumps(modules))
    insist(not found, f"{'; '.join(found[:3])}; if it has to, the contract lacks something")


@promise(level=0, area="package")
def describes_itself_in_known_words(bench: Bench) -> None:
    """platform_info is complete and well-formed, and the same each time."""
    info = bench.subject.load().info
    insist(info == bench.subject.load().info, "platform_info gave two different answers")
    insist(all((info.name, info.device, info.vendor)), "name, device and vendor may not be empty")
    unknown = set(info.dtypes).difference(DTYPES)
    insist(not unknown, f"dtypes that the contract does not know: {sorted(unknown)}")
    insist(len(set(info.dtypes)) == len(info.dtypes) > 0, f"odd list of dtypes: {info.dtypes}")
    insist(info.standing in STANDINGS, f"standing '{info.standing}' is none of {STANDINGS}")
    insist(info.claims <= CLAIMS, f"unknown claims: {sorted(info.claims - CLAIMS)}")
    insist(info.ranks in RANK_FORMS, f"ranks '{info.ranks}' is none of {RANK_FORMS}")
    insist(info.max_in_flight >= 1, f"max_in_flight is {info.max_in_flight}, at least 1 is needed")
    insist(info.block_size >= 1, f"block_size is {info.block_size}, at least 1 is needed")


@promise(level=0, area="package")
def probes_in_words_and_never_raises(bench: Bench) -> None:
    """A probe gives an answer and its reason, device or not, as often as it is asked."""
    for _ in range(2):
        try:
            probe = bench.platform.probe()
        except Exception as error:
            raise Failed(f"probe raised {type(error).__name__}: {error}") from error
        insist(bool(probe.words.strip()), "a probe has to say in words why")
        insist(probe.priority >= 0, f"a priority of {probe.priority} means nothing")


def _alone(code: str, origin: str, *arguments: str) -> list[str]:
    """Run code in a process of its own; gives the words that it printed last."""
    command = [sys.executable, "-c", code, json.dumps(sys.path), origin, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_S, check=False)
    last = (ended.stderr.strip().splitlines() or ["no words"])[-1]
    insist(ended.returncode == 0, f"'{origin}' cannot be imported alone: {last}")
    found: list[str] = json.loads(ended.stdout.strip().splitlines()[-1])
    return found
