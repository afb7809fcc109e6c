"""Videos on both grids: what a batch holds, and which videos a step takes."""

import io

import numpy as np
import pytest
import torch
from tiny import CLASSES, LABELED, UNLABELED, C, Source, T, dataset, features_of, video

from spot.data_files import open_data, with_features
from spot.datasets import GridSettings, SnippetDataset, draw, feature_statistics
from spot.devices import choose_device, choose_precision
from spot.feature_bank import Rows, room_bytes
from spot.features import FeatureSource
from spot.files import SpotError, write_json


def counting(length):
    """(C, length) features whose snippet i holds the number i in every channel."""
    return np.tile(np.arange(length, dtype=np.float32), (C, 1))


def test_a_video_that_fits_is_one_sequence():
    """5 of 8 snippets: the rest is zeros that are not valid; the segment [1, 4] s lies on snippets 1 to 4."""
    videos = [video("a", (1, 4, "run"), duration=5.0)]
    data = dataset(videos, {"a": counting(5)})
    batch = data.batch([0])
    assert len(data) == 1 and batch["features"].shape == (1, C, T) and batch["features"].dtype == torch.float32
    assert batch["features"][0, 0].tolist() == [0, 1, 2, 3, 4, 0, 0, 0]
    assert batch["valid"][0].tolist() == [True] * 5 + [False] * 3
    assert batch["segments"][0, 0].tolist() == pytest.approx([1, 4], abs=1e-3) and batch["labels"].tolist() == [[1]]


def test_a_long_video_is_cut_into_windows_with_their_segments():
    """20 snippets: windows at 0, 4, 8, 12. The segment [6, 10] is [6, 8] of window 0, [2, 6] of window 4, [0, 2] of
    window 8, and not in window 12."""
    data = dataset([video("a", (6, 10, "throw"), duration=20.0)], {"a": counting(20)})
    batch = data.batch(np.arange(4))
    assert len(data) == 4 and data.names_of([0, 3]) == ["a", "a"]
    assert batch["features"][:, 0, 0].tolist() == [0, 4, 8, 12] and batch["valid"].all()
    assert batch["labels"].flatten().tolist() == [2, 2, 2, -1]
    assert batch["segments"][:3, 0].flatten().tolist() == pytest.approx([6, 8, 2, 6, 0, 2], abs=1e-3)


def test_every_third_row_of_files_of_stride_2_makes_snippets_6_frames_apart():
    """20 rows at 1 frame per second: rows 0, 3, ..., 18 stay, 7 snippets centered at 6 i + 2 s (window 4). The segment
    [8, 20] s begins and ends at the centers of snippets 1 and 3."""
    data = dataset([video("a", (8, 20, "run"), duration=40.0)], {"a": counting(20)}, stride=2, every=3, window=4)
    batch = data.batch([0])
    assert batch["features"][0, 0].tolist() == [0, 3, 6, 9, 12, 15, 18, 0] and data.bank.lengths.tolist() == [7]
    assert batch["segments"][0, 0].tolist() == pytest.approx([1.5, 3.5], abs=1e-3)
    assert data.sums[2] == 7 and data.sums[0][0] == 63  # statistics are of the used rows


def test_every_second_row_is_used_on_the_resize_grid_too():
    """Rows 0, 2, ..., 30 of 32 become 8 snippets: the means of two."""
    data = dataset([video("a", duration=16.0)], {"a": counting(32)}, grid="resize", every=2)
    assert data.batch([0])["features"][0, 0].tolist() == [4 * i + 1 for i in range(8)]


def test_the_resize_grid_resamples_to_t_snippets():
    """16 rows to 8 snippets, linear between centers: snippet i is the mean of rows 2 i and 2 i + 1. 16 s in 8 snippets:
    the segment [4, 8] s is [2, 4]."""
    data = dataset([video("a", (4, 8, "run"), duration=16.0)], {"a": counting(16)}, grid="resize")
    batch = data.batch([0])
    assert batch["features"][0, 0].tolist() == [2 * i + 0.5 for i in range(8)] and batch["valid"].all()
    assert batch["segments"][0, 0].tolist() == pytest.approx([2, 4], abs=1e-3)


def test_the_resize_grid_uses_the_time_that_the_features_cover():
    """The features cover 8 of 16 s: a snippet lasts 1 s, the segment [4, 7] s is [4, 7]."""
    data = dataset([video("a", (4, 7, "run"), duration=16.0, feature_duration=8.0)], {"a": counting(16)}, grid="resize")
    assert data.batch([0])["segments"][0, 0].tolist() == pytest.approx([4, 7], abs=1e-3)


