"""Settings: names, types, layers, identity."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import settings
from bench.errors import UsageError
from methods.contract import Method, option


@dataclass(frozen=True)
class Sample(Method):
    name = "sample"
    title = "Sample"
    citation = "none"
    presets = {"hot": {"alpha": 9.0}}
    alpha: float = option(1.0, "a number")
    on: bool = option(False, "a switch")


def test_later_layers_win_and_text_is_converted_by_the_declared_type():
    resolved = settings.resolve(Sample, {"trainer.lr": 1e-4}, {"trainer.lr": "3e-4", "trainer.decay_epochs": "none"})
    assert resolved.trainer.lr == 3e-4 and resolved.trainer.decay_epochs is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("trainer.lr", "fast", "trainer.lr='fast': expected a finite number"),
        ("trainer.lr", "nan", "trainer.lr='nan': expected a finite number"),
        ("trainer.lr", "-1", "trainer.lr=-1.0: expected a value in [0, inf)"),
        ("trainer.epochs", "2.5", "trainer.epochs='2.5': expected a whole number"),
        ("trainer.beta1", "1", "trainer.beta1=1.0: expected a value in [0, 1)"),
        ("trainer.clip", "0", "trainer.clip=0.0: expected a value in (0, inf)"),
        ("trainer.batch_size", "0", "trainer.batch_size=0: expected a value in [1, inf)"),
        ("data.limit", "-3", "data.limit=-3: expected a value in [1, inf)"),
        ("trainer.device", "gpu", "trainer.device=gpu: expected auto|cpu|cuda"),
        ("source.name", "digit", "did you mean digits"),
        ("trainer.optimizer", "adamm", "did you mean adam"),
        ("trainer.epoch", "1", "did you mean epochs"),
        ("trainr.lr", "1", "did you mean trainer.lr"),
        ("method.alhpa", "1", "did you mean alpha"),
        ("method.on", "maybe", "expected true or false"),
        ("method.preset", "hott", "did you mean hot"),
    ],
)
def test_bad_settings_say_what_was_given_and_what_is_near(name, value, said):
    with pytest.raises(UsageError, match=None) as error:
        settings.resolve(Sample, {name: value})
    assert said in str(error.value)


def test_a_preset_sets_several_options_and_single_ones_win_over_it():
    assert settings.resolve(Sample, {"method.preset": "hot"}).method.alpha == 9.0
    assert settings.resolve(Sample, {"method.preset": "hot", "method.alpha": 2}).method.alpha == 2.0


def test_every_setting_has_a_role_and_a_meaning():
    from dataclasses import fields

    for section, cls in settings.SECTIONS.items():
        for f in fields(cls):
            assert f.metadata["role"] in ("identity", "runtime"), f"{section}.{f.name}"
            assert len(f.metadata["help"]) > 10, f"{section}.{f.name}"


@given(st.floats(1e-8, 10), st.integers(1, 10**6), st.booleans())
def test_flatten_and_resolve_are_inverse(lr, epochs, track):
    given_ = {"trainer.lr": lr, "trainer.epochs": epochs, "trainer.track_test": track}
    once = settings.resolve(Sample, given_)
    again = settings.resolve(Sample, settings.flatten(once))
    assert again == once


def test_every_default_is_allowed_and_every_source_can_be_named():
    from typing import get_args, get_type_hints

    from bench.sources.load import SOURCES

    settings.resolve(Sample, settings.flatten(settings.resolve(Sample)))
    assert set(get_args(get_type_hints(settings.SourceSettings)["name"])) == {"auto", *SOURCES}
