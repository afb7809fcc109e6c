"""The command lines of tools/: what they refuse, and that the demo deletes nothing that it did not make."""

import pytest

from spot.files import SpotError, write_json
from tools import ablation, bench_eval, demo

DATA = "data/demo/annotations.json"


@pytest.fixture
def demo_folder(tmp_path, monkeypatch):
    """An empty project in which the demo trains and evaluates nothing; the commands that it gives are recorded."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "demo.yaml").write_text(
        f"dataset: {{video_anno_path: {DATA}, feature_path: data/demo/features}}\n")
    monkeypatch.chdir(tmp_path)
    given = []

    def measure(words):
        folder = words[0].removeprefix("output_path=")
        write_json(tmp_path / folder / "metrics.json",
                   {"average_mAP": 0.5, "whole_video_average_mAP": 0.1, "num_videos": 3})

    monkeypatch.setattr(demo, "write_demo",
                        lambda folder: write_json(tmp_path / DATA, {"version": "SPOT demo, seed 0", "database": {}}))
    monkeypatch.setattr(demo, "train", given.append)
    monkeypatch.setattr(demo, "infer", given.append)
    monkeypatch.setattr(demo, "evaluate", measure)
    return tmp_path, given


@pytest.mark.parametrize("words", [["training.max_epoch=1"], ["output_path=runs/x"], ["runs/x"], ["--seed", "1"]])
def test_the_demo_refuses_what_would_have_no_effect(demo_folder, words):
    folder, given = demo_folder
    with pytest.raises(SpotError, match=r"neither settings nor more files|is no flag"):
        demo.main(words)
    assert not given and not (folder / "data").exists()


def test_the_demo_makes_its_own_runs_anew_and_nobody_elses(demo_folder):
    """A training by config/demo.yaml writes runs/demo too: it is kept, and nothing else is begun."""
    folder, given = demo_folder
    demo.main([])
    (folder / "runs" / "demo" / "last.pt").touch()
    demo.main([])
    assert not (folder / "runs" / "demo" / "last.pt").exists() and len(given) == 8  # 2 runs of 2 commands, twice
    other = folder / "runs" / "demo_labels_only"
    (other / "made_by_demo.txt").rename(other / "last.pt")
    with pytest.raises(SpotError, match="runs/demo_labels_only holds a run that the demo did not make"):
        demo.main([])
    assert (other / "last.pt").is_file() and len(given) == 8


def test_the_demo_keeps_a_data_set_of_others(demo_folder):
    folder, given = demo_folder
    write_json(folder / DATA, {"version": "VERSION 1.3", "database": {}})
    with pytest.raises(SpotError, match=r"annotations\.json is not the demo's"):
        demo.main([])
    assert not given


@pytest.mark.parametrize(("words", "message"), [
    (["--jobs", "0"], "--jobs: must be a whole number from 1"), (["--seeds", "-1"], "--seeds: must be a whole number"),
    (["--labels", "0.1", "10"], "--labels: must be a share of labeled videos, above 0, at most 1, got '10'"),
    (["--labels", "many"], "got 'many'"), (["runs"], "'runs' is neither a flag nor key=value"),
    (["--rows", "nothing"], "invalid choice"), (["--job", "x"], "got 'x'"),
])
def test_the_ablation_refuses_what_is_out_of_range(words, message):
    with pytest.raises(SpotError) as error:
        ablation.main(["--data", "config/demo.yaml", *words])
    assert message in str(error.value)


@pytest.mark.parametrize(("words", "message"), [(["a.b=1"], "neither settings nor more files"),
                                                (["--predictions", "p.json"], "needs --ground-truth")])
def test_the_speed_of_evaluation_refuses_what_it_cannot_use(words, message):
    with pytest.raises(SpotError, match=message):
        bench_eval.main(words)
