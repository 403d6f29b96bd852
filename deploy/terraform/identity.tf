# Who runs what: an account for each part, or one that is given for all.

locals {
  parts = {
    ingest    = "Looks at dropped files, and accepts or refuses them."
    dispatch  = "Starts executions."
    status    = "Answers people and programs, and cancels."
    reconcile = "Pays what is owed, and mends what was lost."
    task      = "Computes, merges and commits."
    push      = "Pub/Sub is this one where it pushes into ingest and dispatch."
    trigger   = "Eventarc is this one where it tells ingest of a dropped file."
    schedule  = "Cloud Scheduler is this one where it wakes reconcile."
  }

  # Known before anything is made, so that grants can be counted; several parts may share an account.
  account_of = { for part in keys(local.parts) : part => var.service_account_email == "" ? part : "given" }

  emails = var.service_account_email == "" ? { for part, account in google_service_account.part : part => account.email } : { given = var.service_account_email }

  account_names = var.service_account_email == "" ? { for part, account in google_service_account.part : part => account.name } : { given = "projects/-/serviceAccounts/${var.service_account_email}" }

  members = { for account, email in local.emails : account => "serviceAccount:${email}" }

  pubsub_agent = "serviceAccount:service-${local.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_service_account" "part" {
  for_each = var.service_account_email == "" ? local.parts : {}

  project      = local.project
  account_id   = "${var.prefix}-${each.key}"
  display_name = "celldrop ${each.key} (${var.prefix})"
  description  = each.value
}

data "google_storage_project_service_account" "agent" {
  project = local.project
}
