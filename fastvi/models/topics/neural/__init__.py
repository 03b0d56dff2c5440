"""Topics of documents whose proportions are inferred by a network."""
