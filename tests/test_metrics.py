"""Each metric of the NAS-Bench-360 tasks against scikit-learn or a computation by hand, and its speed at full size."""

import time
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score, roc_auc_score

from tasks.metrics import METRICS
from tasks.metrics.dense import PAD
from tasks.metrics.ranking import auroc, average_precision, group_mean


def rng():
    return np.random.default_rng(0)


def test_every_metric_says_what_it_is():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.formula and metric.source and metric.unit
        assert metric.range[0] < metric.range[1]
        wrapped = getattr(
            metric.function, "args", ()
        )  # the mean over chunks of another metric has that one's docstring
        doc = " ".join(((wrapped[0] if wrapped else getattr(metric.function, "func", metric.function)).__doc__).split())
        direction = "higher is better" if metric.higher_is_better else "lower is better"
        for part in ("(n", "Unit", "Range [", direction, "Source: "):
            assert part in doc, f"{name} does not say {part!r}"
        assert any(sign in doc for sign in ("mean", "FN", "TPR")), f"{name} has no formula"


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_and_average_precision_equal_scikit_learn(ties):
    score = rng().standard_normal(500)
    score = np.round(score, 1) if ties else score
    positive = rng().random(500) < 0.2
    assert auroc(score, positive) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)
    assert average_precision(score, positive) == pytest.approx(average_precision_score(positive, score), abs=1e-12)


def test_auroc_is_undefined_without_one_of_the_two_kinds():
    assert np.isnan(auroc(np.arange(3.0), np.ones(3)))
    assert np.isnan(auroc(np.arange(3.0), np.zeros(3)))
    assert np.isnan(average_precision(np.arange(3.0), np.zeros(3)))


def test_labels_without_positives_are_left_out_of_the_macro_mean():
    pred, target = rng().standard_normal((200, 5)), (rng().random((200, 5)) < 0.3).astype(np.float32)
    target[:, 2] = 0
    kept = [0, 1, 3, 4]
    auc = np.mean([roc_auc_score(target[:, k], pred[:, k]) for k in kept])
    ap = np.mean([average_precision_score(target[:, k], pred[:, k]) for k in kept])
    assert METRICS["one_minus_auroc"](pred, target) == pytest.approx(1 - auc)
    assert METRICS["one_minus_map"](pred, target) == pytest.approx(1 - ap)


def test_map_averages_the_logits_of_a_clip_first():
    clip = np.array([2, 0, 0, 1, 2, 2, 3])
    truth = (rng().random((4, 6)) < 0.5).astype(np.float32)
    truth[0], truth[1] = 1, 0
    pred = rng().standard_normal((7, 6))
    by_hand = np.stack([pred[clip == c].mean(0) for c in range(4)])
    expected = np.mean([average_precision_score(truth[:, k], by_hand[:, k]) for k in range(6)])
    assert METRICS["one_minus_map"](pred, truth[clip], {"clip": clip}) == pytest.approx(1 - expected)


def test_group_mean_by_hand():
    values, first = group_mean(np.array([[1.0], [2.0], [6.0]]), np.array([5, 3, 5]))
    np.testing.assert_allclose(values, [[2.0], [3.5]])
    np.testing.assert_array_equal(first, [1, 0])


def pixels(shape=(6, 1, 9, 7)):
    g = rng()
    return g.standard_normal(shape), (g.random(shape) < 0.3).astype(np.float32), g.random(shape) < 0.2


def test_pixel_metrics_equal_scikit_learn_on_the_pixels_that_count():
    pred, target, ignore = pixels()
    score, truth = pred[~ignore], target[~ignore]
    extra = {"ignore": ignore}
    assert METRICS["one_minus_auroc"](pred, target, extra) == pytest.approx(1 - roc_auc_score(truth, score))
    hard = score > 0
    expected = 1 - balanced_accuracy_score(truth, hard)
    assert METRICS["balanced_error"](pred, target, extra) == pytest.approx(expected)
    assert METRICS["balanced_error"](pred, target, extra) == pytest.approx(1 - roc_auc_score(truth, hard))
    assert METRICS["fnr"](pred, target, extra) == pytest.approx(100 * (1 - hard[truth == 1].mean()))
    raw = 100 * (1 - (pred > 0.5)[target == 1].mean())
    assert METRICS["fnr_raw_logits"](pred, target, extra) == pytest.approx(raw), "ignored pixels count"


