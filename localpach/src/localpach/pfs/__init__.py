"""PFS: versioned files. `service.Pfs` puts the parts together."""
