# celldrop in one project: buckets, topics, functions, jobs, status store, rights, alerts. Start at docs/reference/deployment.md.

terraform {
  required_version = ">= 1.9, < 2.0" # A variable's validation looks at other variables.

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # terraform init -backend-config="bucket=STATE_BUCKET" -backend-config="prefix=celldrop/PREFIX"
  backend "gcs" {}
}

provider "google" {
  project        = var.project
  region         = var.region
  default_labels = local.labels
}

# Budgets belong to the billing account: the API wants to know which project's quota a request counts against.
provider "google" {
  alias                 = "billing"
  project               = var.project
  user_project_override = true
  billing_project       = var.project
}
