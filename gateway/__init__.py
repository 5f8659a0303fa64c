"""Scopegate: scoped access tokens in front of a REST API."""

__version__ = "0.1.0"
