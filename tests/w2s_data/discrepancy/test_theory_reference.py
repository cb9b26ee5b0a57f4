"""Every item of the reference numbers: closed forms to their digits, limits against simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.w2s_data.discrepancy.theory_data import Item, group_model, limit, reference
from tests.w2s_data.spurious.mean_shift import (
    GroupModel,
    inflation,
    mean_shift_optimum,
    mean_shift_risks,
    mixture_optimum,
)
from w2s_data import DiscrepancyAnalyzer
from w2s_data.discrepancy import theory
from w2s_data.discrepancy.dimensions import correlation_dimension, marchenko_pastur_dimension
from w2s_data.spurious.model import GroupRisks
from w2s_data.spurious.theory import mixture_risks

ITEMS = reference()
ROLES = {"weak": "teacher", "w2s": "student", "sft": "sft", "ceil": "ceiling"}
NOT_GAUSSIAN = ("A8", "A9", "A10")  # their simulations leave the model on purpose
LIMIT = 5e-3  # the proportional limit of a mixture is found on sampled rows


def items(section: str, *starts: str, without: tuple[str, ...] = ()) -> Any:
    """Parametrise over the items of a section whose id starts so."""
    found = [
        item
        for item in ITEMS
        if item["section"] == section
        and item["id"].startswith(starts or ("",))
        and not item["id"].startswith(without or ("?",))
    ]
    return pytest.mark.parametrize("item", found, ids=[item["id"] for item in found])


def test_every_item_has_a_test() -> None:
    marks = [
        mark
        for test in globals().values()
        for mark in getattr(test, "pytestmark", [])
        if mark.name == "parametrize" and mark.args[0] == "item"
    ]
    tested = {item["id"] for mark in marks for item in mark.args[1]}
    assert tested == {item["id"] for item in ITEMS}
    assert len(tested) == 273


@items("A", "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9")
def test_gaussian_risks(item: Item) -> None:
    x = item["inputs"]
    bias = {"rho_s": x["rs"], "rho_w": x["rw"], "c2": x["c2"], "rho_ws": x["rws"]}
    sizes = {"n": x["n"], "N": x["N"], "d_s": x["ds"], "d_w": x["dw"], "d_sw": x["dsw"]}
    digits = 3e-6 if x["rs"] else 1e-6  # those inputs are rounded themselves
    for numbers, risks in (
        (item["predicted"], theory.risks(**sizes, **bias)),
        (item["predicted_leading"], theory.risks(**sizes, **bias, leading=True)),
    ):
        for name, value in numbers.items():
            found = getattr(risks, ROLES.get(name, name.lower()))
            assert found == pytest.approx(value, rel=digits, abs=1e-12), name
    if not item["id"].startswith(NOT_GAUSSIAN):
        for name, role in ROLES.items():
            found = getattr(theory.risks(**sizes, **bias), role)
            assert abs(found - item["simulated"][name]) < 3.5 * item["se"][name], name


@items("A", "A_")
def test_other_exact_risks(item: Item) -> None:
    x = item["inputs"]
    d_sw = x["dsw"] if "dsw" in x else float(np.sum(np.square(x["rho"])))
    if item["id"] == "A_intercept":
        names = ["weak", "w2s"]
        risks = theory.risks(x["n"], x["N"], d_w=x["dw"], d_s=x["ds"], d_sw=d_sw, intercept=True)
        found = [risks.teacher, risks.student]
    else:
        names = ["ratio_w2s_over_weak"]
        risks = theory.risks(40, x["N"], d_w=x["dw"], d_s=x["ds"], d_sw=d_sw)  # the same for any n
        found = [risks.student / risks.teacher]
    for name, value in zip(names, found, strict=True):
        assert value == pytest.approx(item["predicted"][name], rel=1e-6), name
        assert abs(value - item["simulated"][name]) < 3.5 * item["se"][name], name


def correlations(case: str, d: int) -> Any:
    third = np.r_[np.ones(d // 3), np.zeros(d - d // 3)]
    known = {
        "zero": np.zeros(d),
        "third_exact": third,
        "uniform": np.linspace(0.98, 0.02, d),
        "full": np.ones(d),
    }
    return known[case] if case in known else np.full(d, float(case.removeprefix("all_")))


def estimated(
    x: Item, rho: Any, law: Callable[[np.random.Generator, tuple[int, int]], Any], trials: int
) -> tuple[float, float]:
    """Mean estimate of the correlation dimension over simulated features, and its error."""
    found = []
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        weak, strong = law(rng, (x["N"], x["dw"])), law(rng, (x["N"], x["ds"]))
        k = len(rho)
        strong[:, :k] = rho * weak[:, :k] + np.sqrt(1 - rho**2) * strong[:, :k]
        if x.get("law") == "ellip_t5":  # one heavy-tailed radius for all columns of a row
            radius = np.sqrt(3 / rng.chisquare(5, size=(x["N"], 1)))
            weak, strong = weak * radius, strong * radius
        model = DiscrepancyAnalyzer(n_jackknife=0).fit(strong, weak)
        found.append(model.correlation_dimension_)
    return float(np.mean(found)), float(np.std(found) / np.sqrt(trials))


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    return rng.normal(size=shape)


@pytest.mark.slow
@items("C", "C_")
def test_correlation_dimension_without_bias(item: Item) -> None:
    x = item["inputs"]
    rho, true = correlations(x["case"], min(x["dw"], x["ds"])), item["predicted"]["true_dsw"]
    assert np.sum(rho**2) == pytest.approx(true, abs=1e-6)
    expected = item["predicted"]["naive_expected_shared"]
    closed = correlation_dimension(expected, x["N"], d_w=x["dw"], d_s=x["ds"])
    assert closed == pytest.approx(true, abs=1e-4)
    assert item["simulated"]["debiased_closed"] == pytest.approx(true, abs=0.1)
    found, error = estimated(x, rho, normal, trials=20)
    assert abs(found - true) < 0.1 + 2.5 * error


LAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Any]] = {
    "rad": lambda rng, shape: rng.choice([-1.0, 1.0], size=shape),
    "t5": lambda rng, shape: rng.standard_t(5, size=shape) * np.sqrt(3 / 5),
    "ellip_t5": normal,
    "lognormal_indep(true0)": lambda rng, shape: rng.lognormal(size=shape),
}


@pytest.mark.slow
@items("C", "dsw_nongauss")
def test_correlation_dimension_of_other_laws(item: Item) -> None:
    law, _, rows = item["id"].removeprefix("dsw_nongauss_").rpartition("_N")
    true = item["data"]["true"]
    rho = correlations("uniform" if true else "zero", 15)
    sizes = {"N": int(rows), "dw": 15, "ds": 20, "law": law}
    found, error = estimated(sizes, rho, LAWS[law], trials=40)
    assert abs(found - item["data"]["debiased"]) < 0.05 + 3 * (error + item["data"]["se"])
    if law != "ellip_t5":
        assert abs(found - true) < 0.1 + 2.5 * error


@items("C", "dims")
def test_dimensions_of_a_signal_with_a_tail(item: Item) -> None:
    sizes = item["id"].removeprefix("dims_").split("_")
    numbers = {name.rstrip("0123456789."): name.lstrip("dswNtail") for name in sizes}
    d_s, d_w, d_sw, N = (int(numbers[name]) for name in ("ds", "dw", "dsw", "N"))
    rng = np.random.default_rng(0)
    common = rng.normal(size=(N, max(d_w, d_s)))
    strong = common[:, :d_s]
    weak = np.hstack([common[:, :d_sw], rng.normal(size=(N, d_w - d_sw))])
    sides = []
    for signal, ambient in ((weak, 100), (strong, 150)):
        basis = np.linalg.qr(rng.normal(size=(ambient, signal.shape[1])))[0]
        scaled = signal * np.linspace(1, 2, signal.shape[1])
        noise = float(numbers["tail"]) * rng.normal(size=(N, ambient))
        sides.append(scaled @ basis.T + noise)
    names, data = item["data"]["names"], item["data"]
    for side, role in zip(sides, ("teacher", "student"), strict=True):
        count = marchenko_pastur_dimension(np.linalg.eigvalsh(np.cov(side.T)), N - 1)
        assert count == data[role][names.index("MPcount")]
    model = DiscrepancyAnalyzer("mp", "mp", n_jackknife=0).fit(*sides[::-1])
    assert model.correlation_dimension_ == pytest.approx(data["dsw"]["debiased_true"], abs=0.25)


@items("DET", "g01", "fpgauss")
def test_inflation_factors(item: Item) -> None:
    closed = item["id"].startswith("g01")
    x = item["inputs"] if closed else item["data"]["inputs"]
    expected = item["predicted"] if closed else item["data"]
    g0, g1 = inflation(x["gamma"], x["p"])
    assert g0 == pytest.approx(expected["g0"], rel=1e-6)
    assert g0 == pytest.approx(1 / (1 - x["gamma"] * x["p"]), rel=1e-9)
    assert g1 == pytest.approx(expected["g1"], rel=1e-4 if closed else LIMIT, abs=1e-12)


@items("DET", "det_dsw")
def test_correlation_dimension_values(item: Item) -> None:
    x = item["inputs"]
    found = correlation_dimension(x["S"], x["N"], d_w=x["dw"], d_s=x["ds"])
    assert found == pytest.approx(item["predicted"]["dsw_debiased"], abs=1e-6)


@items("DET", "det_d1", "det_d2", "det_d3")
def test_group_risks_of_one_setting(item: Item) -> None:
    x, expected = item["inputs"], item["predicted"]
    model, shares = group_model(x), (x["eta_l"], x["eta_u"], x["eta_t"])
    gamma, nu = x["gamma"], x["nu"]
    for form, risks in (
        ("paper_over_gamma", lambda n: mean_shift_risks(model, *shares, 1.0, n, leading=True)),
        ("mixture_leading_over_gamma", lambda n: mixture_risks(model, *shares, 1.0, n)),
    ):
        base, full = risks(0.0), risks(nu)
        found = [base.teacher, base.student, full.student - base.student]
        names = "teacher", "student_base", "student_nu_term"
        np.testing.assert_allclose(found, [expected[form][name] for name in names], rtol=1e-4)
    agrees(
        mean_shift_risks(model, *shares, gamma, nu), expected["closed_gauss_prop_limit"], rel=1e-4
    )
    agrees(limit(model, shares, gamma, nu), expected["mixture_prop_limit"], rel=LIMIT)
    for name, pool in (("eta_u_star_nu0", 0.0), ("eta_u_star_nu", nu)):
        clipped = float(np.clip(expected[name], 0, 1))
        found_share = mean_shift_optimum(model, x["eta_l"], x["eta_t"], pool)
        assert found_share == pytest.approx(clipped, rel=1e-4)


def agrees(found: GroupRisks, expected: Item, rel: float) -> None:
    assert found.teacher == pytest.approx(expected["teacher"], rel=rel)
    assert found.student == pytest.approx(expected["student"], rel=rel)


def full_limit(mode: str, model: GroupModel, shares: Any, gamma: float, nu: float) -> GroupRisks:
    """Risks at these gamma and nu, without the leading order."""
    if mode == "gauss":
        return mean_shift_risks(model, *shares, gamma, nu)
    return limit(model, shares, gamma, nu, size=8000)


@items("B", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B_scaling", "B_direct", "B_closedgauss")
def test_group_risks(item: Item) -> None:
    x, model = item["inputs"], group_model(item["inputs"])
    shares, gamma, nu = (x["el"], x["eu"], x["et"]), x["dz"] / x["n"], x["dz"] / x["N"]
    found = full_limit(x["mode"], model, shares, gamma, nu)
    agrees(found, item["predicted"], rel=LIMIT)
    agrees(found, item["simulated"], rel=0.005 + 2 / x["dz"])  # the limit of many core features
    leading = mean_shift_risks(model, *shares, gamma, nu, leading=True)
    endless = mean_shift_risks(model, *shares, gamma, 0.0, leading=True)
    if "predicted_paper" in item:
        agrees(leading, item["predicted_paper"], rel=1e-5)
        assert endless.student == pytest.approx(item["predicted_paper"]["student_nu0"], rel=1e-5)
    if "predicted_mixture_leading" in item and x["mode"] == "mix":
        expected = item["predicted_mixture_leading"]
        agrees(mixture_risks(model, *shares, gamma, nu), expected, rel=1e-5)
        found_endless = mixture_risks(model, *shares, gamma, 0.0).student
        assert found_endless == pytest.approx(expected["student_nu0"], rel=1e-5)


@items("B", "B_eta_u_curve", "B_optimum")
def test_group_risks_over_shares_of_the_pool(item: Item) -> None:
    x, model = item["inputs"], group_model(item["inputs"])
    gamma, nu = x["dz"] / x["n"], x["dz"] / x["N"]
    # Those fixed points used few sampled rows; the quadrature below is exact.
    sampled = 0.03 if item["id"].startswith("B_eta_u_curve") else 0.01
    for values in item["rows"]:
        row = dict(zip(item["columns"], values, strict=True))
        shares = x["el"], row["eta_u"], x["et"]
        closed = mean_shift_risks(model, *shares, gamma, nu)
        leading = mean_shift_risks(model, *shares, gamma, nu, leading=True)
        numeric = full_limit(x["mode"], model, shares, gamma, nu)
        for names, risks, rel in (
            (("T_paper", "S_paper_nu"), leading, 1e-5),
            (("T_paper", "S_paper"), leading, 1e-5),
            (("T_closed_gauss", "S_closed_gauss"), closed, 1e-4),
            (("T_prop", "S_prop"), numeric, sampled),
            (("T_numFP", "S_numFP"), numeric, sampled),
            (("T_sim", "S_sim"), numeric, 0.005 + 2 / x["dz"]),
        ):  # fmt: skip
            if set(names) <= set(row):
                agrees(risks, {"teacher": row[names[0]], "student": row[names[1]]}, rel)
        if "T_mix" in row and x["mode"] == "mix":
            agrees(
                mixture_risks(model, *shares, gamma, nu),
                {"teacher": row["T_mix"], "student": row["S_mix"]},
                1e-5,
            )
    best = item["eta_u_star"]
    for name, pool in (
        ("paper_nu0", 0.0),
        ("paper_nu", nu),
        ("closed_nu0", 0.0),
        ("closed_nu", nu),
    ):
        if name in best:
            clipped = float(np.clip(best[name], 0, 1))
            found = mean_shift_optimum(model, x["el"], x["et"], pool)
            assert found == pytest.approx(clipped, rel=1e-4), name
    if "sim_quadfit" in best and x["mode"] == "gauss":
        assert mean_shift_optimum(model, x["el"], x["et"], nu) == pytest.approx(
            best["sim_quadfit"], abs=0.01
        )
    if x["mode"] == "mix" and "mixture_leading" in best:
        assert mixture_optimum(model, x["el"], x["et"], nu) == pytest.approx(
            best["mixture_leading"], abs=0.05
        )


@items("B", "B_eta_u_curve_mix", "B_scaling")
def test_limit_agrees_with_quadrature(item: Item) -> None:
    """The teacher's fixed point by Gauss-Hermite nodes instead of sampled rows."""
    x, model = item["inputs"], group_model(item["inputs"])
    gamma, d = x["dz"] / x["n"], len(model.mu_t)
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    grid = np.stack(np.meshgrid(*[nodes] * d), axis=-1).reshape(-1, d)
    mass = np.prod(np.stack(np.meshgrid(*[weights / weights.sum()] * d), axis=-1), axis=-1).ravel()
    rows = np.c_[np.ones(2 * len(grid)), np.vstack([grid, grid + model.mu_t])]

    def moments(share: float, inflation: Any) -> Any:
        law = np.r_[(1 - share) * mass, share * mass] / inflation
        return (rows * law[:, None]).T @ rows

    inverse = np.eye(d + 1)
    for _ in range(100):
        inflated = 1 + gamma * np.einsum("ij,jk,ik->i", rows, inverse, rows)
        inverse = np.linalg.inv(moments(x["el"], inflated))
    exact = gamma * np.trace(inverse @ moments(x["et"], 1.0))
    found = limit(model, (x["el"], 0.5, x["et"]), gamma, x["dz"] / x["N"], size=8000)
    assert found.teacher == pytest.approx(exact, rel=2e-3)  # 8000 sampled rows a group


