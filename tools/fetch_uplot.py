"""Fetch uPlot, which draws the plots of the page, and put its files where the page is made from.

`npm pack` fetches the package by name and version; its integrity must be the one below. Run it by hand after changing
VERSION and INTEGRITY (`npm view uplot@VERSION dist.integrity`), and put the new hashes into reports/page/README.md.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile

VERSION = "1.6.32"
INTEGRITY = "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw=="
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "reports", "page")
FILES = {
    "package/dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "package/dist/uPlot.min.css": "uPlot.min.css",
    "package/LICENSE": "uPlot-LICENSE.txt",
}


def unpack(archive: str) -> dict[str, bytes]:
    """Give the files that are shipped, by their names here. Raises ValueError where the package is another one."""
    with open(archive, "rb") as file:
        found = "sha512-" + base64.b64encode(hashlib.sha512(file.read()).digest()).decode()
    if found != INTEGRITY:
        raise ValueError(f"the integrity of {os.path.basename(archive)} is {found}; it must be {INTEGRITY}")
    with tarfile.open(archive) as package:
        members = {name: package.extractfile(member) for member, name in FILES.items()}
        return {name: member.read() for name, member in members.items() if member is not None}


def main() -> int:
    """Fetch, check and write; 0, or 1 with the reason."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", scratch, f"uplot@{VERSION}"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        try:
            files = unpack(os.path.join(scratch, f"uplot-{VERSION}.tgz"))
        except ValueError as reason:
            print(reason, file=sys.stderr)
            return 1
    for name, data in files.items():
        with open(os.path.join(FOLDER, name), "wb") as file:
            file.write(data)
        print(f"| `{name}` | `{hashlib.sha256(data).hexdigest()}` |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
