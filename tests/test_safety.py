"""Files from strangers run no code, and no name in them leads out of the folders that the user gave."""

import pickle
import shutil

import h5py
import numpy as np
import pytest
import torch
from test_checkpoint import ARCHITECTURE
from test_scripts import data, refused, run_folder, settings

import eval as evaluation_script
import spot_inference
import spot_train
from spot import checkpoint
from spot.annotations import read_annotations
from spot.checkpoint import load_model
from spot.detectors import build_model
from spot.feature_files import read_feature
from spot.files import SpotError, read_json, write_json

__all__ = ["data", "run_folder"]  # fixtures
OUTSIDE = ["../../x", "/tmp/x", "a/../../x", "..\\..\\x", "C:\\x", "..", "a\0b", ""]


class Bomb:
    """Unpickling this creates a file: proof that code ran."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def proof(tmp_path):
    """Where a bomb leaves its file; the test fails if one did."""
    path = tmp_path / "code_ran"
    yield path
    assert not path.exists()


def bomb_of(path, proof):
    """A file that runs code in whoever unpickles it, in the layout that its suffix promises."""
    bomb = Bomb(proof)
    array = np.array([bomb], dtype=object)
    if path.suffix == ".npy":
        np.save(path, array, allow_pickle=True)
    elif path.suffix == ".npz":
        np.savez(path, feats=array, videos=array, classes=array, scores=array)
    elif path.name.startswith("raw"):
        path.write_bytes(pickle.dumps(bomb))
    else:
        torch.save({"format": "spot-1", "state_dict": bomb, "feats": bomb}, path)
    return path


def everything_below(folder):
    """All files below a folder and what is in them."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- no file runs code ------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pt", "raw.npy", "raw.pt", "raw.pkl"])
def test_a_malicious_feature_file_stops_every_script(data, run_folder, tmp_path, proof, capsys, name):
    """Training, --check, --pack, inference on a data set, and on one's own videos."""
    folder = shutil.copytree(data, tmp_path / "data")
    (folder / "features" / "v_demo_0008.npy").unlink()
    bomb = bomb_of(folder / "features" / name, proof)
    bomb = bomb.rename(bomb.with_name(f"v_demo_0008{bomb.suffix}"))
    everything = settings(folder, tmp_path / "run", "dataset.train_subset=validation", "dataset.labeled=1")
    for main, arguments in ((spot_train.main, everything),
                            (spot_train.main, [*everything, "--pack", f"{tmp_path}/x.h5"]),
                            (spot_inference.main, [f"checkpoint={run_folder}", f"output_path={tmp_path}",
                                                   f"dataset.feature_path={folder}/features"]),
                            (spot_inference.main, [f"checkpoint={run_folder}", f"output_path={tmp_path}",
                                                   f"features={bomb}", "fps=25"])):
        assert bomb.name in refused(capsys, main, *arguments)
    assert "listed above, would stop training" in refused(capsys, spot_train.main, *everything, "--check")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["x.pt", "raw.pt"])
def test_a_malicious_checkpoint_is_refused_wherever_one_is_read(data, run_folder, tmp_path, proof, capsys, name):
    """To detect with, as a run folder, to begin from, and to resume."""
    bomb = bomb_of(tmp_path / name, proof)
    folder = shutil.copytree(run_folder, tmp_path / "run")
    for checkpoint_name in ("best.pt", "last.pt"):
        shutil.copy(bomb, folder / checkpoint_name)
    for main, arguments in (
            (spot_inference.main, ["--config", f"{folder}/config.yaml", f"checkpoint={bomb}"]),
            (spot_inference.main, [f"checkpoint={folder}"]),
            (spot_train.main, settings(data, tmp_path / "new", f"training.pretrained={bomb}")),
            (spot_train.main, settings(data, folder, "training.resume=auto"))):
        assert "would run code" in refused(capsys, main, *arguments)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "raw.npy", "raw.npz", "raw.pkl"])
def test_malicious_class_scores_are_refused(run_folder, tmp_path, proof, capsys, name):
    bomb = bomb_of(tmp_path / name, proof)
    assert name in refused(capsys, spot_inference.main, f"checkpoint={run_folder}", f"output_path={tmp_path}/out",
                           f"testing.class_scores={bomb}")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch PROOF']", "!!python/name:os.system",
                                 "!!python/object/new:type [x]"])
