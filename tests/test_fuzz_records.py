"""A short run of `make fuzz` over stores: 72 damaged files, every verb that reads a store, no traceback."""

from tests.fuzz_records import VERBS, batch


def test_no_damaged_file_ends_a_command():
    # Drawing every figure takes many seconds: a report without a page of figures is left to `make fuzz`.
    quick = [verb for verb in VERBS if "--html" not in verb]
    count, ended = batch(0, quick)
    assert count == 72 and ended == []
