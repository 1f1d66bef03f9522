"""Scripts from where they are: downloaded, checked, unpacked."""
