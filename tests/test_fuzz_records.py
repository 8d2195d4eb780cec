"""A short run of `make fuzz` over stores: 36 damaged files, every verb that reads a store, no traceback."""

from tests.fuzz_records import batch


def test_no_damaged_file_ends_a_command():
    count, ended = batch(seed=0)
    assert count == 36 and ended == []
