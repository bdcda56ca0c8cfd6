"""What fault tests need of the machine: a tracer, mounts of their own. Without it they are skipped; in CI they fail.

`.ci/install-test-tools` installs the programs; the rights are the machine's to give: ptrace of one's own processes,
and for mounts root or unprivileged user namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache

import pytest

INSTALL = "`.ci/install-test-tools` installs it"


def require(problem: str | None) -> None:
    """Skip the test if there is a problem; in CI fail it, so that nothing is passed over there."""
    if problem is None:
        return
    if os.environ.get("CI"):
        pytest.fail(problem)
    pytest.skip(problem)


@cache
def tracing_problem() -> str | None:
    """Say why strace cannot make system calls fail here; None if it can."""
    if shutil.which("strace") is None:
        return f"strace is not here: {INSTALL}"
    refused = "fsync:error=EIO:when=1"
    program = "import os, sys; os.fsync(os.open(sys.executable, os.O_RDONLY))"
    command = ["strace", "-f", "-o", os.devnull, "-e", f"inject={refused}", sys.executable, "-SE", "-c", program]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if "OSError: [Errno 5]" in tried.stderr:
        return None
    return f"strace cannot trace here, allow ptrace (docker: --cap-add SYS_PTRACE): {tried.stderr.strip()[-300:]}"


@cache
def namespace() -> tuple[str, ...]:
    """Give the command in front of a program that mounts what nobody else sees; empty if there is no way."""
    ways = (("unshare", "--mount"), ("unshare", "--map-root-user", "--mount"))
    return next((way for way in ways if _works([*way, "mount", "-t", "tmpfs", "tmpfs", "/tmp"])), ())


def mounting_problem() -> str | None:
    """Say why a test cannot have mounts of its own here; None if it can."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return f"unshare and mount are not here: {INSTALL}"
    if not namespace():
        return "no mounts here: be root (docker: --cap-add SYS_ADMIN) or allow unprivileged user namespaces"
    return None


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
