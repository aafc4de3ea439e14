"""native.c, compiled from the present source, whatever was or was not compiled when this package was installed."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from dedup_service.adapters.eventhubs.below_sdk import native
from dedup_service.adapters.eventhubs.below_sdk.native import Codec, codec_of

SOURCE = Path(native.__file__).with_suffix(".c")
STRICT = ("-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter")


@cache
def native_module() -> ModuleType | None:
    """None where there is no compiler, or Python's headers are missing."""
    headers = Path(sysconfig.get_paths()["include"])
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    if shutil.which(compiler[0]) is None or not (headers / "Python.h").exists():
        return None
    folder = Path(tempfile.mkdtemp())
    try:
        library = folder / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
        subprocess.run([*compiler, *STRICT, f"-I{headers}", str(SOURCE), "-o", str(library)], check=True)
        spec = importlib.util.spec_from_file_location("_native", library)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        shutil.rmtree(folder)
    return module


def native_codec() -> Codec:
    """Python's own where nothing can be compiled."""
    return codec_of(native_module())
