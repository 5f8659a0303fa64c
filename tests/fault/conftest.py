from tests.harness.fixtures import gateway, gateways, own, shared_upstream, upstream
from tests.harness.processes import gate, started

__all__ = ["gate", "gateway", "gateways", "own", "shared_upstream", "started", "upstream"]
