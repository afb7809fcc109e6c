"""Masks -> proposals -> detections, with hand-made masks and with a model that knows the answer."""

import numpy as np
import pytest
import torch
from tiny import CLASSES, features_of, video
from tiny import model as fresh_model
from torch import nn

import spot
from spot import proposals
from spot.files import SpotError
from spot.inference import to_results
from spot.nms import soft_nms
from spot.proposals import Decoding, detections_of, join_windows, mask_runs
from spot.segments import window_starts

DECODING = {"mask_thresh": (0.5,), "top_k": 8, "nms_sigma": 0.4, "min_score": 0.05, "max_detections": 50}
SECONDS = {"grid": "window", "stride": 1, "window": 1, "fps": 1.0}  # one snippet per second


class Oracle(nn.Module):
    """A model whose features are its answer: channel k < K is 1 inside class k, the last channel numbers the instance.

    A snippet's mask row is everything in the window with the same class and instance number.
    """

    def __init__(self, length=8, classes=2, sure=0.99):
        super().__init__()
        self.here, self.classes, self.sure = nn.Parameter(torch.zeros(1)), classes, sure
        self.class_activation, self.settings = "sigmoid", {"temporal_scale": length}
        self.feat_dim = classes + 1

    def forward(self, features, valid=None):
        action, number = features[:, : self.classes], features[:, -1]
        logits = torch.cat([action, 1 - action.amax(1, keepdim=True)], 1) * 20 - 10
        same = (number[:, :, None] == number[:, None]) & (number[:, :, None] > 0)
        return {"class_logits": logits, "masks": torch.where(same, self.sure, 1 - self.sure)}


def answer(length, *segments, classes=2):
    """(C, T') features for the oracle with whole-snippet (start, end, class) segments."""
    x = np.zeros((classes + 1, length), np.float32)
    for number, (start, end, label) in enumerate(segments):
        x[label, start:end], x[-1, start:end] = 1, number + 1
    return x


def found(rows, above=0.5):
    """The sure detections as sorted (start, end, class)."""
    return sorted((round(start, 2), round(end, 2), int(label)) for start, end, label, score in rows if score > above)


# --- runs of a mask row -----------------------------------------------------------------------------------------------


def test_a_run_is_cut_where_the_mask_crosses_the_threshold():
    """Row .2 .6 1 1 .6 .2: 0.5 is crossed 3/4 of the way from center 0.5 (.2) to 1.5 (.6): at 1.25; mirrored at 4.75.
    Threshold 0.1 is never crossed: 0 .. 6."""
    masks = torch.tensor([0.2, 0.6, 1, 1, 0.6, 0.2]).expand(1, 6, 6)
    starts, ends, _ = mask_runs(masks, [0.5, 0.1])
    assert starts[0, 2].tolist() == pytest.approx([1.25, 0]) and ends[0, 2].tolist() == pytest.approx([4.75, 6])


def test_quality_is_the_expected_tiou():
    """The run of row .2 .6 1 1 .6 .2 above 0.5 holds 3.2 of 4 snippets, 0.4 are outside: 3.2 / (4 + 0.4). Snippet 0 is
    not in a run above 0.5, so it proposes nothing."""
    _, _, quality = mask_runs(torch.tensor([0.2, 0.6, 1, 1, 0.6, 0.2]).expand(1, 6, 6), [0.5])
    assert quality[0, 2].tolist() == pytest.approx([3.2 / 4.4]) and quality[0, 0] == 0
    perfect = torch.tensor([0.0, 1, 1, 0]).expand(1, 4, 4)
    assert mask_runs(perfect, [0.5])[2][0, :, 0].tolist() == [0, 1, 1, 0]


def test_a_run_never_bridges_two_instances():
    """Two instances in one row, 1..3 and 5..7: each snippet keeps the one that it is in."""
    masks = torch.tensor([0.0, 1, 1, 0, 0, 1, 1, 0]).expand(1, 8, 8)
    starts, ends, quality = mask_runs(masks, [0.5])
    for snippet, (start, end) in {1: (1, 3), 2: (1, 3), 5: (5, 7), 6: (5, 7)}.items():
        assert (starts[0, snippet, 0], ends[0, snippet, 0]) == (start, end)
        assert quality[0, snippet, 0] == 0.5  # the other instance says that this row is not sure of its own
    assert quality[0, [0, 3, 4, 7], 0].sum() == 0


