"""A short run of `make fuzz` over data files: one task of each format, each file read in a process of its own."""

import pytest

from tests.fuzz_files import main

QUICK = ("advection", "cifar100", "deepsea", "diffusion_reaction_1d", "mine", "psicov", "satellite")


@pytest.mark.slow
def test_no_damaged_file_ends_a_reader_otherwise_than_with_a_data_error(capsys):
    assert main(42, 0, *QUICK) == 0, capsys.readouterr()
    assert " 0 could be read" not in capsys.readouterr().out
