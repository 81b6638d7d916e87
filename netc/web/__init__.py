"""A trained classifier as a page in a browser: a queue of requests, pictures from anybody, and the page itself."""