def test_every_row_is_its_own():
    masks = torch.zeros(1, 4, 4)
    masks[0, 0, :2] = masks[0, 3, 1:] = 1
    starts, ends, _ = mask_runs(masks, [0.5])
    assert (starts[0, 0, 0], ends[0, 0, 0], starts[0, 3, 0], ends[0, 3, 0]) == (0, 2, 1, 4)


def test_threshold_zero_keeps_the_whole_sequence():
    """As the published thresholds do; the quality is then the mean of the row."""
    starts, ends, quality = mask_runs(torch.tensor([0.0, 1, 1, 0]).expand(1, 4, 4), [0])
    assert (starts == 0).all() and (ends == 4).all() and (quality == 0.5).all()


def plain_run(row, i, threshold, count):
    """The run of one row that holds snippet i, cell by cell: (first, last) snippets, None where i is below."""
    if i >= count or row[i] < threshold:
        return None
    first = last = i
    while first > 0 and row[first - 1] >= threshold:
        first -= 1
    while last + 1 < count and row[last + 1] >= threshold:
        last += 1
    return first, last


@pytest.mark.parametrize("seed", range(20))
def test_runs_match_a_plain_loop(seed):
    """Random rows of 7, of which 7 or 4 snippets exist; 0 and 1 among the values."""
    random = np.random.default_rng(seed)
    masks = (random.random((2, 7, 7)) * 1.4 - 0.2).clip(0, 1)
    thresholds, counts = (0.0, 0.3, 0.8), (7, 4)
    starts, ends, quality = mask_runs(torch.tensor(masks), thresholds, torch.tensor(counts))
    for b, i, r in np.ndindex(2, 7, 3):
        row, count, threshold = masks[b, i], counts[b], thresholds[r]
        run = plain_run(row, i, threshold, count)
        if run is None:
            assert quality[b, i, r] == 0
            continue
        first, last = run
        start, end = 0, count
        if first > 0:  # between the centers first - 0.5 and first + 0.5
            start = first - 0.5 + (threshold - row[first - 1]) / (row[first] - row[first - 1])
        if last + 1 < count:
            end = last + 0.5 + (row[last] - threshold) / (row[last] - row[last + 1])
        inside = row[first : last + 1].sum()
        wanted = inside / (last + 1 - first + row[:count].sum() - inside)
        assert (starts[b, i, r], ends[b, i, r], quality[b, i, r]) == pytest.approx((start, end, wanted))


# --- windows ----------------------------------------------------------------------------------------------------------


def test_a_segment_over_three_windows_becomes_whole():
    """Windows of 8 at 0, 4, 8; the instance [2, 14] fills window 1 and reaches the inner edges of windows 0 and 2:
    every snippet of it proposes [2, 14]."""
    first, starts, ends = [0, 4, 8], torch.zeros(3, 8, 1), torch.zeros(3, 8, 1)
    starts[0], ends[0] = 2, 8
    starts[1], ends[1] = 0, 8
    starts[2], ends[2] = 0, 6
    starts, ends = join_windows(starts, ends, first, 8)
    assert (starts == 2).all() and (ends == 14).all()


def test_what_no_edge_cuts_stays():
    starts, ends = torch.full((2, 8, 1), 5.0), torch.full((2, 8, 1), 7.0)
    starts[1], ends[1] = 1, 3
    starts, ends = join_windows(starts, ends, [0, 4], 8)
    assert (starts == 5).all() and (ends == 7).all()


@pytest.mark.parametrize("segment", [(0, 20), (0, 3), (17, 20), (2, 14), (5, 9), (6, 7), (7, 9), (7, 13), (3, 5),
                                     (11, 13), (1, 19), (4, 12), (7, 8), (8, 9)])
def test_windows_find_what_one_long_window_finds(segment):
    """20 snippets in windows of 8 at 0, 4, 8, 12: an oracle's detections are those of the whole video in one window,
    and nothing that an inner edge has cut is left beside them."""
    x = answer(20, (*segment, 1))
    windows = spot.detect(Oracle(8), x, 20.0, **SECONDS, **DECODING)[0]
    whole = spot.detect(Oracle(20), x, 20.0, **SECONDS, **DECODING)[0]
    assert found(whole) == [(*segment, 1)]
    assert sorted(set(found(windows))) == [(*segment, 1)]


@pytest.mark.parametrize("length", [2, 3])
@pytest.mark.parametrize("segment", [(0, 20), (0, 1), (19, 20), (2, 14), (5, 7)])
def test_the_shortest_windows_that_overlap_are_joined(length, segment):
    """Windows of 2 or 3 snippets at 0, 1, 2, ...: what many of them see in parts becomes one segment."""
    rows = spot.detect(Oracle(length), answer(20, (*segment, 1)), 20.0, **SECONDS, **DECODING)[0]
    assert sorted(set(found(rows))) == [(*segment, 1)]


