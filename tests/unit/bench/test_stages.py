"""The micro benchmark goes through all stages: a change of one of them that it does not follow is seen here."""

from __future__ import annotations

from bench.stages import run


def test_every_stage_and_every_question_to_the_store_has_a_figure() -> None:
    alone, store = run(rounds=1, calls=3)
    assert len(alone) == 18
    assert all(0 < figure < 1e9 for figure in alone.values())
    assert len(store) == 4
    assert all(each.cpu > 0 and 0 < each.elapsed < 1e9 for each in store.values())
