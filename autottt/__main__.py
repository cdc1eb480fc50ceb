"""`python -m autottt` is the `autottt` command."""

from autottt.cli import app

if __name__ == "__main__":
    app(prog_name="autottt")