def test_windows_of_one_snippet_say_what_is_in_it():
    """T = 1: no snippet lies in two windows, so none can say whether a segment goes on; each snippet stands alone."""
    rows = spot.detect(Oracle(1), answer(6, (2, 5, 1)), 6.0, **SECONDS, **DECODING)[0]
    assert found(rows) == [(2, 3, 1), (3, 4, 1), (4, 5, 1)]


@pytest.mark.parametrize("length", range(1, 9))
@pytest.mark.parametrize("num_snippets", range(1, 9))
def test_joined_runs_only_grow_and_stay_in_the_video(length, num_snippets):
    """Random runs in the windows of any length and T; also where a run is one snippet or a whole window."""
    first = window_starts(length, num_snippets)
    random = np.random.default_rng(length * 10 + num_snippets)
    ends = random.uniform(0, num_snippets, (2, len(first), num_snippets, 4)).round(1)
    starts, ends = np.sort(ends, 0)
    starts[:, :, 0], ends[:, :, 0] = 0, num_snippets
    before = torch.tensor(first)[:, None, None] + torch.tensor(np.stack([starts, ends]))[:, :]
    starts, ends = join_windows(torch.tensor(starts), torch.tensor(ends), first, num_snippets)
    assert (starts <= before[0]).all() and (ends >= before[1]).all()
    assert starts.min() >= 0 and ends.max() <= max(length, num_snippets)


def test_neighbors_of_one_class_stay_apart_across_windows():
    """[2, 7] and [7, 13] touch inside the overlap of two windows."""
    segments = [(2, 7, 0), (7, 13, 0), (15, 19, 1)]
    rows = spot.detect(Oracle(8), answer(20, *segments), 20.0, **SECONDS, **DECODING)[0]
    assert sorted(set(found(rows))) == segments


# --- detections -------------------------------------------------------------------------------------------------------


def test_an_oracle_is_right_in_seconds():
    """Two instances of two classes, each found once, at its place."""
    rows = spot.detect(Oracle(8), answer(8, (1, 4, 0), (5, 7, 1)), 8.0, **SECONDS, **DECODING)[0]
    assert found(rows) == [(1, 4, 0), (5, 7, 1)]
    assert (np.diff(rows[:, 3]) <= 0).all() and rows.dtype == np.float64


@pytest.mark.parametrize("top_k", [2, 6])
@pytest.mark.parametrize("max_detections", [4, 100])
def test_detections_match_a_plain_loop(top_k, max_detections):
    """Three videos of T = 6, K = 3: every class by itself, its best `top_k` snippets, every threshold, Soft-NMS; then
    all classes sorted."""
    generator = torch.Generator().manual_seed(0)
    outputs = {"class_logits": 2 * torch.randn(3, 4, 6, generator=generator, dtype=torch.float64) - 2,
               "masks": torch.rand(3, 6, 6, generator=generator, dtype=torch.float64),
               "valid": torch.ones(3, 6, dtype=torch.bool)}
    decoding = Decoding((0.2, 0.5), top_k, min_score=0.05, max_detections=max_detections)
    starts, ends, quality = mask_runs(outputs["masks"], decoding.mask_thresh)
    evidence = proposals.class_evidence(outputs, "sigmoid")
    found = detections_of(outputs, [0], "sigmoid", decoding)
    assert len(found) == 3 and any(len(rows) for rows in found)
    for v, rows in enumerate(found):
        wanted = []
        for label in range(3):
            snippets = evidence[v, label].argsort(descending=True)[:top_k]
            segments = torch.stack([starts[v, snippets], ends[v, snippets]], -1).reshape(-1, 2)
            scores = (evidence[v, label, snippets, None] * quality[v, snippets].sqrt()).flatten()
            kept, kept_scores = soft_nms(segments, scores, 0.4, 0.05, 100)
            wanted += [(*segment, label, score) for segment, score in zip(kept, kept_scores, strict=True)]
        wanted = sorted(wanted, key=lambda row: -row[3])[:max_detections]
        assert rows == pytest.approx(np.array(wanted))


