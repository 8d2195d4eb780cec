"""Published settings in the columns of the field's tables: `published(opt="adam", lr=1e-4, wd=1e-5, ...)`.

A column stands for a setting of `bench.settings`; `columns` turns some of them into dotted names, `published` a whole row.
`sizes` is the table of what a stand-in's generator is given.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict, Unpack, get_type_hints

Recipe = Mapping[str, Any]
"""Settings by dotted name, as `Task.recipe` has them."""


class Columns(TypedDict, total=False):
    """Columns of a table of settings, each with the setting that it stands for."""

    opt: Annotated[Literal["adam", "adamw", "sgd"], "trainer.optimizer"]
    lr: Annotated[float, "trainer.lr"]
    """Learning rate."""
    wd: Annotated[float, "trainer.weight_decay"]
    momentum: Annotated[float, "trainer.momentum"]
    """Of SGD alone."""
    batch: Annotated[int, "trainer.batch_size"]
    """Samples per forward pass."""
    accum: Annotated[int, "trainer.accumulation"]
    """Batches per optimiser step."""
    epochs: Annotated[int, "trainer.epochs"]
    warmup: Annotated[float, "trainer.warmup_epochs"]
    """Epochs in which the learning rate rises to `lr`."""
    decay: Annotated[float, "trainer.decay_epochs"]
    """Epochs after which the learning rate would be zero; training may end before."""
    clip: Annotated[float, "trainer.clip"]
    """Largest norm of the gradient; without it none is clipped."""
    seq: Annotated[int, "model.target_seq_len"]
    """Tokens that a 1D input becomes."""
    eval_batch: Annotated[int, "trainer.eval_batch_size"]
    patience: Annotated[int, "trainer.patience"]
    """Evaluations without a better validation score after which training ends; without it none ends it."""
    emb_epochs: Annotated[int, "stage1.epochs"]
    """Epochs of the embedder's own stage, in methods that have one."""
    emb_samples: Annotated[int, "stage1.max_samples"]
    """Target samples per class of one alignment step in that stage."""


SETTINGS = {name: hint.__metadata__[0] for name, hint in get_type_hints(Columns, include_extras=True).items()}
ALWAYS = ("opt", "lr", "wd", "batch", "epochs", "warmup", "decay")
"""What a published row says of every task."""
PROFILES = ("published", "quick", "tiny")
"""Profiles for which every task has sizes. `converged` has those of `quick` where a task says no others."""


def columns(**given: Unpack[Columns]) -> Recipe:
    """The columns given, as settings by dotted name. TypeError, with the nearest name, for one that does not exist."""
    for name in given:
        if name not in SETTINGS:
            near = difflib.get_close_matches(name, SETTINGS, 1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            raise TypeError(f"no column {name!r}: {meant}Columns: {', '.join(SETTINGS)}")
    return {SETTINGS[name]: value for name, value in given.items()}


def published(**row: Unpack[Columns]) -> Recipe:
    """A task's row of the published table. Where nearly all rows agree the column may be left out: evaluation on 1,000
    samples at a time, 60 epochs and 128 samples in the embedder's stage. TypeError for a row without one of `ALWAYS`."""
    missing = [name for name in ALWAYS if name not in row]
    if missing:
        raise TypeError(f"a published row without {', '.join(missing)}; every row has {', '.join(ALWAYS)}")
    return {**columns(eval_batch=1000, emb_epochs=60, emb_samples=128), **columns(**row)}


def quick(**changes: Unpack[Columns]) -> Recipe:
    """What the quick profile changes of the published row. The learning rate falls to zero within `epochs`."""
    if "epochs" in changes:
        changes.setdefault("decay", changes["epochs"])
    return columns(**changes)


def converged(**changes: Unpack[Columns]) -> Recipe:
    """What the converged profile changes of the quick one: as `quick`."""
    return quick(**changes)


def sizes(converged: Mapping[str, int] | None = None, **given: tuple[int, int, int]) -> Mapping[str, Mapping[str, int]]:
    """`Task.sizes` from the arguments of a generator, each under `published`, `quick` and `tiny`.

    `converged`: the arguments that differ from those of `quick` under the converged profile.
    """
    made = {profile: {name: of[i] for name, of in given.items()} for i, profile in enumerate(PROFILES)}
    return made if converged is None else {**made, "converged": {**made["quick"], **converged}}
