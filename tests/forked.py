"""Python processes forked from one that has imported Numba, whose import they need not repeat.

Nor those of SciPy and scikit-learn. They share its hash seed, and nothing that was registered for
their end is done; a test of what must not depend on that needs processes of its own.
"""

import json
import os
import subprocess
import sys
from typing import NamedTuple

SERVER = """
import json, os, sys, tempfile, traceback
import numba, numpy as np, pytest, scipy.sparse, scipy.stats, sklearn.utils.validation
from numba.core import config

@numba.njit
def first(x):
    total = 0.0
    for i in range(x.size):
        total += x[i]
    return total

first(np.zeros(3))  # what Numba itself imports and registers before it compiles

def run(request):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    config.reload_config()
    tempfile.tempdir = None
    sys.argv = request["arguments"]
    sys.path[:0] = request["path"]
    try:
        exec(compile(request["code"], request["arguments"][0], "exec"), {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
    else:
        answer = os.fork()
    if answer == 0 and "wait" not in request:
        code = run(request)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(answer, flush=True)
"""


class Started(NamedTuple):
    """A process, and the files of what it says."""

    pid: int
    out: str
    err: str


class Forks:
    """Starts processes; close it at the end.

    Parameters
    ----------
    folder : path
        For what processes say.
    """

    def __init__(self, folder):
        self.folder, self.n_started = folder, 0
        self.server = subprocess.Popen(
            [sys.executable, "-B", "-c", SERVER], env=os.environ | {"NUMBA_DISABLE_JIT": "0"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _ask(self, **request):
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, code, *arguments, environment, path=(), name="-c"):
        """Begin to run a program, with `path` before the places where modules are looked for."""
        self.n_started += 1
        out, err = (str(self.folder / f"{self.n_started}.{end}") for end in ("out", "err"))
        pid = self._ask(
            code=code, arguments=[str(name), *arguments], environment=dict(environment),
            path=[str(place) for place in path], folder=str(self.folder), out=out, err=err,
        )  # fmt: skip
        return Started(pid, out, err)

    def finish(self, started):
        """Wait for the end of a process: its exit code, what it printed, its errors."""
        code = self._ask(wait=started.pid)
        texts = []
        for name in started[1:]:
            with open(name) as file:
                texts.append(file.read())
            os.unlink(name)
        return code, *texts

    def run(self, code, *arguments, **environment):
        """What a program prints that may import test modules."""
        place = os.path.dirname(__file__)
        started = self.start(code, *arguments, environment=os.environ | environment, path=[place])
        code, out, err = self.finish(started)
        assert code == 0, err
        return out

    def close(self):
        """End the process that others were forked from."""
        self.server.stdin.close()
        self.server.stdout.close()
        self.server.wait()
