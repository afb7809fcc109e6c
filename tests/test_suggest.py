"""Which recording to annotate next: planted scenes in which the right one is obvious, and what a model sees in one."""

import csv

import numpy as np
import pytest
import tiny
import torch

from spot.errors import SpotError
from spot.suggest import (
    NO_SINGLE_REASON,
    WEIGHTS,
    Labels,
    View,
    by_uncertainty,
    labels_of,
    ranks_of,
    rarity_of,
    suggest,
)
from spot.suggest_report import save_picture, table_text, write_table
from spot.suggest_views import entropy_bits, shares_of, view_of, views_of

CLASSES = ["jump", "run", "throw"]
LABELS = Labels(np.array([4, 4, 0]), np.array([2.0, 2.0, 2.0]))
CALM = {"noise": 0, "offset": 0, "channel_dropout": 0}


def view(name, class_sec=(2, 2, 0), at=(0, 0), disagreement=0.1, uncertainty=0.5):
    """A recording of 60 s whose four snippets lie at one point of the plane."""
    return View(name, 60.0, np.array(class_sec, float), uncertainty, disagreement, np.tile(np.array(at, float), (4, 1)))


ALIKE = [view(f"alike {number}") for number in range(4)]
LABELED = [view("labeled")]


def names(suggestions):
    return [one.view.name for one in suggestions]


def test_the_one_recording_of_a_class_without_labels_goes_first():
    """The others expect one jump and one run, of which four are labeled each; this one a jump and a throw."""
    first, *_ = suggest([*ALIKE, view("rare", (2, 0, 2))], LABELED, LABELS, CLASSES, 2)
    assert (first.view.name, first.kind) == ("rare", "classes")
    assert first.reasons == ("may show throw (none labeled) and jump (4 labeled)",)
    assert first.parts["classes"] == 1


def test_how_much_a_class_adds_by_hand():
    """One expected action is there with 1 - 1/e = .632; of a class with 4 labeled ones it counts a fifth."""
    assert rarity_of(np.array([1.0, 0.0, 1.0]), np.array([4, 4, 0])) == pytest.approx([0.1264, 0, 0.6321], abs=1e-4)


def test_what_is_like_many_and_unlike_all_labeled_ones_goes_first_and_then_something_else():
    """Six recordings around (10, 0), one outlier at (0, 12), four where the labels are: the six have more snippets that
    a label would come nearer to. After one of them their place is covered, so the outlier is next."""
    group = [view(f"group {number}", at=(10, 0.1 * number)) for number in range(6)]
    found = suggest([*ALIKE, view("outlier", at=(0, 12)), *group], LABELED, LABELS, CLASSES, 2, {"coverage": 1})
    assert found[0].view.name in names_of(group) and found[1].view.name == "outlier"
    assert found[0].kind == "coverage" and "unlike all labeled recordings" in found[0].reasons[0]
    assert "nearer to 55% of the unlabeled snippets" in found[0].reasons[0]  # those of 6 of 11 recordings


def names_of(views):
    return [one.name for one in views]


def test_views_that_disagree_and_many_actions_are_reasons():
    found = suggest([*ALIKE, view("unsure", disagreement=0.4)], LABELED, LABELS, CLASSES, 1)
    assert found[0].view.name == "unsure" and found[0].kind == "views"
    assert "differ by 0.40 on average, 0.10 is usual" in found[0].reasons[0]
    found = suggest([*ALIKE, view("rich", (20, 20, 0))], LABELED, LABELS, CLASSES, 1)
    assert found[0].view.name == "rich"
    assert "long and rich: about 20 actions in 1.0 min, 2 are usual" in found[0].reasons


def test_the_first_suggestions_are_of_different_kinds():
    planted = [view("rare", (2, 2, 2)), view("unsure", disagreement=0.4), view("far", at=(9, 9)),
               view("rich", (30, 30, 0))]
    found = suggest([*ALIKE, *planted], LABELED, LABELS, CLASSES, 4)
    assert set(names(found)) == set(names_of(planted))
    assert len({one.kind for one in found}) >= 3


