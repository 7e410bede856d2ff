"""Bytes and rows: the only package that talks to stores."""
