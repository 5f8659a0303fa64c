from tests.harness.fixtures import gateway, gateways, shared_upstream, upstream

__all__ = ["gateway", "gateways", "shared_upstream", "upstream"]
