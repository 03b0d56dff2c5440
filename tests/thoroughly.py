"""Which cases of a test are for thorough runs alone."""

import pytest


def mostly_thorough(cases, plain=1):
    """Parameters of a test: a plain run takes the first ones, a thorough run the others.

    Parameters
    ----------
    cases : iterable
        Values of one parameter, or tuples of those of several.
    plain : int or callable
        How many a plain run takes, or whether it takes a case.
    """
    takes = plain if callable(plain) else None
    return [
        case
        if (takes(case) if takes else i < plain)
        else pytest.param(
            *(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.thorough
        )
        for i, case in enumerate(cases)
    ]
