"""Servers and runs that end with their test."""

from .serving import gated, serve

__all__ = ["gated", "serve"]
