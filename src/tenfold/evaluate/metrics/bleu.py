"""BLEU (Papineni et al. 2002) over the corpus, by sacrebleu's defaults (13a tokens, exp smoothing)."""

from sacrebleu.metrics import BLEU

from tenfold.evaluate.metrics._sacrebleu import Corpus


class Metric(Corpus):
    """Corpus BLEU in [0, 100]."""

    scorer = BLEU(force=True)