def test_every_video_has_its_own_frame_rate():
    """Stride 10, window 10: at 10 fps a snippet lasts 1 s, at 20 fps half a second: [1, 2] s is [2, 4]."""
    videos = [video("a", (1, 2, "run"), duration=4.0, fps=20.0), video("b", (1, 2, "run"), fps=10.0)]
    data = dataset(videos, {name: counting(8) for name in "ab"}, stride=10, window=10)
    assert data.batch([0, 1])["segments"][:, 0].flatten().tolist() == pytest.approx([2, 4, 1, 2], abs=1e-3)
    same = dataset(videos, {name: counting(8) for name in "ab"}, stride=10, window=10, fps=10.0)
    assert same.batch([0])["segments"][0, 0].tolist() == pytest.approx([1, 2], abs=1e-3)


def test_a_grid_without_what_it_needs_is_refused_by_video():
    with pytest.raises(SpotError, match=r"video a: its frame rate is not known.*dataset\.fps"):
        dataset([video("a", fps=None)], {"a": counting(8)})
    with pytest.raises(SpotError, match=r"video a: its duration is not known.*dataset\.video_info_path"):
        dataset([video("a", duration=None)], {"a": counting(8)}, grid="resize")


def test_jitter_moves_a_window_and_its_segments_alike():
    """Window at 4 of 20; jitter 0 moves it by half a window to 0, 0.5 not at all, 0.75 by 2; it stays in the video.
    The segment [6, 7] holds feature 6 wherever the window is."""
    data = dataset([video("a", (6, 7, "run"), duration=20.0)], {"a": counting(20)})
    batch = data.batch([1, 1, 1, 3], np.array([0, 0.5, 0.75, 1.0]))
    assert batch["features"][:, 0, 0].tolist() == [0, 4, 6, 12]
    for b in range(3):
        assert batch["features"][b, 0, int(batch["segments"][b, 0, 0].round())] == 6


def test_jitter_cannot_move_a_video_that_fits():
    data = dataset([video("a", duration=5.0)], {"a": counting(5)})
    for jitter in (0.0, 1.0):
        assert torch.equal(data.batch([0], np.array([jitter]))["features"], data.batch([0])["features"])


def test_every_cache_gives_the_same_batches(tmp_path):
    """From real files, memory and disk, on both grids, with windows and padding."""
    videos = [video("a", (1, 4, "run"), duration=20.0), video("b", (0, 2, "jump"), duration=5.0),
              video("c", duration=8.0)]
    for name, x in features_of(videos).items():
        np.save(tmp_path / f"v_{name}.npy", x.T)
    source = FeatureSource(str(tmp_path), C)
    for kind in ("window", "resize"):
        grid = GridSettings(kind, T, stride=1, window=1)
        sets = [SnippetDataset(videos, source, grid, CLASSES, C, cache)
                for cache in ("memory", "disk", "auto", "device")]
        assert [data.bank.cache for data in sets] == ["memory", "disk", "memory", "memory"]
        numbers = np.arange(len(sets[0]))
        batches = [data.batch(numbers, np.linspace(0, 1, len(numbers))) for data in sets]
        for batch in batches[1:]:
            assert all(torch.equal(batch[key], batches[0][key]) for key in batch)


def test_a_batch_is_no_view_of_the_table():
    data = dataset(LABELED)
    data.batch([0])["features"].fill_(99)
    data.batch([0])["segments"].fill_(99)
    batch = data.batch([0])
    assert batch["features"].max() < 99 and batch["segments"].max() < 99


def test_dirty_segments_are_cut_dropped_and_counted():
    """[6, 99] is clipped to 8 s, [9, 12] and [3, 3] are empty."""
    data = dataset([video("a", (6, 99, "run"), (9, 12, "run"), (3, 3, "run"))], {"a": counting(8)})
    assert data.dirty == {"clipped": 1, "dropped": 2}
    assert data.batch([0])["segments"][0, 0].tolist() == pytest.approx([6, 8], abs=1e-3)


def test_an_unknown_label_is_refused_by_video():
    with pytest.raises(SpotError, match=r"video a: label 'fly' is not one of the 3 classes"):
        dataset([video("a", (1, 2, "fly"))], {"a": counting(8)})


def test_no_video_is_refused():
    with pytest.raises(SpotError, match="no video with features"):
        dataset([], {"a": counting(8)})


