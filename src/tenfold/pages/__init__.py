"""HTML pages that need nothing else: escaped markup, the page and its style, plots, charts of plain elements."""
