"""Feature files in every format; broken and hostile files."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import cases
from feature_samples import LENGTH, SNIPPETS, C, save, write_csv, write_h5
from hypothesis import given
from hypothesis import strategies as st
from tiny import reads_or_refuses

from spot.feature_files import READERS, read_feature
from spot.files import SpotError


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz", ".pt", ".pkl", ".h5"])
@pytest.mark.parametrize("transposed", [False, True])
def test_every_format_reads_as_channels_by_snippets(tmp_path, suffix, transposed):
    path = save(tmp_path / f"x{suffix}", SNIPPETS.T.copy() if transposed else SNIPPETS)
    features = read_feature(path, C)
    np.testing.assert_array_equal(features, SNIPPETS.T)
    assert features.dtype == np.float32 and features.flags.c_contiguous and features.flags.writeable


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_every_float_width_reads_as_float32(tmp_path, dtype):
    features = read_feature(save(tmp_path / "x.npy", SNIPPETS.astype(dtype)), C)
    np.testing.assert_array_equal(features, SNIPPETS.T)
    assert features.dtype == np.float32


def test_bfloat16_and_gradient_carrying_tensors_read(tmp_path):
    torch.save({"features": torch.from_numpy(SNIPPETS).bfloat16().requires_grad_()}, tmp_path / "x.pt")
    np.testing.assert_array_equal(read_feature(tmp_path / "x.pt", C), SNIPPETS.T)


def test_arrays_that_torch_saved_read(tmp_path):
    """torch's own safe reader knows tensors only; many features are `torch.save(array)`."""
    for content in (SNIPPETS, {"feats": SNIPPETS.astype(np.float64), "fps": 25}):
        torch.save(content, tmp_path / "x.pt")
        np.testing.assert_array_equal(read_feature(tmp_path / "x.pt", C), SNIPPETS.T)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.zeros(LENGTH, C)], "a list; expected an array"),
        ({"feats": "x"}, "a str; expected an array"),
        ({"feats": torch.zeros(LENGTH, C), "x": Path("x")}, "which is no array, and opening that can run code"),
        ({"a": torch.zeros(1), "b": torch.zeros(1)}, "a, b; name the features"),
    ],
)
def test_what_torch_saved_of_something_else_is_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(SpotError, match=rf"x\.pt: it holds .*{words}"):
        read_feature(tmp_path / "x.pt", C)


@pytest.mark.parametrize("header", [None, "f0,f1,f2", '"a","b","c"', "0,1,2"])
def test_csv_header_is_recognized(tmp_path, header):
    np.testing.assert_array_equal(read_feature(write_csv(tmp_path / "x.csv", SNIPPETS, header), C), SNIPPETS.T)


def test_a_table_of_spaces_is_read_as_numpy_writes_it(tmp_path):
    np.savetxt(tmp_path / "x.csv", SNIPPETS)
    np.testing.assert_array_equal(read_feature(tmp_path / "x.csv", C), SNIPPETS.T)
    rows = "\n".join("  ".join(f"{value:9.3f}" for value in row) for row in SNIPPETS)
    (tmp_path / "y.csv").write_text(f"{rows}\n\n")
    np.testing.assert_allclose(read_feature(tmp_path / "y.csv", C), SNIPPETS.T, atol=1e-3)


@pytest.mark.parametrize("names", [("feats", "other"), ("other", "features"), ("anything",)])
def test_the_array_of_an_archive_is_found_by_name_or_alone(tmp_path, names):
    arrays = {name: SNIPPETS if name != "other" else np.zeros((1, 1)) for name in names}
    np.savez(tmp_path / "x.npz", **arrays)
    np.testing.assert_array_equal(read_feature(tmp_path / "x.npz", C), SNIPPETS.T)
    np.testing.assert_array_equal(read_feature(write_h5(tmp_path / "x.h5", **arrays), C), SNIPPETS.T)


def test_a_square_array_is_taken_as_snippets_by_channels(tmp_path):
    np.testing.assert_array_equal(read_feature(save(tmp_path / "x.npy", SNIPPETS[:C]), C), SNIPPETS[:C].T)


