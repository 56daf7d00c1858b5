"""One process for all of them: skills by name, requests from many clients, the page.

What stands here needs nothing beyond tenfold itself; ``serve.http`` needs the extra ``serve``.
"""
