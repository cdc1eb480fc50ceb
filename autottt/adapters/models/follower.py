"""What a process that holds a part of a model does: whatever the first one tells it, until it ends.

It is started by `ranks.First` and ends when the link to that one does.
"""

from __future__ import annotations

import logging
from multiprocessing.connection import Connection

from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.ranks import Ended, Other, join, receive, send


def main(handle: int) -> None:
    """Follow the calls that come over the connection of that file descriptor."""
    logging.disable()  # the first process says it all
    with Connection(handle) as link:
        try:
            _follow(link)
        except EOFError:
            return


def _follow(link: Connection) -> None:
    rank, size, store, name, settings = receive(link)
    ranks = Other(link, rank, size)
    ranks.gathered("up")
    join(store, rank, size, settings.device)
    model = HuggingFaceModel(name, settings=settings, ranks=ranks)
    while True:
        call, args, kwargs = receive(link)
        try:
            model.follow(call, *args, **kwargs)
        except EOFError:
            raise
        except Exception as error:  # noqa: BLE001  # the first process judges it
            send(link, Ended(f"{type(error).__name__}: {error}"))
        else:
            send(link, Ended(None))
