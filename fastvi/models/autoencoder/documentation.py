"""Documentation of the autoencoder's parameters that do not fit into a line."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS: dict[str, str] = {
    "likelihood": """
likelihood : str, default="gaussian"
    Distribution of rows given latent variables. ``"gaussian"``: numbers. ``"bernoulli"``: numbers
    in [0, 1], such as pixels. ``"poisson"``: counts. ``"multinomial"``: counts of which only the
    shares are modelled, such as words of documents. ``"categorical"``: integers from 0, the same
    number of levels in each column. Counts, and numbers in [0, 1], may be a CSR matrix, of which
    the encoder reads only the entries.
noise : {"shared", "per_feature", "network"} or float, default="shared"
    Standard deviation of Gaussian noise: learned, one for all columns or one per column; found by
    the decoder for each row and column; or given, in the units of X.
""",
    "kinds": """
family : {"gaussian", "planar", "radial", "iaf", "maf", "hamiltonian", "langevin", \
"categorical", "implicit"}, default="gaussian"
    Posterior of the latent variables of a row. ``"gaussian"``: independent Gaussians, of which the
    encoder makes means and standard deviations. ``"categorical"``: `n_components` categories of
    ``n_levels`` levels each, one hot to the decoder, with equal chances in the prior, and gradients
    by relaxed draws (Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017). ``"implicit"``: any
    distribution, of draws that a network makes of noise and ends by Gaussian noise; the bound needs
    an estimate of log q, ``ratio`` of the options, see `ratio_check_`. ``"hamiltonian"`` and
    ``"langevin"``: ends of paths of ``n_transitions`` leapfrog steps that begin at Gaussians and
    follow the slopes of log p(x, z), with momenta that are refreshed in part, or redrawn (Geffner
    and Domke 2021; Zhang et al. 2021); for ``prior="normal"``. The others are flows,
    which send their draws through ``n_functions`` functions: planar or radial ones of the encoder's
    outputs (Rezende and Mohamed 2015, eqs. 10 and 14), inverse autoregressive ones, which are
    masked networks with ``flow_units`` hidden units that see ``n_context`` outputs of the encoder
    (Kingma et al. 2016, eqs. 10 to 14), or masked autoregressive ones, whose networks see what has
    come out (Papamakarios et al. 2017, eq. 4).
prior : {"normal", "mixture", "vamp", "structured"}, default="normal"
    Of the latent variables. ``"normal"``: standard normal. ``"mixture"``: a learned mixture of
    `n_parts` Gaussians, for rows that fall into groups. ``"vamp"``: an equal mixture of the
    encoder's Gaussians of `n_parts` pseudo-inputs, rows that are learned (Tomczak and Welling 2018,
    eq. 9). ``"structured"``: a mixture with full covariances and unknown parameters, which have a
    posterior of their own and leave parts empty that are not needed; the encoder makes observations
    of latent variables, and rows' posteriors are those of mean field (Johnson et al. 2016).
decoder : {"dense", "conv", "pixelcnn", "draw"}, default="dense"
    Network from latent variables to rows. ``"dense"``: layers that see all units of the layer
    before. ``"conv"``: rows are images, which dense layers see through strided convolutions and
    paint through their transposes, in the encoder and the decoder (Radford et al. 2016); not with
    ``prior="vamp"``. ``"pixelcnn"``: rows are images, of which each pixel depends on those before
    it as well, row by row, by causal masked convolutions on top of dense layers (Gulrajani et al.
    2017, "PixelVAE"); the channels of a pixel are independent given the pixels before. ``"draw"``:
    an image of Bernoulli pixels is painted in steps (Gregor et al. 2015, "DRAW") by LSTM cells,
    which take the place of all other networks, so that `hidden_layer_sizes` and `activation` have
    no effect. Each step has `n_components` latent variables, which follow each other in
    `transform`.
n_parts : int, default=10
    Parts of a prior that is a mixture.
image_shape : (height, width) or (height, width, channels), optional
    Of rows, for decoders that need it.
