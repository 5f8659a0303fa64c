from tests.harness.fixtures import gateway, gateways, own, shared_upstream, upstream

__all__ = ["gateway", "gateways", "own", "shared_upstream", "upstream"]
