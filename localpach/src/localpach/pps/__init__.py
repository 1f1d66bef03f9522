"""PPS: pipelines, jobs and datums. `service.Pps` puts the parts together."""
