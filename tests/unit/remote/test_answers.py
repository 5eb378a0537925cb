"""An error that an operation ended with on a host is the same error here."""

from __future__ import annotations

import json

import pytest

from components.formation import FormationError, FormationRefused, FormationTimeout, HandOverFailed, NodeUnreachable
from components.live_deployment import Forecast
from components.remote import answers


@pytest.mark.parametrize(
    "error",
    [
        FormationError("it is wrong"),
        HandOverFailed("it went wrong"),
        NodeUnreachable("it is away"),
        FormationRefused(["one", "two"]),
        FormationTimeout(300.5, ["one", "two"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_back_as_it_was(error: FormationError) -> None:
    answer = json.loads(json.dumps(answers.of_error(error)))

    with pytest.raises(type(error)) as caught:
        answers.result_of(answer)
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


def test_an_error_of_another_kind_is_still_one() -> None:
    class Special(FormationError):
        pass

    with pytest.raises(FormationError, match="special"):
        answers.result_of(answers.of_error(Special("special")))


@pytest.mark.parametrize("result", [None, True, "text", {"primary": "here:1"}])
def test_a_result_comes_back(result: object) -> None:
    assert answers.result_of(json.loads(json.dumps(answers.of_result(result)))) == result


def test_a_forecast_comes_back() -> None:
    forecast = Forecast(("do",), ("no",), ("wait",), frozenset({"a", "b"}), frozenset({"a"}), {"a": 5})

    assert Forecast.from_dict(json.loads(json.dumps(forecast.to_dict()))) == forecast
