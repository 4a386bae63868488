"""All targets of the fuzzer by name."""

from __future__ import annotations

from tests.support import (
    fuzz_files,
    fuzz_foreign,
    fuzz_lth,
    fuzz_resumed,
    fuzz_stores,
    fuzz_texts,
)
from tests.support.fuzz_watch import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for table in (fuzz_texts, fuzz_files, fuzz_foreign, fuzz_lth, fuzz_resumed, fuzz_stores)
    for target in table.TARGETS
}
