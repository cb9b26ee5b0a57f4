"""The plan: the value of each purchase, the best split of the budget, earlier plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.plan.advice import OPTIONS
from w2s_data.stages.graph import PLAN, PLAN_SUMMARY
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, number, plain, price
from w2s_reports.summary.parts import estimate, from_columns, texts

LINES = ("best", "gold_only", "weak_only")  # of accuracy over spending


def summarize_plan(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize the plan, or name the command that makes one."""
    result = artefacts.later.get(PLAN_SUMMARY)
    if result is None:
        return {"hint": PLAN.hint()}
    level = result["level"]
    split = result["split"]
    return {
        "hint": None,
        "advice": str(result["advice"]),
        "buys": result.get("buys", "labels"),  # older runs do not say it
        "worth": _worth(result),
        "level": plain(level),
        "option": OPTIONS[result["option"]],
        **{name: plain(result[name]) for name in ("n", "N")},
        "prices": {name: plain(value) for name, value in result["prices"].items()},
        "now": estimate(result["now"]),
        "options": [
            {"name": OPTIONS[name], "accuracy": estimate(value)}
            for name, value in result["accuracies"].items()
        ],
        "purchases": [_purchase(purchase) for purchase in result["purchases"]],
        "exchange": estimate(result["exchange"]),
        "exchange_reading": _exchange(result),
        "split": {name: plain(split[name]) for name in ("gold", "weak", "spent")}
        | {name: estimate(split[name]) for name in ("accuracy", "gain")},
        "stop_reading": _stop(result),
        "path": [
            {name: plain(row[name]) for name in ("spent", "gold", "weak")}
            | {name: from_columns(row, name, level) for name in LINES}
            for row in result["path"]
        ],
        "contour": {
            name: [plain(value) for value in result["contour"][name]] for name in ("n", "N")
        }
        | {
            "accuracy": [[plain(v) for v in row] for row in result["contour"]["accuracy"]],
            "budget_n": [plain(point["n"]) for point in result["contour"]["line"]],
            "budget_N": [plain(point["N"]) for point in result["contour"]["line"]],
        },
        "history": [_outcome(outcome) for outcome in result["history"]],
        "pace_reading": _pace(result),
        "warnings": texts(result["warnings"]),
    }


def _worth(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the gain of what is advised; without a value where nothing is to be bought."""
    gains = {purchase["name"]: purchase["gain"] for purchase in result["purchases"]}
    gains["labels"] = result["split"]["gain"]
    return estimate(gains.get(result.get("buys", "labels")))


def _purchase(purchase: Mapping[str, Any]) -> dict[str, Any]:
    per_unit = purchase["per_unit"]
    return {
        "name": str(purchase["name"]),
        **{name: plain(purchase[name]) for name in ("number", "price")},
        "gain": estimate(purchase["gain"]),
        "per_unit": estimate(per_unit),
        "guess": bool(purchase["guess"]),
    }


def _outcome(outcome: Mapping[str, Any]) -> dict[str, Any]:
    (n_before, pool_before), (n_after, pool_after) = outcome["before"], outcome["after"]
    return {
        "option": OPTIONS[outcome["option"]],
        "labels": f"{count(n_before)} gold, {count(pool_before)} weak",
        "then": f"{count(n_after)} gold, {count(pool_after)} weak",
        **{name: estimate(outcome[name]) for name in ("forecast", "came")},
    }


def _exchange(result: Mapping[str, Any]) -> str:
    """Say how many weak labels are worth one gold label, and which is cheaper for its worth."""
    rate, prices = estimate(result["exchange"]), result["prices"]
    if rate["value"] is None:
        return ""
    worth, ratio = rate["value"], prices["gold"] / prices["weak"]
    if rate["high"] > 100 * worth:
        span = f"at least {number(rate['low'], 0)}"
    else:
        span = f"{number(rate['low'], 0)} to {number(rate['high'], 0)}"
    if rate["low"] <= ratio <= rate["high"]:
        buy = "which labels are the better buy cannot be told"
    else:
        buy = f"the next {'gold' if worth > ratio else 'weak'} labels are the better buy"
    return (
        f"At present sizes one gold label is worth about {number(worth, 0)} weak ones ({span}) and "
        f"costs as much as {number(ratio, 0)}: {buy}."
    )


def _stop(result: Mapping[str, Any]) -> str:
    """Say from where on another step of the budget adds less than its doubt."""
    stop, budget = plain(result["stop"]), result["prices"]["budget"]
    if stop is None:
        return ""
    step = f"another {price(budget / (len(result['path']) - 1))}"
    if not stop:
        return f"From the start, what {step} adds is less than its doubt, one standard deviation."
    return f"After {price(stop)}, what {step} adds is less than its doubt, one standard deviation."


def _pace(result: Mapping[str, Any]) -> str:
    pace = result["pace"]
    if not result["history"]:
        return ""
    return (
        f"Labels have helped about {number(pace['value'], 2)} times as much as forecast "
        f"({number(pace['low'], 2)} to {number(pace['high'], 2)}); forecasts are corrected by that."
    )