NAN = SNIPPETS.copy()
NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (SNIPPETS[:, :2], r"found shape \(5, 2\), expected 3 channels.*model\.feat_dim"),
        (SNIPPETS[:0], r"\(0, 3\).*no snippet"),
        (NAN, "1 values are NaN or Inf, first in snippet 2, channel 1"),
        (SNIPPETS.astype(np.float64) * 1e40, "14 values are NaN or Inf"),
        (SNIPPETS.astype(int), "int64; features are floats"),
        (SNIPPETS.astype(complex), "complex128; features are floats"),
        (SNIPPETS.astype(str), "features are floats"),
        (SNIPPETS[0], r"shape \(3,\)"),
        (SNIPPETS[None], r"shape \(1, 5, 3\)"),
        (np.float32(1), r"shape \(\)"),
    ],
)
def test_an_array_that_is_no_feature_is_refused(tmp_path, array, words):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(SpotError, match=rf"x\.npy: .*{words}"):
        read_feature(tmp_path / "x.npy", C)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", "", "empty"),
        ("x.csv", "f0,f1,f2\n", "no snippet in it, only a header"),
        ("x.csv", "f0,f1,f2\n1,2,3\n4,5\n", "1 values are NaN"),  # cut off in the middle of a row
        ("x.csv", "1,2,3\n4,nan,6\n", "1 values are NaN"),
        ("x.csv", "f0,f1,f2\n0,1,2,3\n", r"found shape \(1, 4\)"),
        ("x.csv", "f0,f1,f2\n1,2,3\n1,2,3,4\n", "Expected 3 fields in line 3, saw 4"),
        ("x.csv", "1,2,3\n4,five,6\n", "five"),
        ("x.csv", b"\xff1,2", "not UTF-8 text"),
        ("x.npy", "not numpy", "cannot be read"),
        ("x.npy", "", "the file is empty"),
        ("x.pt", "", "the file is empty"),
        ("x.npz", "not a zip", "cannot be read"),
        ("x.pt", "not torch", "cannot be read"),
        ("x.h5", "not hdf5", "cannot be read"),
        ("x.pkl", "anything", "cannot be read"),
        ("x.mat", "anything", "suffix is none of .csv"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpotError, match=rf"{name}: .*{words}"):
        read_feature(tmp_path / name, C)


def test_missing_files_and_ambiguous_or_misnamed_archives_are_refused(tmp_path):
    with pytest.raises(SpotError, match="no such file"):
        read_feature(tmp_path / "x.npy", C)
    np.savez(tmp_path / "x.npz", rgb=SNIPPETS, flow=SNIPPETS)
    with pytest.raises(SpotError, match=r"x\.npz: it holds rgb, flow"):
        read_feature(tmp_path / "x.npz", C)
    with pytest.raises(SpotError, match="it holds nothing"):
        read_feature(write_h5(tmp_path / "x.h5"), C)
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    with pytest.raises(SpotError, match="rename it"):
        read_feature(tmp_path / "x.npy", C)


def test_a_header_that_claims_terabytes_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, C)})
    (tmp_path / "x.npy").write_bytes(header.getvalue() + bytes(64))
    with pytest.raises(SpotError, match=r"x\.npy: "):
        read_feature(tmp_path / "x.npy", C)