def test_a_main_reason_weighs_less_the_next_time():
    """Three rich recordings and one that is a little unsure: the second suggestion is not rich once more."""
    rich = [view(f"rich {number}", (30, 30, 0)) for number in range(3)]
    found = suggest([*ALIKE, *rich, view("unsure", (16, 16, 0), disagreement=0.16)], LABELED, LABELS, CLASSES, 2)
    assert (found[0].kind, found[1].view.name) == ("richness", "unsure")
    assert found[0].weights["richness"] == 1 / 4 and found[1].weights["richness"] == pytest.approx(0.5 / 3.5)


def test_a_class_that_a_suggested_recording_shows_is_rare_no_longer():
    """Once a recording with six throws is chosen, the second one has less to add than one with runs, of which one
    action is labeled."""
    one, two, other = view("one", (0, 0, 12)), view("two", (0, 0, 12)), view("other", (0, 16, 0))
    labels = Labels(np.array([4, 1, 0]), LABELS.mean_sec)
    assert names(suggest([one, two, other], LABELED, labels, CLASSES, 3, {"classes": 1})) == ["one", "other", "two"]


def test_suggestions_without_labels_or_candidates():
    assert suggest([], LABELED, LABELS, CLASSES, 3) == []
    nothing = labels_of(np.zeros((0, 2)), [], CLASSES)
    assert nothing.count.tolist() == [0, 0, 0] and nothing.mean_sec.tolist() == [1, 1, 1]
    found = suggest(ALIKE, [], nothing, CLASSES, 9)
    assert len(found) == 4  # all there are
    assert found[0].reasons == (NO_SINGLE_REASON,)  # the four are alike


def test_labels_and_ranks_by_hand():
    """Runs of 2 s and 4 s, a jump of 3 s; a throw is taken to last as long as all on average, 3 s."""
    labels = labels_of([[0, 2], [5, 8], [4, 8]], ["run", "jump", "run"], CLASSES)
    assert labels.count.tolist() == [1, 2, 0] and labels.mean_sec.tolist() == [3, 3, 3]
    assert ranks_of([5, 1, 3]).tolist() == [1, 0, 0.5] and ranks_of([2, 2]).tolist() == [0.5, 0.5]
    assert ranks_of([7]).tolist() == [1]


def test_uncertainty_order_is_by_entropy_alone():
    candidates = [view(name, uncertainty=bits) for name, bits in (("a", 1), ("b", 3), ("c", 2))]
    assert by_uncertainty(candidates, 2) == ["b", "c"]


# --- what a model sees ------------------------------------------------------------------------------------------------


def detector(**changes):
    net = tiny.model(**changes).eval()
    net.settings = {"temporal_scale": tiny.T}
    return net


def test_a_snippet_is_shared_out_by_squares():
    """.8 and .2 of actions beside .4 of background: .64, .04 and .16 of .84."""
    assert shares_of(np.array([[0.8, 0.2, 0.4]])) == pytest.approx(np.array([[0.7619, 0.0476, 0.1905]]), abs=1e-4)


def test_entropy_in_bits():
    """A coin has 1 bit, a sure class none."""
    assert entropy_bits(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])) == pytest.approx([2, 0], abs=1e-3)


def test_a_view_of_a_long_recording():
    """20 snippets in several windows of 8: the seconds of all classes are not more than there are."""
    features = np.random.default_rng(0).normal(size=(tiny.C, 20)).astype(np.float32)
    net = detector()
    calm, again = (view_of(net, "x", features, 40.0, CALM) for _ in range(2))
    assert calm.disagreement == pytest.approx(0, abs=1e-6) and calm.uncertainty == again.uncertainty
    assert calm.snippets.shape == (5, 8) and calm.class_sec.shape == (tiny.K,)
    assert (calm.class_sec > 0).all() and calm.class_sec.sum() < 40
    strong = view_of(net, "x", features, 40.0, {"noise": 1.0, "offset": 1.0, "channel_dropout": 0.5})
    assert strong.disagreement > 1e-3 and strong.uncertainty == pytest.approx(calm.uncertainty)


