"""Each function that is differentiated, against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from test_derivatives_models import as_tuple, derived, numerical
from written import module_of

SCALARS = {  # expressions of x near 0.4 and y near 1.7
    "math": "exp(x) expm1(x) log(y) log2(y) log10(y) log1p(x) sqrt(y) sin(x) cos(x) tan(x) asin(x) "
    "acos(x) atan(x) sinh(x) cosh(x) tanh(x) asinh(x) acosh(y) atanh(x) lgamma(y) lgamma(-x) "
    "erf(x) erfc(y) pow(y,x) atan2(x,y) hypot(x,y) fabs(-x)",
    "np": "exp(x) exp2(x) expm1(x) log(y) log1p(x) sqrt(y) cbrt(y) sin(x) arcsin(x) arccos(x) "
    "arctan(x) arcsinh(x) arccosh(y) arctanh(x) arctan2(x,y) hypot(x,y) logaddexp(x,y) abs(-x) "
    "maximum(x,y) minimum(x,y) minimum(y,x) square(x) power(y,x) clip(x,0.1,y) "
    "where(x<y,x*y,y) sign(x)*y "
    "floor(y)*x reciprocal(y) isfinite(x)*y",
    "special": "digamma(y) digamma(-x) gammaln(y) erfinv(x)",
    "": "abs(-x)*y max(x,y,0.1) min(x,y) min(y,x) x**3 x**-2 y**0.5 y**x 2.0**x x%0.3 x/y -x*y "
    "float(x)*y",
}  # fmt: skip
ARRAYS = """np.sum(z) np.sum(M) np.sum(M,axis=0)[1]*x np.sum(M,axis=1)@z[:2] np.mean(z) np.var(z)
np.std(z) np.mean(M,axis=0)[2] np.var(M,axis=1)[0] np.max(z) np.min(M) np.max(M,axis=0)[1]
np.cumsum(z)[3] np.prod(z) np.dot(z,z) z@z (M@z[:3])[1] (M@M.T)[0,1] np.outer(z,z)[1,2]
np.sum(np.where(z>0.0,z,z*z)) np.sum(np.exp(z)*np.ones(5)) np.sum(z[1:]*z[:-1]) z[::2][1]*z[-1]
np.sum(np.diff(z)**2) np.trace(M@M.T) np.sum(np.diag(z)@z) np.sum(np.linspace(0.0,x,4)**2)
np.sum(np.eye(5)[2]*z) np.sum(M[:,None,1]*z[:2]) np.sum(z[data.g]**2) np.sum(np.array([x,y])**2)
np.sum(np.array([[x,y],[y,x*x]])**3) np.sum(z.copy()[:3].reshape(3,1)*M.T) len(z)*x z.size*y
np.sum(np.full(3,x)**2) np.sum(np.zeros_like(z)+z)
np.sum(np.arange(5)*z) M.shape[1]*x np.any(z>0.0)*x np.sum(M.ravel()[1:4]) z.sum() M.mean()"""
MATRICES = """np.linalg.cholesky(M@M.T+np.eye(2))[1,0] np.linalg.solve(M[:,:2],z[:2])[0]
np.sum(np.linalg.solve(data.A,M.T)**2) np.sum(np.linalg.solve(M[:,:2],data.g[:2]))
np.linalg.det(M[:,1:]) np.linalg.slogdet(M[:,:2])[1]*x np.sum(np.linalg.inv(M[:,:2])[0])
solve_triangular(M[:,:2],z[:2])[0] np.sum(solve_triangular(M[:,:2],M,lower=True)**2)
solve_triangular(M[:,:2],z[:2],trans=1)[1] np.sum(solve_triangular(M[:,:2],M,"T",True)**3)
np.sum(solve_triangular(M[:,:2],M,unit_diagonal=True)**3)
solve_triangular(M[:,:2],z[:2],lower=True,trans=1,unit_diagonal=True)[0]"""
HEADS = ["x, y = z[0], z[1]", "M = np.empty((2, 3))", "for i in range(2):",
         "    for j in range(3):", "        M[i, j] = z[i] * z[j + 2] + z[j]"]  # fmt: skip


def expressions():
    found = [f"{m}.{e}" if m else e for m, part in SCALARS.items() for e in part.split()]
    return found + ARRAYS.split() + MATRICES.split()


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    """One function for each expression, in a file, where its source can be read."""
    lines = ["import math", "import numpy as np", "from scipy import special",
             "from scipy.linalg import solve_triangular"]  # fmt: skip
    for k, e in enumerate(expressions()):
        body = HEADS if e in ARRAYS.split() + MATRICES.split() else HEADS[:1]
        lines += [f"def f{k}(z, data):", *(f"    {line}" for line in body), f"    return {e}"]
    return module_of(lines, tmp_path_factory.mktemp("functions"), "functions_of_z")


@pytest.mark.parametrize("k", range(len(expressions())), ids=expressions())
def test_functions(functions, k):
    z = np.array([0.4, 1.7, -0.6, 0.9, 1.3])
    data = {"g": np.array([1, 0, 4, 1]), "A": np.array([[2, 1, 0], [1, 3, 1], [0, 1, 1.5]])}
    function = getattr(functions, f"f{k}")
    found, grad = derived(function, z, data)
    assert found == pytest.approx(float(function(z, as_tuple(data))), rel=1e-13)
    wanted = numerical(lambda x: function(x, as_tuple(data)), z, 1e-5)
    np.testing.assert_allclose(grad, wanted, rtol=1e-8, atol=1e-8)
