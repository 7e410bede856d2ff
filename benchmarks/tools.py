"""Finds the programs a run needs and installs those that are missing, outside of the system.

Debian packages are unpacked into a folder of our own instead of installed, because installing nginx
starts a service on port 80.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent
_PACKAGES = (
    "nginx",
    "libnginx-mod-http-headers-more-filter",
    "libnginx-mod-http-echo",
    "rclone",
    "libsecret-1-0",
)
_MODULES = ("ngx_http_headers_more_filter_module.so", "ngx_http_echo_module.so")
_AZCOPY = "@azure-tools/azcopy-linux"
_AZURITE = "azurite@3"
_LIBRARIES = ("adlfs", "azure.storage.blob", "obstore")


@dataclass(frozen=True, slots=True)
class Tools:
    """Where everything is."""

    nginx: Path
    nginx_modules: Path
    rclone: Path
    azcopy: Path
    python: Path
    library_path: str

    @property
    def environment(self) -> dict[str, str]:
        """For every program that was unpacked here: its libraries."""
        return {"LD_LIBRARY_PATH": self.library_path} if self.library_path else {}


def cache_folder() -> Path:
    """Where downloaded tools stay from one run to the next."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "datastores-benchmarks"


def find_tools(cache: Path, *, azcopy: bool = True) -> Tools:
    """Everything, downloaded if it is not there; azcopy only where it takes part."""
    unpacked = cache / "debian"
    if not _debian_complete(unpacked):
        unpack_debian(unpacked, _PACKAGES)
    roots = (unpacked, Path("/"))
    libraries = [str(folder) for folder in unpacked.glob("usr/lib/*-linux-gnu")]
    return Tools(
        nginx=_first(roots, "usr/sbin/nginx"),
        nginx_modules=_first(roots, f"usr/lib/nginx/modules/{_MODULES[0]}").parent,
        rclone=_first(roots, "usr/bin/rclone"),
        azcopy=_find_azcopy(cache / "node") if azcopy else Path("azcopy"),
        python=find_python(cache),
        library_path=":".join(libraries),
    )


def _debian_complete(unpacked: Path) -> bool:
    wanted = ["usr/sbin/nginx", "usr/bin/rclone"]
    wanted += [f"usr/lib/nginx/modules/{module}" for module in _MODULES]
    have_files = all(
        any((root / name).is_file() for root in (unpacked, Path("/"))) for name in wanted
    )
    secret = find_library("secret-1") or any(unpacked.glob("usr/lib/*-linux-gnu/libsecret-1.so.0"))
    return have_files and bool(secret)


def _first(roots: tuple[Path, ...], name: str) -> Path:
    return next(root / name for root in roots if (root / name).is_file())


def unpack_debian(unpacked: Path, packages: Sequence[str]) -> None:
    """Fetch the packages with whatever they depend on and this machine lacks, and unpack them."""
    archives = unpacked / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    say("fetching Debian packages: " + ", ".join(packages))
    run_quietly("apt-get", "update", "-qq")
    options = ("-o", f"Dir::Cache::archives={archives}", "-o", "Debug::NoLocking=1")
    run_quietly(
        *("apt-get", "install", "-y", "-qq", "--download-only", "--reinstall"),
        *("--no-install-recommends", *options, *packages),
    )
    for archive in sorted(archives.glob("*.deb")):
        run_quietly("dpkg-deb", "-x", str(archive), str(unpacked))


def _find_azcopy(folder: Path) -> Path:
    if found := shutil.which("azcopy"):
        return Path(found)
    pattern = f"node_modules/{_AZCOPY}/dist/bin/azcopy_linux_*"
    if not any(folder.glob(pattern)):
        install_node(folder, _AZCOPY)
    binary = min(folder.glob(pattern))
    binary.chmod(0o755)
    return binary


def find_azurite(cache: Path) -> Path:
    """The emulator, for the check of correctness."""
    if found := shutil.which("azurite-blob"):
        return Path(found)
    binary = cache / "node/node_modules/.bin/azurite-blob"
    if not binary.exists():
        install_node(cache / "node", _AZURITE)
    return binary


def install_node(folder: Path, package: str) -> None:
    """Put a package of the npm registry into a folder."""
    if not shutil.which("npm"):
        say("installing npm")
        run_quietly("apt-get", "update", "-qq")
        run_quietly("apt-get", "install", "-y", "-qq", "--no-install-recommends", "npm")
    folder.mkdir(parents=True, exist_ok=True)
    say(f"fetching {package}")
    quiet = ("--no-audit", "--no-fund", "--loglevel=error")
    run_quietly("npm", "install", "--prefix", str(folder), *quiet, package)


def find_python(cache: Path) -> Path:
    """The present interpreter if it has the libraries, else one of our own that gets them."""
    if _has_libraries(Path(sys.executable)):
        return Path(sys.executable)
    folder = cache / "python"
    python = folder / "bin/python"
    if not (python.exists() and _has_libraries(python)):
        say("installing this project and its libraries into a virtual environment")
        run_quietly(sys.executable, "-m", "venv", str(folder))
        run_quietly(str(python), "-m", "pip", "install", "--quiet", f"{_REPOSITORY}[benchmarks]")
    return python


def _has_libraries(python: Path) -> bool:
    # The last one is this repository's own: it shows whether what it needs is there, too.
    code = "import importlib, sys; list(map(importlib.import_module, sys.argv[1:]))"
    command = [str(python), "-c", code, *_LIBRARIES, "datastores.definitions"]
    tried = subprocess.run(command, capture_output=True, check=False, cwd=_REPOSITORY)
    return tried.returncode == 0


def run_quietly(*command: str) -> None:
    """Run a command; its words are shown only when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def say(text: str) -> None:
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)