def test_paper_balanced_error_counts_ignored_pixels_as_true_negatives():
    pred, target, ignore = pixels()
    keep = 1 - ignore
    expected = 1 - roc_auc_score((target * keep).ravel(), (pred * keep > 0).ravel())
    assert METRICS["balanced_error_paper"](pred, target, {"ignore": ignore}) == pytest.approx(expected)


def test_error_is_in_percent():
    pred = np.eye(4)[[0, 1, 2, 3, 0]]
    assert METRICS["error"](pred, np.array([0, 1, 2, 3, 1])) == pytest.approx(20.0)


@pytest.mark.parametrize("name, size", [("error_chunks_1024", 1024), ("error_chunks_1008", 1008)])
def test_chunked_error_weighs_a_short_last_chunk_fully(name, size):
    target = np.zeros(size + 10, int)
    pred = np.eye(2)[target]
    pred[size:] = [0, 1]
    assert METRICS[name](pred, target) == pytest.approx(50.0)
    assert METRICS["error"](pred, target) == pytest.approx(1000 / (size + 10))


def test_f1_of_windows_equals_scikit_learn():
    pred, target = rng().standard_normal((300, 4)), rng().integers(0, 4, 300)
    expected = 1 - f1_score(target, pred.argmax(1), average="macro", labels=range(4))
    assert METRICS["f1_error_windows"](pred, target) == pytest.approx(expected)


def test_f1_of_records_takes_a_majority_vote():
    record = np.array([7, 7, 7, 3, 3, 9, 9, 9, 9])
    decisions = np.array([1, 1, 0, 2, 2, 3, 0, 3, 0])
    target = np.array([1, 1, 1, 2, 2, 3, 3, 3, 3])
    # votes: record 3 -> 2, record 7 -> 1, record 9 -> tie of 0 and 3, of which its windows say 3 first
    votes = [Counter(decisions[record == r]).most_common(1)[0][0] for r in (3, 7, 9)]
    assert votes == [2, 1, 3]
    expected = 1 - f1_score([2, 1, 3], votes, average="macro", labels=range(4), zero_division=0)
    assert METRICS["f1_error_records"](np.eye(4)[decisions], target, {"record": record}) == pytest.approx(expected)


def test_paper_f1_averages_over_chunks_the_classes_present():
    target = np.array([0] * 500 + [1] * 500 + [2] * 4)
    decisions = target.copy()
    decisions[:100] = 1
    pred = np.eye(4)[decisions]
    order = np.random.RandomState(0).permutation(len(target))
    chunks = [f1_score(target[rows], decisions[rows], average="macro") for rows in (order[:1000], order[1000:])]
    assert METRICS["f1_error_windows_chunks_1000"](pred, target) == pytest.approx(1 - np.mean(chunks))


def test_paper_auroc_averages_over_chunks():
    g = rng()
    pred, target = g.standard_normal((1500, 3)), (g.random((1500, 3)) < 0.3).astype(np.float32)
    order = np.random.RandomState(0).permutation(len(target))
    first, last = order[:1008], order[1008:]
    target[last, 1] = 0
    a = np.mean([roc_auc_score(target[first, k], pred[first, k]) for k in range(3)])
    b = np.mean([roc_auc_score(target[last, k], pred[last, k]) for k in (0, 2)])
    assert METRICS["one_minus_auroc_chunks_1008"](pred, target) == pytest.approx(1 - (a + b) / 2)


def test_relative_l2_by_hand():
    target = np.zeros((2, 1, 1, 2))
    target[0, 0, 0], target[1, 0, 0] = [3, 4], [0, 2]
    pred = target.copy()
    pred[0, 0, 0, 0] += 5
    assert METRICS["relative_l2"](pred, target) == pytest.approx(0.5)


def maps(lengths=(40, 60), size=80):
    """Predictions and targets of proteins placed as the reader places them; far pairs 20 A, some contacts."""
    g = rng()
    target = np.full((len(lengths), 1, size, size), 100.0)
    for i, length in enumerate(lengths):
        own = 20 * np.ones((length, length))
        for p, q in ((0, 25), (3, 30), (5, 10), (length - 30, length - 1)):
            own[p, q] = own[q, p] = 4 + i + 0.01 * p
        target[i, 0, PAD : PAD + length, PAD : PAD + length] = own
    return g.uniform(2, 12, target.shape), target, np.array(lengths)


