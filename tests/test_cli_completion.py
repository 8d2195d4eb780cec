"""Tab completion: the scripts of all shells know verbs, options and names, and bash completes by its own."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from bench.cli import VERBS, main
from bench.cli.completion import SHELLS

TAB = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p bench | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Shell -> the file with its script, as the command prints it."""
    folder, out = tmp_path_factory.mktemp("completion"), {}
    for shell in SHELLS:
        with pytest.MonkeyPatch.context() as patch, (folder / shell).open("w") as file:
            patch.setattr("sys.stdout", file)
            assert main(["completion", shell]) == 0
        out[shell] = folder / shell
    return out


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_verbs_options_and_names_and_the_shell_reads_it(scripts, shell):
    text = scripts[shell].read_text()
    assert all(word in text for word in (*VERBS, "embedder_warmup", "diffusion_sorption", "mona-ablation"))
    if shutil.which(shell):
        read = subprocess.run([shell, "-n", scripts[shell]], capture_output=True, text=True, check=False)
        assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("bench ru", ["run"]),
        ("bench run --exec", ["--executor"]),
        ("bench run --executor sl", ["slurm"]),
        ("bench run --methods mo", ["mona"]),
        ("bench run --methods mona or", ["orca"]),
        ("bench report --study mona-ab", ["mona-ablation"]),
        ("bench describe roberta", ["roberta_base"]),
        ("bench list stu", ["studies"]),
    ],
)
def test_bash_completes(scripts, words, completed):
    asked = TAB.format(script=scripts["bash"], words=words)
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == completed


def test_an_unknown_shell_is_named(capsys):
    assert main(["completion", "nushell"]) == 2
    assert "unknown shell 'nushell': known: bash, fish, zsh" in capsys.readouterr().err
