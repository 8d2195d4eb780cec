"""What a record says of the checkout that made it."""

from __future__ import annotations

import subprocess

from bench import machine

said = machine.git.__wrapped__  # the answer holds for a process, and is asked anew here


def test_changed_code_makes_a_checkout_dirty_and_changed_records_do_not(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    for path in ("bench/machine.py", "methods/mona.py", "results/studies/a.json", "reports/README.md"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1")
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "bench" / "machine.py"))
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "all")
    assert said()["dirty"] is False and len(said()["commit"]) == 40
    (tmp_path / "results/studies/a.json").write_text("2")
    (tmp_path / "reports/README.md").write_text("2")
    (tmp_path / "results/studies/new.json").write_text("1")
    assert said()["dirty"] is False
    (tmp_path / "methods/mona.py").write_text("2")
    assert said()["dirty"] is True


def test_another_repository_around_the_code_is_not_ours(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    site = tmp_path / ".venv" / "bench"
    site.mkdir(parents=True)
    (site / "machine.py").write_text("1")
    monkeypatch.setattr(machine, "__file__", str(site / "machine.py"))
    assert said() == {}


def test_the_variables_of_a_hook_lead_nowhere_else(tmp_path, monkeypatch):
    here = said()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert said() == here


def test_outside_of_a_checkout_nothing_is_said(tmp_path, monkeypatch):
    (tmp_path / "bench").mkdir()
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "bench" / "machine.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert said() == {}