def test_missing_features_are_counted_and_named(capsys):
    """Seven are missing: the first five by name, and how many more; the nearest feature name as a hint."""
    videos = [video(f"clip_{i}") for i in range(8)]
    present, missing = with_features(videos, Source({"clip_3": 0, "clip_0b": 0}), "training")
    warning = capsys.readouterr().err
    assert [one.name for one in present] == ["clip_3"] and missing == [f"clip_{i}" for i in (0, 1, 2, 4, 5, 6, 7)]
    assert "7 of 8 training videos" in warning and "clip_0, clip_1, clip_2, clip_4, clip_5 and 2 more" in warning
    assert "clip_0b" in warning
    assert with_features([videos[3]], Source({"clip_3": 0}), "training")[1] == [] and capsys.readouterr().err == ""


def test_listed_missing_features_are_only_counted(capsys):
    """Two of three are in missing_files.txt; with all of them there, no name is left to tell."""
    source = Source({"clip_0": 0})
    source.listed_missing = {"v_clip_1", "clip_2", "elsewhere"}
    videos = [video(f"clip_{i}") for i in range(4)]
    assert with_features(videos, source, "training")[1] == ["clip_1", "clip_2", "clip_3"]
    warning = capsys.readouterr().err
    assert warning == "warning: 3 of 4 training videos have no features: clip_3; 2 are listed in missing_files.txt\n"
    with_features(videos[:3], source, "training")
    warning = capsys.readouterr().err
    assert warning == "warning: 2 of 3 training videos have no features; 2 are listed in missing_files.txt\n"


def test_statistics_by_hand():
    """Channel 0 holds 0..7 and 0..3: mean 34 / 12, mean square 154 / 12; channel 1 is always 5: deviation 1, not 0."""
    a, b = counting(8), counting(4)
    a[1] = b[1] = 5
    mean, deviation = feature_statistics(dataset([video("a")], {"a": a}), dataset([video("b", duration=4.0)], {"b": b}))
    assert mean[0] == pytest.approx(34 / 12) and mean[1] == 5
    assert deviation[0] == pytest.approx((154 / 12 - (34 / 12) ** 2) ** 0.5) and deviation[1] == 1
    assert mean.shape == deviation.shape == (C,) and mean.dtype == deviation.dtype == np.float32


def test_statistics_of_a_large_constant_do_not_explode():
    """1e6 + 0 in every snippet: the rounding of the squares must not pass for a deviation."""
    x = counting(8)
    x[2] = 1e6
    assert feature_statistics(dataset([video("a")], {"a": x}))[1][2] == 1


# --- which videos a step takes ----------------------------------------------------------------------------------------


def test_draw_takes_every_video_once_a_round():
    numbers = draw(7, 21, 0, seed=0)
    assert sorted(numbers) == sorted(list(range(7)) * 3)
    assert all(sorted(numbers[i : i + 7]) == list(range(7)) for i in (0, 7, 14))
    assert len({tuple(numbers[i : i + 7]) for i in (0, 7, 14)}) > 1


def test_draw_depends_on_position_and_seed_alone():
    """A resumed run goes on where it was: three steps of 4 are one of 12."""
    parts = np.concatenate([draw(7, 4, position, seed=3) for position in (0, 4, 8)])
    assert (parts == draw(7, 12, 0, seed=3)).all() and (parts != draw(7, 12, 0, seed=4)).any()
    assert len(draw(7, 0, 5, seed=3)) == 0


# --- opening ----------------------------------------------------------------------------------------------------------


def annotations(path):
    write_json(path, {"database": {one.name: {
        "duration": one.duration_sec, "subset": one.subset,
        "annotations": [{"segment": list(segment), "label": label}
                        for segment, label in zip(one.segments_sec.tolist(), one.labels, strict=True)]}
        for one in LABELED + UNLABELED}})
    return str(path)


def opened(folder, **changes):
    values = {"video_anno_path": annotations(folder / "anno.json"), "video_info_path": None, "blocked": None,
              "feature_path": str(folder), "feature_pattern": None, "feat_dim": C, "class_file": None,
              "num_classes": None}
    return open_data(**{**values, **changes})


def test_open_data_reads_videos_classes_and_features(tmp_path):
    np.save(tmp_path / "a.npy", counting(8).T)
    videos, names, source = opened(tmp_path, num_classes=3)
    assert [one.name for one in videos] == list("abcdefg") and names == CLASSES and "a" in source and "b" not in source


def test_blocked_videos_are_left_out_and_the_classes_stay(tmp_path, capsys):
    """c alone holds `throw` for sure of the labeled ones; the classes of a model must not hang on a list."""
    (tmp_path / "blocked.json").write_text('["v_c", "f", "never"]')
    np.save(tmp_path / "a.npy", counting(8).T)
    videos, names, _ = opened(tmp_path, blocked=str(tmp_path / "blocked.json"))
    assert [one.name for one in videos] == list("abdeg") and names == CLASSES
    assert "note: 2 videos are left out, because" in capsys.readouterr().err


