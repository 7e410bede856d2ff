"""The data report: what a mount did, where the time went, what would have helped. Pure."""

from mount.report.report import Finding, Report, summarise
from mount.report.words import bytes_in_words, in_words, share_in_words

__all__ = [
    "Finding",
    "Report",
    "bytes_in_words",
    "in_words",
    "share_in_words",
    "summarise",
]
