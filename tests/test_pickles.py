"""Pickles of arrays as every Python and numpy wrote them; and everything else that a pickle can be, which never runs.
"""

import collections
import functools
import io
import os
import pickle
import resource
import struct
import sys

import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st
from tiny import reads_or_refuses

from spot.feature_files import read_feature
from spot.files import SpotError
from spot.pickles import array_of, load

C = 3
SNIPPETS = np.array([[10 * t + c for c in range(C)] for t in range(5)], dtype=np.float32)  # (T', C)


def array(content):
    """The array in the bytes of a pickle."""
    return array_of(load(io.BytesIO(content)))


# --- arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("original", [
    SNIPPETS, np.asfortranarray(SNIPPETS), SNIPPETS[::2], SNIPPETS.astype("f2"), SNIPPETS.astype(">f8"),
    SNIPPETS.astype("i4"), SNIPPETS[:0]], ids=["c", "fortran", "strided", "half", "big_endian", "int", "empty"])
def test_arrays_of_every_protocol(original, protocol):
    """As numpy 2 writes them, and as numpy 1 did, which called its core otherwise (names end in line feeds up to 3)."""
    written = pickle.dumps(original, protocol)
    for content in (written, written.replace(b"numpy._core", b"numpy.core") if protocol < 4 else written):
        read = array(content)
        assert read.dtype == original.dtype and read.shape == original.shape
        np.testing.assert_array_equal(read, original)


def python2_pickle(original):
    """What Python 2 wrote with protocol 2: names and bytes of an array are its 8-bit text (opcode U, at most 255)."""
    data = original.tobytes()
    shape = b"".join(b"K" + bytes([n]) for n in original.shape) + b"\x86"
    dtype = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + shape + dtype
            + b"\x89U" + bytes([len(data)]) + data + b"tb.")


def test_arrays_of_python_2(tmp_path):
    np.testing.assert_array_equal(array(python2_pickle(SNIPPETS)), SNIPPETS)
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02}U\x05feats" + python2_pickle(SNIPPETS)[2:-1] + b"s.")
    np.testing.assert_array_equal(read_feature(tmp_path / "x.pkl", C), SNIPPETS.T)


@pytest.mark.parametrize("content", [
    SNIPPETS, {"feats": SNIPPETS, "fps": np.float64(25), "video": "x"}, {"features": SNIPPETS, "other": [1, 2]},
    {"rgb": SNIPPETS.astype(np.float16)}, {"feats": SNIPPETS.T.copy()}])
def test_a_feature_pickle_is_an_array_or_a_dict_with_one(tmp_path, content):
    (tmp_path / "x.pickle").write_bytes(pickle.dumps(content))
    np.testing.assert_array_equal(read_feature(tmp_path / "x.pickle", C), SNIPPETS.T)


@pytest.mark.parametrize(("content", "words"), [
    ([SNIPPETS], "holds a list; expected an array"), (None, "holds a NoneType; expected an array"),
    ({"rgb": SNIPPETS, "flow\n": SNIPPETS}, "it holds rgb, flow; name the features feats"),
    ({"feats": [1.0]}, "holds a list; expected an array"), ({}, "it holds nothing"),
    (np.float32(1), "holds a scalar; expected an array"), (np.array(["a"]), "has the type 'U1', not numbers"),
    (np.array([SNIPPETS, None], object), r"its array holds objects \(NoneType, arrays\), not numbers"),
    (SNIPPETS.astype(int), "int64; features are"), (SNIPPETS[:0], "there is no snippet"),
    (SNIPPETS[:, :2], "expected 3 channels"), (SNIPPETS * np.nan, "15 values are NaN"),
    (collections.OrderedDict(a=1), "it holds nothing"), (collections.Counter(a=1), "it holds collections.Counter")])
def test_a_pickle_of_something_else_is_one_sentence(tmp_path, content, words):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(SpotError, match=rf"x\.pkl: .*{words}") as error:
        read_feature(tmp_path / "x.pkl", C)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cut", [1, 20, 80, 150])
def test_a_pickle_that_is_cut_off_is_one_sentence(tmp_path, cut):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(SNIPPETS)[:cut])
    with pytest.raises(SpotError, match=r"x\.pkl: cannot be read .*complete"):
        read_feature(tmp_path / "x.pkl", C)