@items("B", "B_mixopt")
def test_best_share_of_a_mixture(item: Item) -> None:
    x = item["inputs"]
    alike = next(
        group_model(other["inputs"])
        for other in ITEMS
        if other["id"].startswith("B_optimum")
        and all(other["inputs"][name] == x[name] for name in ("pT", "pS", "align"))
    )
    scale = x["mu_norm"] / 2.5
    model = GroupModel(alike.mu_t * scale, alike.mu_s * scale, alike.xi)
    found = mixture_optimum(model, x["el"], x["et"], x["dz"] / x["N"], np.linspace(0, 1, 21))
    assert found == pytest.approx(item["argmin"]["mix"])
    assert found == pytest.approx(item["argmin"]["sim"], abs=0.051)


@items("B", "B_plain_embedding")
def test_plain_embeddings(item: Item) -> None:
    x = item["inputs"]
    xi = np.zeros((x["dw"], x["ds"]))
    xi[range(x["dw"]), range(x["dw"])] = x["rho"]
    model = GroupModel(np.array(x["muT"]), np.array(x["muS"]), xi)
    for values in item["rows"]:
        row = dict(zip(item["columns"], values, strict=True))
        gamma, nu = 1 / (x["n"] - x["dw"] - 2), 1 / (x["N"] - x["ds"] - 2)
        found = mixture_risks(model, x["el"], row["eta_u"], x["et"], gamma, nu)
        agrees(found, {"teacher": row["predT"], "student": row["predS"]}, rel=1e-5)
        agrees(found, {"teacher": row["simT"], "student": row["simS"]}, rel=0.01)
