"""A sample upstream: a small Tempo-like API in memory, for `scopegate demo`, for a first try of one's own configuration, and for tests with real clients."""
