"""How often words occur together in sliding windows, for the coherence of topics."""

import numpy as np

from ._jit import kernel


@kernel
def _leave(word, now, present, n_present, place, since, joint):
    """Word ceases to be present before window `now`; the number of words that remain.

    joint[word, v] grows by the number of windows in which both were present.
    """
    for i in range(n_present):
        v = present[i]
        joint[word, v] += now - max(since[word], since[v])
    last = present[n_present - 1]
    present[place[word]] = last
    place[last] = place[word]
    return n_present - 1


@kernel
def windows_together(indptr, words, width, joint):
    """Add to joint (R, R) int64 the number of windows that hold both words; the number of windows.

    indptr (D+1,), words (N,) int32: the documents in order, with -1 for words that do not matter.
    A document of n > 0 words has max(n - width + 1, 1) windows. Of the entries [v, w] and [w, v]
    one or both grow: their sum is the number (the diagonal has the windows of one word).
    """
    n_words = joint.shape[0]
    count = np.zeros(n_words, np.int64)  # how often the word occurs in the window
    since = np.zeros(n_words, np.int64)  # the first window in which it has been without a break
    present = np.zeros(n_words, np.int64)  # the words in the window, in any order
    place = np.zeros(n_words, np.int64)  # where they are in `present`
    n_windows = 0
    for d in range(indptr.shape[0] - 1):
        a, b = indptr[d], indptr[d + 1]
        n = max(b - a - width + 1, 1) if b > a else 0
        n_present = 0
        for j in range(a, b):
            now = max(j - a - width + 1, 0)  # the first window with position j
            if now > 0 and words[j - width] >= 0:
                old = words[j - width]
                count[old] -= 1
                if count[old] == 0:
                    n_present = _leave(old, now, present, n_present, place, since, joint)
            new = words[j]
            if new >= 0:
                count[new] += 1
                if count[new] == 1:
                    since[new] = now
                    present[n_present] = new
                    place[new] = n_present
                    n_present += 1
        while n_present > 0:
            v = present[n_present - 1]
            count[v] = 0
            n_present = _leave(v, n, present, n_present, place, since, joint)
        n_windows += n
    return n_windows
