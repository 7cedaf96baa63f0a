"""The embedded sample: pages, code and a small crawl on hosts that do not exist, written for fairtrove (README.md)."""
