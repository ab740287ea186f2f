"""The OpenAI dialect: its bodies (`protocol`) and one file a route.

Knows nothing of threads, engines or tokens' meaning.
"""
