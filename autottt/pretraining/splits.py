"""Which families serve what. A new family joins pretraining unless it is named here.

- pretraining: what the embedded model learns from;
- calibration: never in pretraining, tasks of them (beside fresh tasks of pretraining families) fit
  the controller;
- test: in neither, used for reporting alone.

Drawn once at random within each group of families, so that every group is on every side; three
basic text families (boolean expressions, closing brackets, sorting words) stay in pretraining.

"Unseen" is said of a family, not of its rule's kin. Of test families: in pretraining `turn_grid`
turns what `grid_turn_whole` turns, `grid_swap_in_grid` and `grid_recolour_map` do on grids what
`line_swap_colours` and `line_colour_map` do on lines, `drop_repeats` shortens runs as `line_dedupe`
does, `line_gravity` takes a single object where `line_slide_to_wall` takes it,
`grid_pile_and_mark` piles up and marks columns as `line_gravity_and_top` does a line,
`keep_every_second` keeps rows or columns as `line_subsample` keeps cells, and `line_odd_panel`
finds the odd part of a line as `select_odd_panel` does that of a grid. Among the steps
of `line_two_steps`, which is in pretraining, are the rules of `line_colour_map` and `line_shrink`
(test), `line_mirror` and `line_rotate` (calibration). With their outputs changed once more
(`sampling.compose`) some pretraining families would have rules of held-out ones; `NOT_COMPOSED`
names them, and they are left as they are. The shipped weights were trained before that (commit
c78dae6): they have seen about half of the rules of `crop_then_turn` and `line_rotate`
(calibration), of `grid_turn_whole`, `line_shrink` and `line_colour_map` (test), and a few of
`line_mirror`, `line_automaton`, `grid_fill_enclosed` (calibration) and `halves_same` (test).
"""

from __future__ import annotations

from autottt.pretraining.families import FAMILIES

CALIBRATION = (
    "count_objects",
    "crop_inside_frame",
    "crop_then_turn",
    "fold_onto_half",
    "grid_border",
    "grid_colour_steps",
    "grid_connect",
    "grid_drop_isolated",
    "grid_fill_enclosed",
    "grid_filter_and_extend",
    "grid_hole_then_fall",
    "grid_legend",
    "grid_mark_asymmetry",
    "grid_marker_inside",
    "grid_mend_fourfold",
    "grid_sort_rows",
    "grid_square_around",
    "grid_squares",
    "line_automaton",
    "line_colour_decides",
    "line_connect_same",
    "line_echo",
    "line_every_kth",
    "line_flag_direction",
    "line_invert",
    "line_mirror",
    "line_nearest_marker",
    "line_panel_logic",
    "line_reverse_colours",
    "line_rotate",
    "line_symmetry_repair",
    "rank_one_colour",
    "row_parity",
    "scale_by_colour_count",
    "select_fixed_part",
    "select_symmetric_panel",
    "shear_rows",
    "text_balanced",
    "text_compare",
    "text_double_letters",
    "text_last_letters",
    "text_missing_item",
    "text_multiply",
    "text_sort_by_length",
    "text_swap_places",
    "tile_alternate_flips",
    "tile_quarter_turns",
)

TEST = (
    "crop_object_by_size",
    "crop_then_mirror",
    "grid_arms",
    "grid_fill_rooms",
    "grid_header",
    "grid_leak",
    "grid_make_symmetric",
    "grid_marker_beside",
    "grid_ray_by_colour",
    "grid_rim",
    "grid_split_halves",
    "grid_turn_whole",
    "halves_same",
    "halves_truth_table",
    "line_adopt_touching",
    "line_attract",
    "line_colour_by_rank",
    "line_colour_map",
    "line_dedupe",
    "line_drop_colour",
    "line_gravity_and_top",
    "line_grow",
    "line_pack",
    "line_shrink",
    "line_slide_to_wall",
    "line_subsample",
    "line_swap_colours",
    "line_train",
    "list_longest_bar",
    "marked_lines_meet",
    "rank_all_colours",
    "read_diagonal",
    "row_agreement_table",
    "select_odd_panel",
    "select_repeated_panel",
    "strip_border",
    "strip_lines",
    "text_bracket_depth",
    "text_first_in_alphabet",
    "text_is_member",
    "text_liar",
    "text_next_number",
    "text_reverse_word",
    "text_run_lengths",
    "text_who_is_first",
    "tile_kaleidoscope",
    "verdicts_symmetric",
)

# of pretraining: a turned, mirrored or recoloured output would be what a held-out family asks for
NOT_COMPOSED = frozenset(
    {
        "crop_to_content",  # crop_then_turn
        "grid_fill_outside",  # grid_fill_enclosed, where the background has a colour
        "grid_mirror_and_recolour",  # grid_turn_whole
        "halves_xor",  # halves_same, where the background has a colour
        "line_two_steps",  # line_rotate, line_shrink, line_colour_map, line_mirror, line_automaton
        "turn_grid",  # grid_turn_whole
    }
)

HELD_OUT = frozenset(CALIBRATION) | frozenset(TEST)


def pretraining_families() -> tuple[str, ...]:
    """The names of the families that the embedded model may learn from, sorted."""
    return tuple(sorted(name for name in FAMILIES if name not in HELD_OUT))
