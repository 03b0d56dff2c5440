"""Modules of functions that tests write, in files, where their source can be read."""

from __future__ import annotations

import importlib.util


def module_of(lines, folder, name):
    path = folder / f"{name}.py"
    path.write_text("\n".join(lines) + "\n")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
