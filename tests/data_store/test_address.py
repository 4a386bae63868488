"""Addresses: the grammar, the sentence for each error, and names that cannot leave a store."""

import string
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from landscape.data_store import layout
from landscape.data_store.address import (
    PARTS,
    Address,
    check_run_name,
    is_file_address,
    parse_address,
)
from landscape.data_store.errors import UsageError

FILES = (".h5", ".pt", ".pth", ".safetensors")
DEVICES = (
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{i}" for port in ("com", "lpt") for i in range(10)),
)
LETTERS = string.ascii_lowercase + string.digits
NAMES = st.builds(
    lambda first, rest: first + rest,
    st.sampled_from(LETTERS),
    st.text(alphabet=LETTERS + "._-", max_size=63),
).filter(lambda name: not name.endswith((*FILES, ".")) and name.partition(".")[0] not in DEVICES)
LEVELS = st.one_of(st.sampled_from(["first", "last"]), st.integers(0, 9999))
STEPS = st.integers(0, 10**12 - 1).map("step-{}".format)
ADDRESSES = st.one_of(
    st.builds(Address, NAMES),
    st.builds(Address, NAMES, LEVELS, st.one_of(st.sampled_from(PARTS), STEPS)),
)


@pytest.mark.parametrize(
    ("text", "run", "level", "part"),
    [
        ("imp", "imp", None, "final"),
        ("imp@3", "imp", 3, "final"),
        ("imp@3.final", "imp", 3, "final"),
        ("imp@0003", "imp", 3, "final"),
        ("imp@first", "imp", "first", "final"),
        ("imp@last.init", "imp", "last", "init"),
        ("imp@0.rewind", "imp", 0, "rewind"),
        ("imp@1.baseline", "imp", 1, "baseline"),
        ("imp@9999.ticket", "imp", 9999, "ticket"),
        ("imp@2.mask", "imp", 2, "mask"),
        ("imp@2.step-500", "imp", 2, "step-500"),
        ("0.a_b-c.d@12.step-0", "0.a_b-c.d", 12, "step-0"),
    ],
)
def test_the_grammar(text, run, level, part):
    assert parse_address(text) == Address(run, level, part)


@given(ADDRESSES)
def test_an_address_is_read_back_from_its_text(address):
    assert parse_address(str(address)) == address
    assert str(parse_address(str(address))) == str(address)


@given(st.text(alphabet="imp.h5@0123final-step", max_size=20))
def test_what_is_accepted_has_one_canonical_text(text):
    try:
        address = parse_address(text)
    except UsageError:
        return
    assert parse_address(str(address)) == address
    assert address.level is None or 0 <= address.level <= 9999


NO_NAME = (
    r"^{} is no name for a run; use 1 to 64 of a-z, 0-9, '\.', '_' and '-', beginning with a "
    r"letter or digit, not ending in '\.' or \.h5, \.pt, \.pth, \.safetensors, and no device as "
    r"con or nul$"
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "''"),
        (".", r"'\.'"),
        ("..", r"'\.\.'"),
        ("../x", r"'\.\./x'"),
        ("a/b", "'a/b'"),
        ("/etc", "'/etc'"),
        ("a\\b", r"'a\\\\b'"),
        ("a\0b", r"'a\\x00b'"),
        ("a\n", r"'a\\n'"),
        ("c:", "'c:'"),
        ("~", "'~'"),
        ("a b", "'a b'"),
        ("a@b", "'a@b'"),
        ("A", "'A'"),
        ("é", "'é'"),
        ("٣", "'٣'"),
        ("-x", "'-x'"),
        ("_x", "'_x'"),
        (".x", r"'\.x'"),
        ("x" * 65, "'x{65}'"),
        ("x.h5", r"'x\.h5'"),
        ("x.safetensors", r"'x\.safetensors'"),
        ("x.", r"'x\.'"),
        ("con", "'con'"),
        ("nul.1", r"'nul\.1'"),
        ("com1.x.y", r"'com1\.x\.y'"),
    ],
)
def test_a_wrong_name_is_refused(name, shown):
    with pytest.raises(UsageError, match=NO_NAME.format(shown)):
        check_run_name(name)


@pytest.mark.parametrize(
    "name", ["a", "0", "x" * 64, "a..b", "a.h5x", "a--", "cone", "nul-1", "com"]
)
def test_a_right_name_is_returned(name):
    assert check_run_name(name) == name


@given(st.text(alphabet="a0.-_/\\\0:~@ \n\r%$*A", max_size=8))
@example("a/../../b")
@example("a\0")
def test_no_accepted_name_leaves_the_store(name):
    try:
        check_run_name(name)
    except UsageError:
        return
    root = Path("/store")
    folder = layout.run_folder(root, name)
    assert folder.resolve() == folder
    assert folder.parent == layout.runs(root)
    assert folder.name == name
    assert not set(name) & set("/\\\0:@ \n\r")
    assert not name.startswith((".", "-"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imp@", r"^'' in 'imp@' is no level; use a number, 'first' or 'last', as in imp@3$"),
        ("imp@x", r"^'x' in 'imp@x' is no level; use a number, 'first' or 'last', as in imp@3$"),
        ("imp@-1", r"^'-1' in 'imp@-1' is no level"),
        ("imp@10000", r"^'10000' in 'imp@10000' is no level"),
        ("imp@٣", r"^'٣' in 'imp@٣' is no level"),
        ("imp@1\n", r"^'1\\n' in 'imp@1\\n' is no level"),
        ("imp@1@2", r"^'1@2' in 'imp@1@2' is no level"),
        ("imp@.final", r"^'' in 'imp@\.final' is no level"),
        (
            "imp@3.finl",
            r"^'finl' in 'imp@3\.finl' is no part of a level; "
            r"use final, init, rewind, baseline, ticket, mask, planted, target or step-K$",
        ),
        ("imp@3.", r"^'' in 'imp@3\.' is no part of a level"),
        ("imp@3.step-", r"^'step-' in 'imp@3\.step-' is no part of a level"),
        ("imp@3.step-x", r"^'step-x' in .* is no part of a level"),
        ("imp@3.step-٣", r"^'step-٣' in .* is no part of a level"),
        ("imp@3.step-1234567890123", r"^'step-1234567890123' in .* is no part of a level"),
        ("imp@3.mask.x", r"^'mask\.x' in .* is no part of a level"),
        ("@3", r"^'' is no name for a run"),
        ("../imp@3", r"^'\.\./imp' is no name for a run"),
    ],
)
def test_a_wrong_address_says_what_would_be_right(text, message):
    with pytest.raises(UsageError, match=message):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("a.h5", True),
        ("dir/a.PT", True),
        ("a.pth", True),
        ("a.safetensors", True),
        ("imp", False),
        ("imp@3", False),
        ("imp@3.step-40", False),
        ("a.npz", False),
    ],
)
def test_files_are_told_by_their_suffix(text, is_file):
    assert is_file_address(text) == is_file


@given(ADDRESSES)
def test_no_address_is_taken_for_a_file(address):
    assert not is_file_address(str(address))