def test_a_short_recording_is_seen_as_the_model_detects_in_it():
    """What is seen is that of the model's own forward pass over the valid part."""
    features = np.random.default_rng(0).normal(size=(tiny.C, 5)).astype(np.float32)
    net = detector()
    padded = torch.zeros(1, tiny.C, tiny.T)
    padded[0, :, :5] = torch.from_numpy(features)
    valid = torch.arange(tiny.T)[None] < 5
    with torch.no_grad():
        probabilities = net(padded, valid)["class_logits"].sigmoid()[0, :, :5].T.numpy()
    expected = shares_of(probabilities)[:, :-1].mean(0) * 10
    assert view_of(net, "x", features, 10.0, CALM).class_sec == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("detector", ["bmn", "sliding"])
def test_a_detector_without_classes_and_masks_of_snippets_suggests_nothing(detector):
    with pytest.raises(SpotError, match=f"to suggest recordings needs .*model.detector={detector}"):
        views_of(tiny.model(detector=detector), [tiny.video("a")], None, None, CALM)


def test_views_of_videos_know_no_labels():
    """The same videos with and without their labels look the same."""
    videos = tiny.LABELED
    source = tiny.Source(tiny.features_of(videos))
    grid = tiny.GridSettings("window", tiny.T, stride=1, window=1)
    bare = [tiny.video(one.name) for one in videos]
    for one, other in zip(views_of(detector(), videos, source, grid, CALM),
                          views_of(detector(), bare, source, grid, CALM), strict=True):
        assert (one.name, one.duration_sec, one.uncertainty) == (other.name, other.duration_sec, other.uncertainty)
        assert (one.class_sec == other.class_sec).all() and (one.snippets == other.snippets).all()


@pytest.mark.parametrize("changes", [{"standardize": "recording"}, {"sensor_axes": 2}])
def test_recordings_are_prepared_as_for_detection(changes):
    """Standardized by themselves, or raw samples of 2 axes as spectral channels: the expected seconds of the classes
    are those of the model's own forward pass over the whole recording."""
    videos = tiny.LABELED[:1]
    features = tiny.features_of(videos)
    net, grid = detector(**changes), tiny.GridSettings("window", tiny.T, stride=1, window=1)
    (seen,) = views_of(net, videos, tiny.Source(features), grid, CALM)
    with torch.no_grad():
        own = net(torch.from_numpy(features["a"])[None])["class_logits"].sigmoid()[0].T.numpy()
    assert seen.class_sec == pytest.approx(shares_of(own)[:, :-1].mean(0) * 8, rel=1e-3)


# --- for people -------------------------------------------------------------------------------------------------------


def test_table_and_picture_of_a_ranking(tmp_path):
    candidates = [*ALIKE, view("rare $x$", (2, 0, 2)), view("unsure, too", disagreement=0.2)]
    found = suggest(candidates, LABELED, LABELS, CLASSES, 3)
    text = table_text(found)
    assert text.splitlines()[0].startswith("  1. rare $x$") and len(text.splitlines()) == 3
    write_table(tmp_path / "suggest.csv", found)
    with (tmp_path / "suggest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["video"] for row in rows] == names(found) and rows[0]["kind"] == "classes"
    score = np.mean([float(rows[0][kind]) for kind in WEIGHTS])
    assert score == pytest.approx(float(rows[0]["score"]), abs=1e-3)  # equal weights
    save_picture(tmp_path / "suggest.png", found, 6)
    assert (tmp_path / "suggest.png").stat().st_size > 10_000
