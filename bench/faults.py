"""Which errors are the machine's and not the cell's, and what to do about each. Imports nothing heavy.

A cell that meets one leaves no record that says `failed`: its checkpoints stay, and the next run goes on from them.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "the quota is used up: free some space of yours",
    errno.EROFS: "let it be mounted for writing again, or choose another place",
    errno.EIO: "the disk or the file server failed: look at it (`dmesg`), or choose another place",
    errno.ESTALE: "the file server has forgotten the file: wait until it answers again",
    errno.ETIMEDOUT: "the file server does not answer: wait until it does",
    errno.ENODEV: "the disk is gone: bring it back",
    errno.ENXIO: "the disk is gone: bring it back",
    errno.ENOTCONN: "the file system is no longer connected: let it be mounted again",
    errno.EHOSTDOWN: "the file server is down: wait until it answers again",
    errno.EREMOTEIO: "the file server failed: wait until it answers again",
    errno.EFBIG: "files of this size are not permitted here: raise `ulimit -f`",
    errno.EMFILE: "too many open files in this process: raise `ulimit -n`",
    errno.ENFILE: "too many open files on this machine: close some, or ask whoever runs it",
}
"""What the operating system answers when the fault lies with disk, network or limits, and what helps."""


def of_machine(error: BaseException) -> OSError | None:
    """The fault of the machine that an error is or was raised from (readers wrap what they meet); None if there is none.

    An OSError with its number, and with the words of the outermost error, which know best what was being done.
    """
    found = next((e for e in _chain(error) if isinstance(e, OSError) and _number(e) in ADVICE), None)
    if found is None or (found is error and found.errno is not None):
        return found
    return OSError(_number(found), str(error))


def advice(error: OSError) -> str:
    """What to do about an error that kept a file from being read or written."""
    if error.errno == errno.ENOSPC and _no_inode_left(error.filename):
        return "there is space, but no file more can be made (`df -i`): remove some files"
    return ADVICE.get(error.errno or 0, "make it writable, or choose another place")


def warn(text: str) -> None:
    """Say what went wrong without ending anything."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: OSError) -> int | None:
    """The error's number; HDF5 and numpy put what they know into their words only."""
    if error.errno is not None:
        return error.errno
    text = str(error)
    if re.search(r"\d+ requested and \d+ written", text):
        return errno.ENOSPC
    return next((number for number in ADVICE if os.strerror(number) in text), None)


def _no_inode_left(filename: object) -> bool:
    if not isinstance(filename, (str, os.PathLike)):
        return False
    try:
        disk = os.statvfs(Path(filename).parent)
    except OSError:
        return False
    return disk.f_files > 0 and disk.f_favail == 0 and disk.f_bavail > 0
