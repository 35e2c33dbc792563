"""Fuzzing of everything that reads bytes of strangers.

    python -m tests.fuzz --list
    python -m tests.fuzz csr --seconds 120

With atheris (`pip install sluis[fuzz]`, Linux) the search is guided by coverage; without it, a plain mutator runs. The
oracle of each target is the same: only the documented refusal may come out, in bounded time. The same targets are run
for a moment by hypothesis in `tests/unit/fuzz`; what was found once stands in `tests/unit/fuzz/test_found.py`.
"""
