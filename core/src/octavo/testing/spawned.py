"""`octavo serve` as a process with all its others, for tests that send it real signals.

Does not know what is served: a loader's name says that.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from octavo.process.board import Board, Seen
from octavo.testing.hosted import null_folder
from octavo.testing.served import until

_SCRIPT = """
import sys
import tempfile
from dataclasses import replace
from octavo.cli.serve import serve
from octavo.cli.story import Story
from octavo.config import from_environment

tempfile.tempdir = {temporary!r}
settings = replace(from_environment({{}}), model={model!r}, port=0, **{settings!r})
sys.exit(serve(settings, Story(), loader={loader!r}))
"""


@dataclass(frozen=True, slots=True)
class Spawned:
    """A server's first process, its address, what it said until it served, and its folder."""

    process: subprocess.Popen[str]
    url: str
    said: str
    temporary: Path

    @property
    def port(self) -> int:
        """Give the port."""
        return int(self.url.rpartition(":")[2])

    def engines(self) -> list[int]:
        """Give the ids of its engine processes: one, or none for a while."""
        return _children(self.process.pid, "octavo.process")

    def siblings(self) -> list[int]:
        """Give the ids of its further API processes."""
        return _children(self.process.pid, "octavo.server")

    def seen(self) -> Seen:
        """Look at its engine's board."""
        (path,) = self.temporary.glob("*/board")
        return Board(path).read()

    def rest(self) -> str:
        """Wait for its end, and give what it said since it served."""
        return self.process.communicate(timeout=60)[1]


@contextmanager
def spawned(
    folder: Path,
    *,
    loader: str = "load_null",
    settings: Mapping[str, object] | None = None,
    awaits: str = "curl",
) -> Iterator[Spawned]:
    """Serve the model without weights until the end of the `with`.

    `loader` is a function of `octavo.testing.hosted`; `settings` are fields of `Settings`;
    `awaits` is in a line of its story, by default the last. It has no address before it serves.

    Effects: the process is killed at the end if it still runs; the others then end by themselves.
    Raises: TimeoutError, where anything is left in its folder for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="octavo-test-") as temporary:
        script = _SCRIPT.format(
            model=null_folder(folder),
            settings=dict(settings or {}),
            loader=f"octavo.testing.hosted:{loader}",
            temporary=temporary,
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                said = _until_said(process, awaits)
                found = re.search(r"serving .* on (\S+)", said)
                url = "" if found is None else found[1]
                yield Spawned(process, url, said, Path(temporary))
            finally:
                process.kill()
        until(lambda: not any(Path(temporary).iterdir()))


def is_running(pid: int) -> bool:
    """Tell whether there is such a process, and it is no mere entry of one that ended."""
    shown = _ps(["-p", str(pid), "-o", "stat="])
    return bool(shown) and not shown[0].startswith("Z")


def _until_said(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr is not None
    said = ""
    while text not in said:
        line = process.stderr.readline()
        if not line:
            raise RuntimeError(f"the server ended before it said '{text}': {said}")
        said += line
    return said


def _children(parent: int, module: str) -> list[int]:
    found = []
    for line in _ps(["-A", "-o", "ppid=,pid=,stat=,args="]):
        owner, pid, state, args = line.split(maxsplit=3)
        if int(owner) == parent and args.endswith(f"-m {module}") and not state.startswith("Z"):
            found.append(int(pid))
    return found


def _ps(arguments: list[str]) -> list[str]:
    done = subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False)
    return [line.strip() for line in done.stdout.splitlines() if len(line.split()) > 0]
