"""The package's build: the native library is compiled where a C++ compiler is there.

Without one the wheel is built all the same, without the library; the platform `cpu_native` then
says so when it is probed. Knows nothing of compilers (`octavo_cpu.native.compiler` does).
"""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILER = "src/octavo_cpu/native/compiler.py"


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles, and marks the wheel as made for this kind of machine."""

    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        """Add the library to a wheel; an editable one finds it beside its source.

        Effects: writes the library into the source tree.
        """
        if self.target_name != "wheel":
            return
        compiler = _loaded(Path(self.root) / COMPILER)
        try:
            library: Path = compiler.build()
        except compiler.BuildError as error:
            self.app.display_warning(f"the platform cpu_native is left out: {error}")
            return
        if version == "editable":
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["pure_python"] = False
        build_data["force_include"] = {str(library): f"octavo_cpu/native/{library.name}"}


def _loaded(path: Path) -> ModuleType:
    """Load a module by its path: what the package needs is not installed while it is built."""
    spec = importlib.util.spec_from_file_location("octavo_cpu_compiler", path)
    assert spec is not None, f"no module at {path}"
    assert spec.loader is not None, f"no module at {path}"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
