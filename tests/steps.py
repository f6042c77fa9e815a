"""Events made by hand, for the tests of the listeners."""

import os
import signal
import subprocess
import sys

import torch

from vqclip.events import Step


def make_step(index=0, steps=10, *, value=0.5, size=8, loss=0.75, skipped=0, losses=None, state=None):
    """A small gray event."""
    return Step(
        index=index,
        steps=steps,
        image=torch.full((1, 3, size, size), float(value)),
        latent=torch.zeros(1, 4, 2, 2),
        loss=torch.tensor(float(loss)),
        losses={name: torch.tensor(float(x)) for name, x in (losses or {}).items()},
        skipped=torch.tensor(skipped),
        state=lambda: state if state is not None else {"index": index},
    )


def start_python(code, *args):
    """A fresh Python that finds the same packages; it starts quickly unless `code` imports something heavy."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, ["", *sys.path]))},
        cwd=os.getcwd(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background ignores Ctrl-C, and children inherit that.
        preexec_fn=_default_signals,
    )


def _default_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
