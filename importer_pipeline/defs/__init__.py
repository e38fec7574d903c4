"""What Dagster sees: resources, assets, jobs. Thin over the plain objects of the package; nothing else imports Dagster."""
