/* What the float32 twins share. */
#include <math.h>
#include <stdlib.h>
#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#define FLUSH_SUBNORMALS() _mm_setcsr(_mm_getcsr() | 0x8040) /* what -ffast-math used to link in */
#else
#define FLUSH_SUBNORMALS()
#endif

static float digamma(float x)
{
    float y = x + 6.0f;
    float p = 1.0f / (y * y);
    p = (((0.004166666666667f * p - 0.003968253986254f) * p + 0.008333333333333f) * p
         - 0.083333333333333f) * p;
    return p + logf(y) - 0.5f / y - 1.0f / x - 1.0f / (x + 1.0f) - 1.0f / (x + 2.0f)
           - 1.0f / (x + 3.0f) - 1.0f / (x + 4.0f) - 1.0f / (x + 5.0f);
}