options : dict, optional
    Further numbers of the kinds above, by name, where they have any. Of flows: ``n_functions`` (8,
    or 2 of ``"iaf"`` and ``"maf"``), ``flow_units`` ((128,)) and ``n_context`` (32). Of paths:
    ``n_transitions`` (5). Of categories: ``n_levels`` (10), ``temperature`` (2/3) and ``gradient``,
    "relaxed", "straight_through" or "score". Of implicit posteriors: ``ratio``, "adversarial" (by a
    classifier, Mescheder, Nowozin and Geiger 2017, section 4), "kernel" (by least squares with
    kernels, Shi, Sun and Zhu 2018) or "semi_implicit" (by a mixture, a true bound, Yin and Zhou
    2018); ``n_context`` (32), ``n_noise`` (16) numbers, ``n_mixture`` (32) Gaussians for each draw,
    of standard deviations above ``least_sd`` (0.1), ``sampler_units`` and ``critic_units`` ((64,
    64)), ``critic_steps`` (2) of the classifier before each of the others, and ``critic_rate`` (4),
    of which its rate is a multiple. Of ``decoder="conv"``: ``n_maps`` (16, 32) of the convolutions,
    multiples of 8; ``kernel_size`` (4), the height and width of their kernels in pixels; and
    ``stride`` (2), which need not divide the size of an image. Of ``decoder="pixelcnn"``:
    ``n_maps`` (16), a multiple of 8, and ``kernel_sizes`` (5, 5, 5, 5), an odd number of pixels for
    each convolution. Such a decoder sees as far as their halves together: with (1,) no pixel, with
    (3,) those beside it. What it sees is left out of the latent variables.
    Of ``decoder="draw"``: ``n_steps`` (10), ``n_units`` (256) of each cell, and ``read_size`` and
    ``write_size`` (0), the height and width of the window that a step reads and paints; with 0 it
    is the whole image.
""",
    "objective": """
objective : {"elbo", "iwae", "vr"}, default="elbo"
    What to maximise: the evidence lower bound; the tighter bound by importance sampling of Burda,
    Grosse and Salakhutdinov (2016); or the Rényi bound of order `alpha` (Li and Turner 2016). The
    last two have doubly reparameterised gradients (Tucker et al. 2019).
n_draws : int, default=1
    Draws of the latent variables per row and step.
alpha : float, default=0.5
    Order of the Rényi bound, below 1; with 0 it is ``"iwae"``, and near 1 ``"elbo"``.
kl : {"plain", "anneal", "free_bits", "delta", "aggressive"}, default="plain"
    What keeps latent variables in use. ``"anneal"``: the weight of the divergence from the prior
    rises in `kl_warmup` passes. ``"free_bits"``: the divergence is free below `free_bits` nats
    (Kingma et al. 2016, eq. 15). ``"delta"``: the prior is a chain of correlated latent variables,
    from which independent Gaussians are at least ``options={"delta": 1.0}`` nats away (Razavi et
    al. 2019); for ``prior="normal"``. ``"aggressive"``: at first the encoder alone takes up to 100
    steps for each of the decoder (He et al. 2019).
kl_warmup : float, optional
    Passes over the rows in which the weight of the divergence rises from 0 to 1: by default 10 with
    ``kl="anneal"``, and else 0. May go with any `kl`.
free_bits : float, optional
    Nats per latent variable below which the divergence, as a mean over a batch, is not penalised;
    of flows and learned priors that of all latent variables together. By default 0.1 with
    ``kl="free_bits"``, and else 0. For ``objective="elbo"``, with any `kl`.
""",
    "steps": """
learning_rate : float, default=1e-3
    Rate of Adam.
max_iter : int, default=50
    Number of passes over the rows.
batch_size : int, default=100
    Rows per step.
optimizer : float, str or fastvi.optimizers.Optimizer, optional
    Used in place of Adam; then `learning_rate` is ignored.
""",
}