def test_without_a_duration_a_video_ends_with_its_features():
    """Features of 8 s: [6, 99] ends there, and [9, 12] is dropped instead of landing on the last snippet."""
    data = dataset([video("a", (6, 99, "run"), (9, 12, "jump"), duration=None)], {"a": counting(8)})
    assert data.dirty == {"clipped": 1, "dropped": 1}
    batch = data.batch([0])
    assert batch["segments"][0, 0].tolist() == pytest.approx([6, 8], abs=1e-3) and batch["labels"].tolist() == [[1]]


@pytest.mark.parametrize("key", ["video_anno_path", "video_info_path", "blocked", "class_file", "feature_path"])
def test_a_missing_path_is_refused_with_its_key(tmp_path, key):
    with pytest.raises(SpotError, match=rf"dataset\.{key}: .*nowhere does not exist.*make demo"):
        opened(tmp_path, **{key: str(tmp_path / "nowhere")})
    with pytest.raises(SpotError, match=r"dataset\.feature_path: .*nowhere does not exist"):
        opened(tmp_path, feature_path=[str(tmp_path), str(tmp_path / "nowhere")])


def test_a_wrong_number_of_classes_is_refused_with_both(tmp_path):
    with pytest.raises(SpotError, match=r"num_classes is 200, but .*anno\.json has 3"):
        opened(tmp_path, num_classes=200)


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu").type == "cpu" and choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(SpotError, match=r"training\.device=abacus cannot be used"):
        choose_device("abacus")


def test_precision_is_chosen_by_what_the_processor_multiplies_fast(monkeypatch):
    """`auto` asks for either of the two bf16 units; a word that is not `auto` stays."""
    cpu = torch.device("cpu")
    for unit, expected in (("avx512_bf16", "bf16"), ("amx_bf16", "bf16"), ("avx512_f", "none")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda unit=unit: {unit: True}, raising=False)
        assert choose_precision("auto", cpu) == expected
        assert choose_precision("none", cpu) == "none" and choose_precision("bf16", cpu) == "bf16"
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # torch 2.11 on some builds
    assert choose_precision("auto", cpu) == "none"


@pytest.mark.parametrize(("room", "cache"), [({"memory": 10_000}, "memory"), ({"memory": 10}, "disk"),
                                             ({"device": 10_000, "memory": 10}, "device"),
                                             ({"device": 200, "memory": 10_000}, "memory"),
                                             ({"device": 200, "memory": 300}, "disk")])
def test_features_wait_where_there_is_room(monkeypatch, room, cache):
    """Two videos of 8 snippets x 6 channels are 384 bytes; without room for them they stay on the disk."""
    monkeypatch.setattr("spot.feature_bank.room_bytes", lambda _: room)
    videos = [video("a", (1, 4, "run")), video("b")]
    data = SnippetDataset(videos, Source(features_of(videos)), GridSettings("resize", T), CLASSES, C, "auto")
    assert data.bank.cache == cache
    assert torch.equal(data.batch([0, 1])["features"], dataset(videos).batch([0, 1])["features"])


def test_a_table_on_a_gpu_grows_in_copies(monkeypatch):
    """Videos of 3, 1, 7, 2 rows in copies of two: room for 1.02 * 4 rows / 2 videos * 4 = 9, too little for 11, so it
    grows to 1.02 * 13 / 4 * 4 = 14. What is there by then stays, and the rows that nobody filled are not shown."""
    monkeypatch.setattr("spot.feature_bank.COPIED_BYTES", 1)
    rows = Rows(torch.device("cpu"), 4)
    x = torch.arange(13.0)[:, None]
    sizes = []
    for first, last in ((0, 3), (3, 4), (4, 11), (11, 13)):
        rows.add(x[first:last])
        if last in (4, 13):
            rows._send()
            sizes.append(len(rows.on_gpu))
    assert sizes == [9, 14] and torch.equal(rows.on_gpu[: rows.filled], x)
    assert torch.equal(rows.moved(torch.device("cpu")).table(), x)


def test_a_system_that_does_not_tell_its_memory_has_some(monkeypatch):
    monkeypatch.setattr("builtins.open", lambda *_: io.StringIO("MemTotal: 1 kB\n"))
    assert room_bytes(torch.device("cpu"))["memory"] > 1 << 30
    monkeypatch.setattr("builtins.open", lambda *_: io.StringIO("MemTotal: 1 kB\nMemAvailable: 2 kB\n"))
    assert 0 < room_bytes(torch.device("cpu"))["memory"] < 2048