def test_decoding_holds_no_more_windows_than_the_model(monkeypatch):
    """Five videos of 20 snippets are four windows of 8 each: with a batch size of 9, two videos at once."""
    seen = []

    def watched(outputs, *others):
        seen.append(len(outputs["masks"]))
        return detections_of(outputs, *others)

    monkeypatch.setattr(proposals, "detections_of", watched)
    spot.detect(Oracle(8), [answer(20, (2, 14, 1))] * 5, [20.0] * 5, batch_size=9, **SECONDS, **DECODING)
    assert seen == [8, 8, 4]
    spot.detect(Oracle(8), answer(20, (2, 14, 1)), 20.0, batch_size=1, **SECONDS, **DECODING)
    assert seen[3:] == [4]  # the windows of one video belong together


def test_one_video_and_a_list_give_the_same():
    """Videos of different lengths, whatever stands beside them in the list."""
    model = Oracle(8)
    videos = [answer(8, (1, 4, 0)), answer(20, (3, 15, 1)), answer(5, (0, 2, 0)), answer(8, (5, 7, 1))]
    together = spot.detect(model, videos, [8.0, 20.0, 5.0, 8.0], **SECONDS, **DECODING)
    assert len(together) == 4
    for x, rows in zip(videos, together, strict=True):
        alone = spot.detect(model, x, float(x.shape[1]), **SECONDS, **DECODING)
        assert len(alone) == 1 and alone[0] == pytest.approx(rows)
        assert rows[0, 3] > 0.5
    one_by_one = spot.detect(model, videos, [8.0, 20.0, 5.0, 8.0], batch_size=1, **SECONDS, **DECODING)
    assert all(a == pytest.approx(b) for a, b in zip(one_by_one, together, strict=True))


def test_every_video_has_its_own_frame_rate():
    """Stride and window of 10 frames: at 10 frames per second a snippet is 1 s, at 5 frames per second 2 s."""
    settings = {"grid": "window", "stride": 10, "window": 10, "fps": [10.0, 5.0], **DECODING}
    first, second = spot.detect(Oracle(8), [answer(8, (1, 4, 0))] * 2, [8.0, 16.0], **settings)
    assert found(first) == [(1, 4, 0)] and found(second) == [(2, 8, 0)]


def test_the_resize_grid_stretches_over_the_features():
    """16 feature rows on T = 8 over 80 s: rows [4, 8] are snippets [2, 4], seconds [20, 40]; where the features cover
    72 s only, snippets [2, 4] are seconds [18, 36]."""
    x = answer(16, (4, 8, 0))
    settings = {"grid": "resize", **DECODING}
    assert found(spot.detect(Oracle(8), x, 80.0, **settings)[0]) == [(20, 40, 0)]
    assert found(spot.detect(Oracle(8), x, 80.0, feature_duration_sec=72.0, **settings)[0]) == [(18, 36, 0)]


def test_detections_end_with_the_video():
    rows = spot.detect(Oracle(8), answer(8, (0, 8, 0)), 7.5, **SECONDS, **DECODING)[0]
    assert found(rows) == [(0, 7.5, 0)]


@pytest.mark.parametrize("length", [1, 5, 8])
def test_a_padded_video_ends_like_a_full_one(length):
    """An action up to the end of 1, 5 and 8 snippets (T = 8), its masks at 0.6: the last snippet reaches to the end."""
    x = answer(length, (0, length, 1))
    assert found(spot.detect(Oracle(8, sure=0.6), x, float(length), **SECONDS, **DECODING)[0]) == [(0, length, 1)]


def test_nothing_confident_gives_an_empty_array():
    rows = spot.detect(Oracle(8), answer(8), 8.0, **SECONDS, **DECODING)[0]
    assert rows.shape == (0, 4)


def test_two_classes_of_one_snippet_both_come_out():
    x = answer(8, (2, 5, 0))
    x[1] = x[0]
    assert found(spot.detect(Oracle(8), x, 8.0, **SECONDS, **DECODING)[0]) == [(2, 5, 0), (2, 5, 1)]


def test_max_detections_and_min_score_hold_per_video():
    net = fresh_model().eval()
    x = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    settings = {**SECONDS, "temporal_scale": 8, "mask_thresh": (0.1, 0.5), "top_k": 8}
    rows = spot.detect(net, x, 8.0, **settings, min_score=0, max_detections=7)[0]
    assert len(rows) == 7
    limit = rows[3, 3]
    fewer = spot.detect(net, x, 8.0, **settings, min_score=limit, max_detections=7)[0]
    assert 0 < len(fewer) <= 5 and fewer[:, 3].min() >= limit * (1 - 1e-6)


