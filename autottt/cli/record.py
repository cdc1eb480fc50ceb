"""The JSON record of an answer, for the commands; it is defined in `autottt.record`."""

from autottt.record import answer_object, correct, line

__all__ = ["answer_object", "correct", "line"]
