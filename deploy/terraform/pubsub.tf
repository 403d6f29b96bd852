# Three topics, each with a place for what nobody could take, and the pushes into the functions.

locals {
  # What is given up is kept for as long as Pub/Sub keeps anything by default, for somebody to look at.
  retention       = "604800s"
  push_attempts   = 20
  events_attempts = 10
}

resource "google_pubsub_topic" "topic" {
  for_each = local.topics

  project = local.project
  name    = each.value
}

resource "google_pubsub_topic" "dead" {
  for_each = local.topics

  project = local.project
  name    = "${each.value}-dead"
}

resource "google_pubsub_subscription" "dead" {
  for_each = local.topics

  project                    = local.project
  name                       = "${each.value}-dead"
  topic                      = google_pubsub_topic.dead[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = local.retention

  expiration_policy {
    ttl = "" # Never: nobody reads from it for months, and then it matters.
  }
}

# Job messages start executions; requests of other systems go where dropped files go.
resource "google_pubsub_subscription" "push" {
  for_each = { jobs = "dispatch", requests = "ingest" }

  project                    = local.project
  name                       = "${local.topics[each.key]}-${each.value}"
  topic                      = google_pubsub_topic.topic[each.key].id
  ack_deadline_seconds       = local.functions[each.value].timeout_s
  message_retention_duration = local.retention

  expiration_policy {
    ttl = ""
  }

  push_config {
    push_endpoint = "${google_cloud_run_v2_service.function[each.value].uri}/"

    oidc_token {
      service_account_email = local.emails[local.account_of.push]
      audience              = google_cloud_run_v2_service.function[each.value].uri
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead[each.key].id
    max_delivery_attempts = local.push_attempts
  }

  depends_on = [google_cloud_run_v2_service_iam_member.caller, google_service_account_iam_member.signer]

  lifecycle {
    precondition {
      condition     = local.functions[each.value].timeout_s <= 600
      error_message = "Flavor ${var.flavor}: ${each.value} may take ${local.functions[each.value].timeout_s} s; expected at most 600, the longest that Pub/Sub waits for an answer."
    }
  }
}

# For the first system that listens; others make subscriptions of their own (docs/how-to/integrate-over-pubsub.md).
resource "google_pubsub_subscription" "events" {
  project                    = local.project
  name                       = local.topics.events
  topic                      = google_pubsub_topic.topic["events"].id
  ack_deadline_seconds       = 60
  message_retention_duration = local.retention

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead["events"].id
    max_delivery_attempts = local.events_attempts
  }
}
