"""Measures this project against its peers; nothing here is imported by the product."""
