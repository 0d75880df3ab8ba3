"""Values by key, and worksets, in namespaces of tenants (``seed-systems.md`` D.1 to D.4)."""