class Bomb:
    """Unpickling this creates a file: proof that code ran."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pt", "x.pkl", "raw_pickle.npy", "raw_pickle.pt"])
def test_a_malicious_pickle_never_runs(tmp_path, name):
    path, proof = tmp_path / name, tmp_path / "code_ran"
    bomb = np.array([Bomb(proof)], dtype=object)
    if name == "x.npy":
        np.save(path, bomb, allow_pickle=True)
    elif name == "x.npz":
        np.savez(path, feats=bomb)
    elif name == "x.pt":
        torch.save(Bomb(proof), path)
    else:
        path.write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(SpotError, match=name):
        read_feature(path, C)
    assert not proof.exists()


@pytest.fixture(scope="module")
def good_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return {
        suffix: save(folder / f"x{suffix}", SNIPPETS).read_bytes() for suffix in (".csv", ".npy", ".npz", ".pt", ".h5")
    }


@cases(300)
@given(suffix=st.sampled_from([".csv", ".npy", ".npz", ".pt", ".h5"]), data=st.data())
def test_damaged_files_read_or_are_refused(good_files, tmp_path_factory, suffix, data):
    """Cut anywhere, one stretch of bytes overwritten: a feature of the right shape or a SpotError, nothing else."""
    content = good_files[suffix]
    if data.draw(st.booleans(), "cut"):
        content = content[: data.draw(st.integers(0, len(content)), "length")]
    else:
        at, noise = data.draw(st.integers(0, len(content)), "at"), data.draw(st.binary(max_size=8), "noise")
        content = content[:at] + noise + content[at + len(noise) :]
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(content)
    reads_or_refuses(path, C)


def test_every_suffix_that_reads_is_in_the_message_of_one_that_does_not(tmp_path):
    (tmp_path / "x.txt").write_text("1 2 3")
    with pytest.raises(SpotError, match=", ".join(READERS)):
        read_feature(tmp_path / "x.txt", C)


def test_an_npy_file_under_the_name_of_an_npz_archive_is_told(tmp_path):
    np.save(tmp_path / "x.npy", SNIPPETS)
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(SpotError, match=r"x\.npz: is an \.npy file"):
        read_feature(tmp_path / "x.npz", C)


# --- CSV --------------------------------------------------------------------------------------------------------------

ROWS = np.array([[0.5, 1.5, 2.5, 3.5, 4.5, 5.5], [1, 2, 3, 4, 5, 6.25]], np.float32)
LINES = [",".join(map(str, row)) for row in ROWS.tolist()]


@pytest.mark.parametrize("header", ["", "0,1,2,3,4,5", "1,2,3,4,5,6", "0.0,1.0,2.0,3.0,4.0,5.0", "a,b,c,d,e,f",
                                    '"0","1","2","3","4","5"'])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_no_header_is_taken_for_a_snippet_and_no_snippet_for_a_header(tmp_path, header, mark, ends):
    path = tmp_path / "x.csv"
    path.write_bytes((mark + ends.join(filter(None, [header, *LINES])) + ends).encode())
    np.testing.assert_array_equal(read_feature(path, 6), ROWS.T)


@pytest.mark.parametrize("header", [",0,1,2,3,4,5", "Unnamed: 0,0,1,2,3,4,5", "frame,f0,f1,f2,f3,f4,f5",
                                    ",1.0,2.0,3.0,4.0,5.0,6.0"])
def test_the_row_numbers_that_pandas_writes_are_no_channel(tmp_path, header):
    path = tmp_path / "x.csv"
    path.write_text("\n".join([header, *(f"{i},{line}" for i, line in enumerate(LINES))]))
    np.testing.assert_array_equal(read_feature(path, 6), ROWS.T)


def test_three_columns_of_whole_numbers_may_be_features(tmp_path):
    """`0,1,2` over `1,1,0` is a snippet; over `0.5,1.5,2.5` a header. Other numbers are a snippet."""
    path = tmp_path / "x.csv"
    path.write_text("0,1,2\n1,1,0\n")
    assert read_feature(path, 3).T.tolist() == [[0, 1, 2], [1, 1, 0]]
    path.write_text("0,1,2\n0.5,1.5,2.5\n")
    assert read_feature(path, 3).T.tolist() == [[0.5, 1.5, 2.5]]
    path.write_text("3,1,2,5\n0.5,1.5,2.5,7\n")
    assert read_feature(path, 4).shape == (4, 2)


@pytest.mark.parametrize(("content", "words"), [("1,2\n3,x\n", "'x'"), ("1,x\n3,4\n", "'x'"), ("1,nan\n3,4\n", "NaN"),
                                                ("1,\n3,4\n", "NaN"), ("<html>", "a web page")])
def test_a_csv_with_a_fault_is_refused_with_it(tmp_path, content, words):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(SpotError, match=words):
        read_feature(tmp_path / "x.csv", 2)
