"""Pictures of fitted models, which need matplotlib (the extra `plot`), and a report on topics."""

from fastvi.plots.autoencoders import plot_latent, plot_reconstructions, plot_samples
from fastvi.plots.figures import check_ending, require_matplotlib
from fastvi.plots.histories import plot_history
from fastvi.plots.images import plot_features
from fastvi.plots.posteriors import plot_comparison, plot_posterior
from fastvi.plots.report import topic_report
from fastvi.plots.sequences import plot_forecast, plot_trajectories
from fastvi.plots.states import plot_states
from fastvi.plots.times import plot_times
from fastvi.plots.topics import plot_topic_graph, plot_topics

__all__ = [
    "check_ending",
    "plot_comparison",
    "plot_features",
    "plot_forecast",
    "plot_history",
    "plot_latent",
    "plot_posterior",
    "plot_reconstructions",
    "plot_samples",
    "plot_states",
    "plot_times",
    "plot_topic_graph",
    "plot_topics",
    "plot_trajectories",
    "require_matplotlib",
    "topic_report",
]
