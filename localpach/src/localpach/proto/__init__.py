"""Pachyderm's messages and services as they are on the wire; the modules are compiled when localpach is built."""
