from tests.harness.fixtures import gateway, shared_upstream, upstream

__all__ = ["gateway", "shared_upstream", "upstream"]
