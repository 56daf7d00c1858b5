"""chrF (Popović 2015) over the corpus, by sacrebleu's defaults (6 characters, beta 2)."""

from sacrebleu.metrics import CHRF

from tenfold.evaluate.metrics._sacrebleu import Corpus


class Metric(Corpus):
    """Corpus chrF2 in [0, 100]."""

    scorer = CHRF()
