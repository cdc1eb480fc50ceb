"""Procedural task families: importing the package fills the registry `FAMILIES`."""

from autottt.pretraining.families import (  # noqa: F401 - imported for what they register
    grid_colour,
    grid_compose,
    grid_fill,
    grid_lines,
    grid_local,
    grid_motion,
    grid_objects,
    grid_paths,
    grid_rooms,
    grid_select,
    grid_shapes,
    grid_stamps,
    grid_symmetry,
    lines_colour,
    lines_compose,
    lines_copying,
    lines_logic,
    lines_motion,
    lines_objects,
    lines_order,
    lines_recolour,
    lines_travel,
    shape_count,
    shape_crop,
    shape_logic,
    shape_scale,
    shape_select,
    shape_tile,
    text_logic,
    text_numbers,
    text_state,
    text_words,
)
from autottt.pretraining.families.base import FAMILIES, Family

__all__ = ["FAMILIES", "Family"]
