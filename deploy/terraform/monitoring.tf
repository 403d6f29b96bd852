# Who is told, and of what: only of what somebody has to act upon.

locals {
  alerts = var.monitoring ? {
    dead_letters = {
      name      = "messages were given up"
      filter    = "resource.type = \"pubsub_subscription\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.label.subscription_id = monitoring.regex.full_match(\"${var.prefix}-(requests|jobs|events)-dead\")"
      threshold = 0
      duration  = "0s"
      period    = "60s"
      align     = "ALIGN_MAX"
      what      = "A message could not be delivered, and lies in a -dead subscription. Look at it (`gcloud pubsub subscriptions pull NAME-dead`), and at the log of the function that refused it. What a lost job message asked for, reconcile asks for again by itself; a lost request must be published again."
    }
    backlog = {
      name      = "drops or messages wait"
      filter    = "resource.type = \"pubsub_subscription\" AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.label.subscription_id = monitoring.regex.full_match(\"${var.prefix}-jobs-dispatch|${var.prefix}-requests-ingest|eventarc-${var.region}-${var.prefix}-inbox-.*\")"
      threshold = 900
      duration  = "0s"
      period    = "60s"
      align     = "ALIGN_MAX"
      what      = "Something has waited for ingest or dispatch for a quarter of an hour. Look at the function's log: it refuses what it is given, or it does not start. Eventarc gives a drop up after a day."
    }
    failures = {
      name      = "a function answers with errors"
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"run.googleapis.com/request_count\" AND metric.label.response_code_class = \"5xx\" AND resource.label.service_name = monitoring.regex.full_match(\"${var.prefix}-(ingest|dispatch|status|reconcile)\")"
      threshold = 5
      duration  = "300s"
      period    = "300s"
      align     = "ALIGN_DELTA"
      what      = "A function has answered with 5xx for some minutes. 503 asks for another delivery: a service behind it is down, or a right or a setting is missing, and the log says which."
    }
    executions = {
      name      = "executions fail"
      filter    = "resource.type = \"cloud_run_job\" AND metric.type = \"run.googleapis.com/job/completed_execution_count\" AND metric.label.result = \"failed\" AND resource.label.job_name = monitoring.regex.full_match(\"${var.prefix}-(cpu|gpu)\")"
      threshold = 2
      duration  = "0s"
      period    = "3600s"
      align     = "ALIGN_DELTA"
      what      = "More than two executions have failed within an hour. A submission is tried again by itself; that many speak for a fault of the deployment: too little memory, a right, a broken image. `celldrop status ID` and the job's log tell."
    }
  } : {}

  channels = [for channel in google_monitoring_notification_channel.email : channel.id]
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  project      = local.project
  display_name = "celldrop ${var.prefix}: ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }
}

resource "google_monitoring_alert_policy" "alert" {
  for_each = local.alerts

  project               = local.project
  display_name          = "celldrop ${var.prefix}: ${each.value.name}"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = each.value.name

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = each.value.duration

      aggregations {
        alignment_period   = each.value.period
        per_series_aligner = each.value.align
      }
    }
  }

  documentation {
    content   = each.value.what
    mime_type = "text/markdown"
  }
}

# Of a scheduler that has stopped, no count rises: it is missed by its silence.
resource "google_monitoring_alert_policy" "silence" {
  count = var.monitoring ? 1 : 0

  project               = local.project
  display_name          = "celldrop ${var.prefix}: reconcile does not run"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "no pass for ten minutes"

    condition_absent {
      filter   = "resource.type = \"cloud_run_revision\" AND metric.type = \"run.googleapis.com/request_count\" AND metric.label.response_code_class = \"2xx\" AND resource.label.service_name = \"${var.prefix}-reconcile\""
      duration = "600s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = "Nothing that was lost is mended while reconcile does not run. Look at the Cloud Scheduler job ${var.prefix}-reconcile (paused? refused?) and at the function's log."
    mime_type = "text/markdown"
  }
}

resource "google_billing_budget" "monthly" {
  count    = var.billing_account == "" ? 0 : 1
  provider = google.billing

  billing_account = var.billing_account
  display_name    = "celldrop ${var.prefix}"

  budget_filter {
    projects        = ["projects/${local.number}"]
    calendar_period = "MONTH"
  }

  amount {
    specified_amount {
      units = tostring(var.monthly_budget)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]

    content {
      threshold_percent = threshold_rules.value
    }
  }

  dynamic "threshold_rules" {
    for_each = [1.0]

    content {
      threshold_percent = threshold_rules.value
      spend_basis       = "FORECASTED_SPEND"
    }
  }

  dynamic "all_updates_rule" {
    for_each = length(local.channels) == 0 ? [] : [local.channels]

    content {
      monitoring_notification_channels = all_updates_rule.value
    }
  }
}