def test_settings_come_from_the_run_unless_given():
    model = Oracle(8)
    model.settings = {"temporal_scale": 8, "class_names": ["a", "b"], "fps": 1.0, **SECONDS, **DECODING}
    x = answer(8, (1, 4, 0))
    assert found(spot.detect(model, x, 8.0)[0]) == [(1, 4, 0)]
    assert found(spot.detect(model, x, 16.0, fps=0.5)[0]) == [(2, 8, 0)]


def test_an_unknown_setting_is_no_silent_one():
    with pytest.raises(SpotError, match="there is no setting 'nms_thresh'; did you mean mask_thresh"):
        spot.detect(Oracle(8), answer(8), 8.0, **SECONDS, nms_thresh=0.5)


@pytest.mark.parametrize("changes", [{"stride": 0}, {"window": 2.5}, {"grid": "square"}, {"temporal_scale": 0},
                                     {"fps": -1.0}, {"fps": [0]}, {"nms_sigma": 0}, {"top_k": 0}, {"mask_thresh": ()},
                                     {"class_power": 2**70}], ids=str)
def test_a_setting_out_of_range_is_refused(changes):
    (key, _), = changes.items()
    with pytest.raises(SpotError, match=rf"detect: {key} is .*; it must be "):
        spot.detect(Oracle(8), answer(8), 8.0, **{**SECONDS, **changes})


def test_a_mask_head_of_fixed_size_takes_no_other_number_of_snippets():
    with pytest.raises(SpotError, match="temporal_scale is 5; the model was made for 8"):
        spot.detect(fresh_model(mask_head="fixed"), answer(8, classes=5), 8.0, **SECONDS, temporal_scale=5)


def test_outputs_that_are_not_finite_are_no_empty_result():
    net = fresh_model()
    with torch.no_grad():
        net.class_head.bias[0] = torch.inf
    with pytest.raises(SpotError, match="the model's outputs are not finite"):
        spot.detect(net, answer(8, classes=5), 8.0, **SECONDS, temporal_scale=8)


def test_features_stay_as_they_were():
    net, x = fresh_model().eval(), features_of([video("a", (1, 4, "run"))])["a"]
    net.set_statistics(np.ones(6), np.full(6, 2))
    before = x.copy()
    spot.detect(net, x, 8.0, **SECONDS, **DECODING, temporal_scale=8)
    assert (x == before).all()


def test_entries_of_the_detections_file():
    assert to_results(np.array([[1, 2.5, 2, 0.75]]), CLASSES) == [
        {"label": "throw", "score": 0.75, "segment": [1.0, 2.5]}]


def test_videos_with_the_same_windows_go_through_together():
    """Two videos of 12 snippets are two windows of 8 each: together they give what each gives alone."""
    net = fresh_model()
    videos = [torch.randn(6, 12, generator=torch.Generator().manual_seed(seed)).numpy() for seed in (0, 1)]
    settings = {"grid": "window", "temporal_scale": 8, "stride": 1, "window": 1, "fps": 1.0}
    together = spot.detect(net, videos, [12.0, 12.0], **settings)
    for alone, found in zip(videos, together, strict=True):
        np.testing.assert_allclose(found, spot.detect(net, alone, 12.0, **settings)[0], atol=1e-6)


@pytest.mark.parametrize(("amp", "kind"), [("none", None), ("bf16", torch.bfloat16)])
def test_the_model_alone_may_run_in_bf16(monkeypatch, amp, kind):
    """Under bf16 its products are rounded to 8 bits; what comes after computes in float32 and finds about the same."""
    net, x = fresh_model().eval(), np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    seen = []

    def watched(outputs, *others):
        seen.append((torch.is_autocast_enabled("cpu"), outputs["masks"].dtype, outputs["class_logits"].dtype))
        return detections_of(outputs, *others)

    monkeypatch.setattr(proposals, "detections_of", watched)
    hook = net.class_head.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    settings = {**SECONDS, **DECODING, "temporal_scale": 8, "min_score": 1e-4}
    found = spot.detect(net, x, 8.0, amp=amp, **settings)[0]
    hook.remove()
    assert seen == [kind or torch.float32, (False, torch.float32, torch.float32)]
    assert found[:5, 3] == pytest.approx(spot.detect(net, x, 8.0, **settings)[0][:5, 3], rel=0.1)


def test_features_of_another_shape_are_refused():
    """(T', C) instead of (C, T'): the sentence names both."""
    with pytest.raises(spot.SpotError, match=r"shape \(12, 6\); expected \(C, T'\) with C = 6"):
        spot.detect(fresh_model(), np.zeros((12, 6)), 12.0)
