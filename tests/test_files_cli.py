"""`bench data`: status, fetch, verify and generate as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from tests.pde_helpers import TASKS, tiny


def rows(capsys, *arguments: str) -> tuple[int, list[dict]]:
    code = main(["data", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_status_tells_missing_official_generated_and_verified(tmp_path, capsys):
    where = ("--data-dir", str(tmp_path), "--tasks", "advection")
    code, (row,) = rows(capsys, "status", *where)
    assert code == 0 and (row["state"], row["bytes"]) == ("missing", 8_232_966_952)
    assert main(["data", "generate", *where, "--profile", "tiny"]) == 0
    assert "advection: generated in" in capsys.readouterr().out
    code, (official, made) = rows(capsys, "status", *where)
    assert official["state"] == "missing" and (made["state"], made["file"]) == ("generated", "generated/tiny")
    tiny("advection", tmp_path)
    assert rows(capsys, "status", *where)[1][0]["state"] == "generated", "a stand-in in the official place says so"
    main(["data", "status", *where])
    assert capsys.readouterr().out.splitlines()[0].split() == ["task", "state", "size", "file"]


def test_generate_again_does_nothing_and_another_number_has_its_own_folder(tmp_path, capsys):
    where = ("--data-dir", str(tmp_path), "--tasks", "burgers", "--profile", "tiny")
    assert rows(capsys, "generate", *where, "--dry-run")[1][0]["state"] == "would generate"
    assert not any(tmp_path.iterdir())
    assert [rows(capsys, "generate", *where)[1][0]["state"] for _ in range(2)] == ["generated", "here"]
    assert rows(capsys, "generate", *where, "--samples", "12")[1][0]["state"] == "generated"
    assert sorted(p.name for p in (tmp_path / "generated").iterdir()) == ["tiny", "tiny-12"]
    assert main(["data", "generate", *where, "--samples", "0"]) == 2


def test_fetch_dry_run_names_size_link_checksum_and_place(tmp_path, capsys):
    code, (row,) = rows(capsys, "fetch", "--data-dir", str(tmp_path), "--tasks", "advection", "--dry-run")
    file = TASKS["advection"].files[0]
    assert code == 0 and row["state"] == "would fetch" and (row["url"], row["checksum"]) == (file.url, file.checksum)
    assert all(part in row["detail"] for part in (str(tmp_path / file.path), "8.23 GB"))
    assert not any(tmp_path.iterdir())


def test_verify_says_missing_and_fails_on_a_wrong_file(tmp_path, capsys):
    where = ("--data-dir", str(tmp_path), "--tasks", "advection", "darcy_pdebench")
    code, found = rows(capsys, "verify", *where)
    assert code == 1 and {row["state"] for row in found} == {"missing"}
    assert rows(capsys, "verify", *where[:2])[0] == 0, "nobody has named a task: what is missing is no failure"
    (tmp_path / "2D_DarcyFlow_beta0.1_Train.hdf5").write_bytes(b"not it")
    code, found = rows(capsys, "verify", *where)
    assert code == 1 and [row["state"] for row in found] == ["missing", "differs"]
    assert "published is 294f9a03a4aa16b0e386469ca8b471be" in found[1]["detail"]


def test_fetch_reports_a_wrong_file_and_goes_on_with_the_next_task(tmp_path, capsys):
    (tmp_path / "2D_DarcyFlow_beta0.1_Train.hdf5").write_bytes(b"not it")
    where = ("--data-dir", str(tmp_path), "--tasks", "darcy_pdebench", "burgers", "--dry-run")
    main(["data", "verify", *where[:-1]])
    capsys.readouterr()
    code, found = rows(capsys, "fetch", *where)
    assert code == 1 and [row["state"] for row in found] == ["failed", "would fetch"]


def test_an_error_page_under_a_files_name_is_no_official_file(tmp_path, capsys):
    page = tmp_path / "challenge2017.pkl"
    page.write_bytes(b"<html>403 Forbidden</html>")
    where = ("--data-dir", str(tmp_path), "--tasks", "ecg")
    for action, code, state in (("status", 1, "differs"), ("verify", 1, "differs"), ("fetch", 1, "failed")):
        found = rows(capsys, action, *where)
        assert found[0] == code and found[1][0]["state"] == state and "a web page" in found[1][0]["detail"]


def test_unknown_names_are_refused_with_the_nearest(tmp_path, capsys):
    assert main(["data", "status", "--tasks", "advektion", "--data-dir", str(tmp_path)]) == 2
    assert "did you mean advection" in capsys.readouterr().err
    assert main(["data", "status", "--suite", "pdebensch", "--data-dir", str(tmp_path)]) == 2
    assert "did you mean pdebench" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["status", "fetch"])
def test_nothing_heavy_is_imported_for_a_look(action, tmp_path):
    code = (
        "import sys; from bench.cli import main; "
        f"main(['data', {action!r}, '--data-dir', {str(tmp_path)!r}, '--dry-run']); "
        "print([m for m in ('torch', 'h5py', 'numpy', 'requests') if m in sys.modules])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
