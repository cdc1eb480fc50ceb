"""A recipe that is trained in a second."""

from __future__ import annotations

from autottt.pretraining.recipe import Recipe

RECIPE = Recipe(
    hidden=32,
    layers=1,
    heads=1,
    intermediate=64,
    context=256,
    steps=12,
    tokens=1024,
    warm_up=2,
    compile=False,
    row_lengths=(256,),
    row_weights=(1.0,),
    short_share=0.0,
)