def mae8_by_loops(pred, target, lengths, published=False):
    """As the code reads: with `published`, average in place, floor, and average both triangles again."""
    scores = []
    for p, y, length in zip(pred[:, 0], target[:, 0], lengths, strict=True):
        errors = []
        for a in range(length):
            for b in range(a + 24, length):
                truth = y[PAD + a, PAD + b]
                if truth <= 8:
                    upper, lower = p[PAD + a, PAD + b], p[PAD + b, PAD + a]
                    upper = (upper + lower) / 2
                    if published:
                        upper = (max(upper, 0.01) + max(lower, 0.01)) / 2
                    errors.append(abs(truth - upper))
        if errors:
            scores.append(np.mean(errors))
    return np.mean(scores)


def test_mae8_equals_loops_over_each_proteins_own_residues():
    pred, target, lengths = maps()
    expected = mae8_by_loops(pred, target, lengths)
    assert METRICS["mae8"](pred, target, {"length": lengths}) == pytest.approx(expected)


def test_mae8_leaves_out_a_protein_without_contacts():
    pred, target, lengths = maps()
    alone = METRICS["mae8"](pred[:1], target[:1], {"length": lengths[:1]})
    target[1] = 50
    assert METRICS["mae8"](pred, target, {"length": lengths}) == pytest.approx(alone)


def test_paper_mae8_crops_to_the_first_length_and_mixes_triangles_unevenly():
    pred, target, lengths = maps()
    pred[0, 0, PAD, PAD + 25] = -3.0
    expected = mae8_by_loops(pred, target, (40, 40), published=True)
    assert METRICS["mae8_paper"](pred, target, {"length": lengths}) == pytest.approx(expected)
    assert expected != pytest.approx(METRICS["mae8"](pred, target, {"length": lengths}), rel=1e-3)
    own = mae8_by_loops(pred, target, lengths, published=True)
    assert METRICS["mae8_nb360"](pred, target, {"length": lengths}) == pytest.approx(own)


def test_published_mae8_floors_after_the_first_average():
    target = np.full((1, 1, 40, 40), 20.0)
    target[0, 0, PAD, PAD + 25] = 4.0
    pred = np.full(target.shape, 5.0)
    pred[0, 0, PAD, PAD + 25], pred[0, 0, PAD + 25, PAD] = -6.0, 2.0
    # in place: (-6 + 2) / 2 = -2, floored 0.01; again: (0.01 + 2) / 2 = 1.005. Floored first it would be 1.5025.
    for name in ("mae8_paper", "mae8_nb360"):
        assert METRICS[name](pred, target, {"length": np.array([30])}) == pytest.approx(4 - 1.005)


def test_a_nan_prediction_is_never_skipped():
    pred, target = np.full((5, 4), np.nan), np.zeros(5, int)
    for name in ("error", "f1_error_windows", "f1_error_windows_chunks_1000"):
        assert np.isnan(METRICS[name](pred, target))
    assert np.isnan(METRICS["f1_error_records"](pred, target, {"record": target}))
    labels = np.eye(4)[[0, 1, 2, 3, 0]]
    for name in ("one_minus_map", "one_minus_auroc"):
        assert np.isnan(METRICS[name](pred, labels))
    image, truth, ignore = pixels()
    image[0, 0, 0, 0] = np.nan
    for name in ("one_minus_auroc", "fnr", "balanced_error", "balanced_error_paper"):
        assert np.isnan(METRICS[name](image, truth, {"ignore": np.zeros_like(ignore)}))
    p, y, lengths = maps()
    p[0, 0, 50, 50] = np.nan
    for name in ("mae8", "mae8_paper", "mae8_nb360"):
        assert np.isnan(METRICS[name](p, y, {"length": lengths}))
    assert np.isnan(METRICS["relative_l2"](p, y))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one_minus_auroc", "one_minus_map", "mae8"])
def test_full_size_takes_seconds(name):
    g = rng()
    if name == "one_minus_auroc":
        args = (g.random((149_400, 36), np.float32), g.random((149_400, 36)) < 0.05)
    elif name == "one_minus_map":
        args = (g.random((10_231 * 4, 200), np.float32), np.repeat(g.random((10_231, 200)) < 0.02, 4, axis=0))
        args = (*args, {"clip": np.repeat(np.arange(10_231), 4)})
    else:
        target = np.broadcast_to(g.uniform(3, 30, (1, 1, 512, 512)).astype(np.float32), (150, 1, 512, 512))
        args = (target, target, {"length": np.full(150, 400)})
    start = time.process_time()
    assert np.isfinite(METRICS[name](*args))
    assert time.process_time() - start < 15
