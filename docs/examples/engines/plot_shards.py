"""
The same bits on any cluster
============================

`fastvi.distributed` fits over shards of the rows, on the workers of a Dask cluster or, as here, in
the process itself. The bits depend on the number of shards, and on nothing else. With a cluster,
only the line that begins with `with` changes: `with fastvi.distributed(client, n_shards=n)`.
"""

import matplotlib.pyplot as plt

import fastvi

corpus = fastvi.corpus.standard_library()
options = {
    "n_components": 10,
    "solver": "vb",
    "max_iter": 15,
    "evaluate_every": 1,
    "random_state": 0,
}
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for n_shards, style in ((1, "-"), (4, "--"), (16, ":")):
    lda = fastvi.LatentDirichletAllocation(**options)
    with fastvi.distributed(n_shards=n_shards):
        lda.fit(corpus.counts)
    axis.plot(lda.history_["epoch"], lda.history_["elbo"], style, label=f"{n_shards} shards")
axis.set(xlabel="passes", ylabel="ELBO, nats")
axis.legend()