# --- everything else --------------------------------------------------------------------------------------------------


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text(value):
    """A short text as an opcode."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


PROOF = "code_ran"  # relative, so that the file would stand in the folder that each test runs in
HOSTILE = {
    "open": pickle.dumps(Calls(open, PROOF, "w")),
    "system": pickle.dumps(Calls(os.system, f"touch {PROOF}")),
    "eval": pickle.dumps(Calls(eval, f"open({PROOF!r}, 'w')")),
    "exec in a dict beside the features": pickle.dumps({"feats": SNIPPETS, "x": Calls(exec, f"open({PROOF!r}, 'w')")}),
    "in an array of objects": pickle.dumps(np.array([Calls(open, PROOF, "w")], object)),
    "partial": pickle.dumps(Calls(functools.partial(open, PROOF), "w")),
    "protocol 0": pickle.dumps(Calls(open, PROOF, "w"), 0),
    "inst": f"(S'{PROOF}'\nS'w'\niio\nopen\n.".encode(),
    "obj": f"(cio\nopen\nS'{PROOF}'\nS'w'\no.".encode(),
    "a dotted name": b"\x80\x04" + text("numpy") + text("ndarray.tofile") + b"\x93.",
    "a module of numpy": b"\x80\x02cnumpy\nload\n" + text(PROOF) + b"\x85R.",
    "fromfile": b"\x80\x02cnumpy\nfromfile\n" + text(PROOF) + b"\x85R.",
    "new object": b"\x80\x02cnumpy\nndarray\n" + b"K\x03\x85\x81.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"\x80\x02Px\n.",
    "out of band": b"\x80\x05\x97.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_pickle_never_runs(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(SpotError, match=r"x\.pkl: ") as error:
        read_feature(tmp_path / "x.pkl", C)
    assert "\n" not in str(error.value) and [path.name for path in tmp_path.iterdir()] == ["x.pkl"]


def test_the_hostile_pickles_would_run(tmp_path, monkeypatch):
    """Else the test above would prove nothing: Python's own reader makes the file."""
    for name in ("open", "system", "eval", "inst", "obj", "protocol 0", "in an array of objects", "partial"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        pickle.loads(HOSTILE[name])
        assert (folder / PROOF).exists(), name


def test_a_named_module_is_not_imported(tmp_path, monkeypatch):
    """Importing runs a module's code, before anything is called."""
    (tmp_path / "spot_trap.py").write_text(f"open({PROOF!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpotError, match=r"it holds spot_trap\.x, which is no array"):
        load(io.BytesIO(b"\x80\x02cspot_trap\nx\n."))
    assert "spot_trap" not in sys.modules and not (tmp_path / PROOF).exists()


STATE = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
DATA = SNIPPETS.tobytes()


def reconstructed(shape=b"K\x05K\x03\x86", code="f4", state=STATE, data=DATA):
    """A pickled array of 5 x 3 floats with one of its parts replaced."""
    dtype = b"cnumpy\ndtype\n" + text(code) + b"K\x00K\x01\x87R" + state
    return (b"\x80\x04cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text("b") + b"\x87R(K\x01"
            + shape + dtype + b"\x89B" + struct.pack("<I", len(data)) + data + b"tb.")


@pytest.mark.parametrize("changes", [
    {"shape": b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"}, {"shape": b"K\x05K\x04\x86"}, {"shape": text("x")},
    {"code": "V12"}, {"code": "O8"}, {"code": "f3"}, {"code": "f4,f4"}, {"code": "M8"}, {"data": b""},
    {"data": b"short"}, {"state": b""}, {"state": b"(K\x03" + text("!") + b"tb"}, {"state": b"Nb"}],
    ids=lambda changes: str(changes)[:40])
def test_an_array_that_claims_what_the_file_does_not_hold_is_refused(changes):
    """More numbers than bytes, objects, types with flags that numpy would follow into memory: none is built."""
    np.testing.assert_array_equal(array(reconstructed()), SNIPPETS)
    with pytest.raises((SpotError, ValueError, TypeError, AttributeError)):
        array(reconstructed(**changes))


@pytest.mark.parametrize("content", [
    b"\x80\x04Nr\xff\xff\xff\x7f.", b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    b"\x80\x04B\xff\xff\xff\x7fx.", b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
    b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.",
], ids=["memo", "bytearray", "bytes", "long bytes", "frame"])
def test_a_few_bytes_take_no_memory_for_what_they_claim(content):
    """A place in the memo, a byte array, bytes, a frame of gigabytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((SpotError, pickle.UnpicklingError, EOFError, MemoryError, ValueError)):
        array(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "in KiB"


@cases(200)
@given(st.sampled_from([pickle.dumps(SNIPPETS, protocol) for protocol in (0, 2, 5)]), st.data())
def test_damaged_pickles_read_or_are_refused(tmp_path_factory, content, data):
    at, noise = data.draw(st.integers(0, len(content))), data.draw(st.binary(max_size=4))
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(content[:at] + noise + content[at + len(noise):])
    reads_or_refuses(path, C)
