"""The `autottt` command."""

from autottt.cli.main import app

__all__ = ["app"]
