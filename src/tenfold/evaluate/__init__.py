"""What tasks score under which adapters: cases, metrics, results with their intervals."""

from tenfold.evaluate.cases import BEFORE, case_folder
from tenfold.evaluate.evaluation import BASE_LABEL, CaseSet, Item, evaluate
from tenfold.evaluate.results import Result, read_results
from tenfold.evaluate.summary import save, table

__all__ = [
    "BASE_LABEL",
    "BEFORE",
    "CaseSet",
    "Item",
    "Result",
    "case_folder",
    "evaluate",
    "read_results",
    "save",
    "table",
]
