"""What `make test` prints of the figures that its suites counted."""

from tests.run import shown


def test_figures_stand_on_a_line_and_tables_have_a_row_for_each_section_and_their_sum() -> None:
    counts = {
        "PKITS | 4.10 policy mappings | passed": 21,
        "PKITS | 4.10 policy mappings | cases": 23,
        "PKITS | 4.10 policy mappings | stricter on purpose": 2,
        "PKITS | 4.01 signature verification | cases": 6,
        "PKITS | 4.01 signature verification | passed": 6,
        "DNSSEC scenarios compared with unbound": 447,
        "interleavings, on sqlite": 40,
    }
    assert shown(counts) == [
        "     447  DNSSEC scenarios compared with unbound",
        "      40  interleavings, on sqlite",
        "",
        "PKITS                       | cases | passed | stricter on purpose",
        "4.01 signature verification |     6 |      6 |                   0",
        "4.10 policy mappings        |    23 |     21 |                   2",
        "all                         |    29 |     27 |                   2",
    ]


def test_nothing_counted_is_nothing_shown() -> None:
    assert shown({}) == []
