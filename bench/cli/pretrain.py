"""`bench pretrain`: train the small vision backbone `swin_micro` on Fashion-MNIST and write its weights."""

from __future__ import annotations

import argparse
import time

from bench.cli.options import to_path
from bench.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench pretrain`."""
    add = parser.add_argument
    add("--output", type=to_path,
        help="file to write (default: the weights that this package ships, where they are missing)")  # fmt: skip
    add("--data-dir", type=to_path, help="folder that holds fashion-mnist/ (default: Debian's package)")
    add("--epochs", type=int, default=10, help="passes over the 60,000 images (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of weights, order and flips (default: %(default)s)")
    add("--limit", type=int, help="use only the first so many training images, for a trial")


def run(args: argparse.Namespace) -> int:
    """Train, test once on the 10,000 test images, write the file, and say what came out."""
    if args.epochs < 1 or (args.limit is not None and args.limit < 128):
        raise UsageError(f"--epochs {args.epochs}, --limit {args.limit}: expected at least 1 epoch and 128 images")
    from dataclasses import asdict

    import torch

    from bench.backbones import BACKBONES
    from bench.models.pretrain import Recipe, error, prepare, save, train
    from bench.records.store import ensure_writable
    from bench.sources import fashion_mnist

    shipped = BACKBONES["swin_micro"].shipped_weights()
    if args.output is None and shipped.exists():
        cure = f"say --output FILE to make others, or --output {shipped} to replace them"
        raise UsageError(f"the weights are here: {cure}")
    output = args.output or shipped
    ensure_writable(output.parent, "folder", "--output")
    x, y, x_test, y_test = fashion_mnist.parts(args.data_dir)
    recipe, started = Recipe(epochs=args.epochs, seed=args.seed), time.monotonic()
    x, y, norm = x[: args.limit], y[: args.limit], (fashion_mnist.MEAN, fashion_mnist.STD)
    model = train(prepare(x, *norm), torch.from_numpy(y), recipe, say=lambda line: print(line, flush=True))
    test_error = error(model, prepare(x_test, *norm), torch.from_numpy(y_test))
    limit = f" --limit {args.limit}" if args.limit is not None else ""
    facts = {
        "data": "Fashion-MNIST",
        "data_sha256": fashion_mnist.checksum(args.data_dir),
        "train_images": len(x),
        "test_error": test_error,
        "command": f"python -m bench pretrain --epochs {args.epochs} --seed {args.seed}{limit}",
        "recipe": asdict(recipe),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - started),
    }
    save(model, output, facts)
    print(f"test error {test_error:.2%} on {len(x_test)} images after {facts['seconds']} s; wrote {output}")
    return 0
