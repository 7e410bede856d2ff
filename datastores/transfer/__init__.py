"""Copies between stores and local folders: parallel, resumable, verified, atomic."""

from datastores.transfer.copying import copy
from datastores.transfer.download import download
from datastores.transfer.failures import load_failures
from datastores.transfer.options import Integrity, Limits, Options, Overwrite, Symlinks
from datastores.transfer.sources import Source
from datastores.transfer.summary import Summary
from datastores.transfer.upload import upload, upload_files
from datastores.transfer.verify import Depth, Finding, Problem, Report, repair, verify
from datastores.transfer.watcher import Silent, Watcher

__all__ = [
    "Depth",
    "Finding",
    "Integrity",
    "Limits",
    "Options",
    "Overwrite",
    "Problem",
    "Report",
    "Silent",
    "Source",
    "Summary",
    "Symlinks",
    "Watcher",
    "copy",
    "download",
    "load_failures",
    "repair",
    "upload",
    "upload_files",
    "verify",
]