def test_a_settings_file_runs_nothing(tmp_path, proof, capsys, tag):
    """Also that of a run folder from somewhere else."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(f"output_path: {tag.replace('PROOF', str(proof))}\n")
    assert "config.yaml" in refused(capsys, spot_inference.main, f"checkpoint={run}")
    assert "config.yaml" in refused(capsys, spot_train.main, "--config", f"{run}/config.yaml")


# --- no file takes memory for what it only claims ---------------------------------------------------------------------


def test_a_feature_file_that_claims_terabytes_takes_no_memory(tmp_path):
    """One number that is shown 6 x 10^12 times, and a dataset that was never written; a compressed one is fine."""
    torch.save(torch.zeros(1).expand(10**12, 6), tmp_path / "x.pt")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("feats", (10**12, 6), np.float32, chunks=(1000, 6))
    for name in ("x.pt", "x.h5"):
        with pytest.raises(SpotError, match=rf"{name}: it claims 24,000,000,000,000 bytes"):
            read_feature(tmp_path / name, 6)
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_dataset("feats", data=np.ones((100_000, 6), np.float32), chunks=(1000, 6), compression="gzip")
    assert read_feature(tmp_path / "y.h5", 6).shape == (6, 100_000)


def test_a_checkpoint_that_claims_a_giant_takes_no_memory(tmp_path):
    """A model of 40,000 channels whose weights are one number each, in a file of a few kB."""
    sizes = {**ARCHITECTURE, "embed_dim": 40_000}
    with torch.device("meta"):
        state = build_model(**sizes).state_dict()
    state = {key: torch.zeros(1).expand(value.shape) for key, value in state.items()}
    checkpoint.save(tmp_path / "x.pt", {"format": checkpoint.FORMAT, "architecture": sizes, "settings": {},
                                        "state_dict": state})
    assert (tmp_path / "x.pt").stat().st_size < 100_000
    with pytest.raises(SpotError, match=r"x\.pt: its weights do not fit together .* numbers and holds fewer"):
        load_model(tmp_path / "x.pt")


# --- no name leads out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_video_id_that_leads_out_of_a_folder_is_refused(data, tmp_path, capsys, name):
    content = read_json(data / "annotations.json")
    content["database"][name] = next(iter(content["database"].values()))
    with pytest.raises(SpotError, match="not a plain name"):
        read_annotations(content)
    write_json(tmp_path / "a.json", content)
    message = refused(capsys, spot_train.main, *settings(data, tmp_path / "run"),
                      f"dataset.video_anno_path={tmp_path}/a.json")
    assert "not a plain name" in message and not (tmp_path / "run").exists()


def test_ids_of_detections_and_labels_write_nothing_outside(data, tmp_path, capsys):
    """Video ids of a stranger's detections and class names of annotations are only ever text: a report with pictures,
    of classes and videos that are called like paths, changes nothing beside it."""
    inner = tmp_path / "a" / "b"
    segment = {"segment": [1.0, 4.0], "label": "../../escaped"}
    write_json(inner / "gt.json", {"database": {"x": {"subset": "validation", "duration": 9.0,
                                                      "annotations": [segment]}}})
    entries = [{**segment, "score": 0.5}]
    write_json(inner / "d.json", {"results": {"x": entries, **dict.fromkeys(OUTSIDE, entries)}})
    before = everything_below(tmp_path)
    evaluation_script.main(["--ground-truth", f"{inner}/gt.json", "--predictions", f"{inner}/d.json", "--report",
                            f"{inner}/report", "--pr-class", "../../escaped"])
    after = everything_below(tmp_path)
    new = set(after) - set(before)
    assert new and all(path.parent == inner / "report" for path in new)
    assert all(after[path] == before[path] for path in before)
    assert "../../escaped" not in {path.name for path in new} and "<script" not in str(new)


@pytest.mark.parametrize("name", ["..", "a\\..\\..\\x", "C:x", "a\x1b[2Jb"])
def test_names_in_an_hdf5_file_write_nothing_outside(run_folder, tmp_path, capsys, name):
    """`features=FILE.h5` takes its videos' names from the file, and pictures are called by them."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file[name.encode()] = np.zeros((16, 6), np.float32)
    before = everything_below(tmp_path)
    message = refused(capsys, spot_inference.main, f"checkpoint={run_folder}", f"features={tmp_path}/f.h5", "fps=25",
                      f"output_path={tmp_path}/out", "--plot")
    assert "not a plain name" in message and everything_below(tmp_path) == before


def test_a_line_end_in_the_name_of_a_video_is_a_space_everywhere(run_folder, tmp_path, capsys):
    """Such a name is spelled as every other one: its picture, too, is called by a plain name of one line."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["a\nb"] = np.zeros((16, 6), np.float32)
    before = everything_below(tmp_path)
    spot_inference.main([f"checkpoint={run_folder}", f"features={tmp_path}/f.h5", "fps=25",
                         f"output_path={tmp_path}/out", "--plot"])
    new = set(everything_below(tmp_path)) - set(before)
    assert {path.relative_to(tmp_path).parts[:2] for path in new} == {("out", "own")}
    assert tmp_path / "out/own/timelines/a b.png" in new and not any("\n" in str(path) for path in new)
    assert list(read_json(tmp_path / "out/own/detections.json")["results"]) == ["a b"]


def test_a_link_in_an_hdf5_file_reads_nothing_outside(run_folder, tmp_path, capsys):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["s"] = np.zeros((16, 6), np.float32)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["a"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/s")
    assert "another file" in refused(capsys, spot_inference.main, f"checkpoint={run_folder}", "fps=25",
                                     f"features={tmp_path}/f.h5", f"output_path={tmp_path}/out")


def test_a_labeled_file_with_paths_is_refused(data, tmp_path, capsys):
    (tmp_path / "labeled.txt").write_text("../../etc/passwd\n")
    message = refused(capsys, spot_train.main, *settings(data, tmp_path / "run",
                                                         f"dataset.labeled={tmp_path}/labeled.txt"))
    assert "not in the training subset" in message


def test_a_checkpoint_with_settings_of_another_kind_is_refused(run_folder, tmp_path, capsys):
    """A file whose settings are no dict, or name no classes in a list: no traceback in inference."""
    content = checkpoint.read(run_folder / "best.pt")
    for changes in ({"settings": 3}, {"settings": {**content["settings"], "class_names": 3}},
                    {"settings": {**content["settings"], "class_names": []}}):
        checkpoint.save(tmp_path / "x.pt", {**content, **changes})
        refused(capsys, spot_inference.main, "--config", f"{run_folder}/config.yaml", f"checkpoint={tmp_path}/x.pt",
                f"output_path={tmp_path}/out")
